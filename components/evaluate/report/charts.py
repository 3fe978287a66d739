"""Charts and coloured tables of a report: SVG and HTML without scripts; each chart has an alternative text."""

import html
import math
from collections.abc import Callable, Iterable, Sequence

from components.evaluate.measurement import ReliabilityBin
from components.evaluate.report.table import Cell, Table, percent
from components.shared.contracts.model_score import ModelScore

_SIDE, _LEFT, _BOTTOM, _TOP = 300, 46, 40, 10
_INK, _GREY, _BLUE, _ORANGE = "#1d2733", "#c8d1db", "#1f5f99", "#c2410c"


def reliability_chart(bins: Sequence[ReliabilityBin]) -> str:
    """Return a reliability diagram: accuracy over confidence (Guo et al. 2017, figure 1)."""
    most = max(group.slices for group in bins)
    bars = "".join(
        f'<rect x="{_x(group.low):.1f}" y="{_y(group.accuracy):.1f}" width="{_x(group.high) - _x(group.low) - 2:.1f}" '
        f'height="{_y(0) - _y(group.accuracy):.1f}" fill="{_BLUE}" '
        f'fill-opacity="{0.25 + 0.75 * (group.slices / most) ** 0.5:.2f}"/>'
        f'<text x="{(_x(group.low) + _x(group.high)) / 2 - 1:.1f}" y="{_y(0) - 4:.1f}" text-anchor="middle" '
        f'font-size="8" stroke="#fff" stroke-width="2.5" paint-order="stroke">{group.slices}</text>'
        for group in bins
    )
    text = ". ".join(
        f"{group.slices} slices of mean confidence {percent(group.confidence)}: {percent(group.accuracy)} correct"
        for group in bins
    )
    return _chart(bars + _line([(0, 0), (1, 1)], _ORANGE, "6 4"), "confidence", "accuracy", text)


def unknown_chart(points: Iterable[tuple[float, float]], score: ModelScore) -> str:
    """Return the ROC curve of unseen species with a dot at the served threshold.

    Args:
        points: Shares of known and of unseen slices that are flagged, 0..1, by ascending shares.
        score: Scores of the model, which must contain those of unseen species.
    """
    known_share, unseen_share = score.unknown_flagged_known, score.unknown_flagged_unseen or 0.0
    dot = f'<circle cx="{_x(known_share):.1f}" cy="{_y(unseen_share):.1f}" r="6" fill="{_ORANGE}"/>'
    text = (
        f"At the served threshold {percent(unseen_share)} of the slices of unseen species and {percent(known_share)} "
        f"of the slices of known species are flagged as unknown; area under the curve {score.unknown_auroc or 0.0:.3f}"
    )
    lines = _line([(0, 0), (1, 1)], _GREY, "6 4") + _line(list(points), _BLUE)
    return _chart(lines + dot, "known slices flagged as unknown", "unseen slices flagged as unknown", text)


def _chart(shapes: str, x_title: str, y_title: str, text: str) -> str:
    """Return a drawing over the unit square with axes in per cent.

    Args:
        shapes: SVG elements.
        x_title: Title of the horizontal axis.
        y_title: Title of the vertical axis.
        text: Alternative text.
    """
    ticks = "".join(
        f'<path d="M{_x(0):.1f} {_y(tick):.1f}H{_x(1):.1f}" stroke="{_GREY}" stroke-width=".5"/>'
        f'<text x="{_x(0) - 6:.1f}" y="{_y(tick) + 4:.1f}" text-anchor="end">{tick:.0%}</text>'
        f'<text x="{_x(tick):.1f}" y="{_y(0) + 16:.1f}" text-anchor="middle">{tick:.0%}</text>'
        for tick in (0, 0.25, 0.5, 0.75, 1)
    )
    width, height = _x(1) + 16, _y(0) + _BOTTOM
    return (
        f'<svg class="chart" role="img" aria-label="{html.escape(text)}" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" font-size="11" fill="{_INK}"><title>{html.escape(text)}</title>'
        f"{ticks}{shapes}"
        f'<text x="{_x(0.5):.1f}" y="{_y(0) + 33:.1f}" text-anchor="middle">{html.escape(x_title)}</text>'
        f'<text transform="translate(11 {_y(0.5):.1f}) rotate(-90)" text-anchor="middle">{html.escape(y_title)}</text>'
        "</svg>"
    )


def _line(points: Sequence[tuple[float, float]], colour: str, dashes: str = "") -> str:
    path = " ".join(f"{_x(x):.1f},{_y(y):.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"/>'


def _x(share: float) -> float:
    return _LEFT + share * _SIDE


def _y(share: float) -> float:
    return _TOP + (1 - share) * _SIDE


def plain_table(table: Table) -> str:
    """Return a table as HTML with numbers aligned to the right."""
    return _table(table, _plain_cell)


def shares_table(table: Table) -> str:
    """Return a table as HTML with shares coloured by their size: the lower, the more orange."""
    return _table(table, _share_cell)


def _plain_cell(value: Cell, text: str) -> str:
    return f"<td{' class=number' * (not isinstance(value, str))}>{html.escape(text)}</td>"


def _share_cell(value: Cell, text: str) -> str:
    if not isinstance(value, float):
        return _plain_cell(value, text)
    opacity = 0.0 if math.isnan(value) else min(1.0, 2 * (1 - value))
    return f'<td class="number" style="background:rgba(255,106,0,{0.6 * opacity:.2f})">{html.escape(text)}</td>'


def _table(table: Table, cell: Callable[[Cell, str], str]) -> str:
    """Return a table as HTML; `cell` formats a raw value and its text."""
    rows = "".join(
        f"<tr>{''.join(map(cell, values, texts))}</tr>" for values, texts in zip(table.rows, table.texts(), strict=True)
    )
    head = "".join(f"<th>{html.escape(name.removesuffix(' %'))}</th>" for name in table.header)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def confusion_matrix(table: Table) -> str:
    """Return a confusion matrix as HTML: correct answers blue, mistakes orange."""
    names = table.header[1:]
    head = "".join(f'<th class="tall"><span>{html.escape(name)}</span></th>' for name in names)
    rows = "".join(
        f"<tr><th>{html.escape(str(truth))}</th>{_matrix_cells(counts, label)}</tr>"
        for label, (truth, *counts) in enumerate(table.rows)
    )
    return (
        f'<div class="wide"><table class="matrix"><thead><tr><th>true / predicted</th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _matrix_cells(counts: Sequence[object], diagonal: int) -> str:
    numbers = [int(str(count)) for count in counts]
    total = max(1, sum(numbers))
    return "".join(
        f'<td style="background:rgba({"31,95,153" if column == diagonal else "255,106,0"},'
        f'{min(1.0, (0.35 if column == diagonal else 3.0) * count / total):.2f})">{count or ""}</td>'
        for column, count in enumerate(numbers)
    )


def tiles(figures: Iterable[tuple[str, str, str]]) -> str:
    """Return the main figures as HTML: a number, its name and a remark each."""
    cells = "".join(
        f'<div class="tile"><b>{html.escape(number)}</b><span>{html.escape(name)}</span>'
        f"<small>{html.escape(remark)}</small></div>"
        for number, name, remark in figures
    )
    return f'<div class="tiles">{cells}</div>'
