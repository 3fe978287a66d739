"""Self-contained HTML pages that the Kubeflow UI shows: layout, tables, charts, thumbnails. They have no scripts."""

import base64
import html
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from components.shared.contracts import SplitCount
from components.shared.slices import SPLITS

PER_SPECIES = 12
MAX_SPECIES = 100
_THUMBNAIL_WIDTH = 112
_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;max-width:72rem;margin:1.5rem auto;padding:0 1rem;color:#1d2733}
h1{font-size:1.5rem;margin:.2rem 0 1rem}h2{font-size:1.1rem;margin:1.6rem 0 .4rem}
table{border-collapse:collapse;margin:.6rem 0}
td,th{padding:.25rem .7rem;border-bottom:1px solid #dfe5ec;text-align:left}
td.number{text-align:right;font-variant-numeric:tabular-nums}figure{display:inline-block;margin:.5rem 1.5rem .5rem 0}
figcaption{font-size:.85rem;color:#516170}.good{color:#0a7d4b}.bad{color:#b3261e}img{image-rendering:pixelated}
"""
_COLOURS = ("#8aa0b5", "#c2410c", "#0a7d4b", "#5b4bb7")
_WIDTH, _HEIGHT, _MARGIN = 420, 220, 34


def page(title: str, parts: Iterable[str], style: str = "") -> str:
    """Return a page of parts (HTML) below a title (plain text); `style` (CSS) is added to the style of all pages."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}{style}</style></head><body><h1>{html.escape(title)}</h1>{''.join(parts)}</body></html>"
    )


def heading(text: str) -> str:
    """Return a second-level heading of plain text."""
    return f"<h2>{html.escape(text)}</h2>"


def paragraph(text: str, css_class: str = "") -> str:
    """Return a paragraph of plain text; `css_class` is `good`, `bad` or a class of the page's own style."""
    return f'<p class="{css_class}">{html.escape(text)}</p>'


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table; cells are plain text, numbers are right-aligned."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in header)
    body = "".join(f"<tr>{''.join(_cell(value) for value in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def picture(png: bytes, caption: str, width: int | None = None) -> str:
    """Return a PNG as a figure that is embedded in the page."""
    size = f' width="{width}"' if width else ""
    source = base64.b64encode(png).decode()
    return (
        f'<figure><img{size} alt="{html.escape(caption)}" src="data:image/png;base64,{source}">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def line_chart(title: str, series: Mapping[str, Sequence[float]], boundary: int | None = None) -> str:
    """Draw series over their index as SVG, with the range of values at the axis.

    Args:
        title: Caption of the chart.
        series: Values by name, all of one length.
        boundary: Number of values to the left of a dashed line; None draws no line.
    """
    values = [value for line in series.values() for value in line]
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    lines = "".join(
        f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{_points(line, low, span)}"/>'
        for line, colour in zip(series.values(), _COLOURS, strict=False)
    )
    legend = " ".join(
        f'<tspan fill="{colour}">{html.escape(name)}</tspan>' for name, colour in zip(series, _COLOURS, strict=False)
    )
    return (
        f'<figure><svg width="{_WIDTH}" height="{_HEIGHT}" font-size="11">{_divider(series, boundary)}{lines}'
        f'<text x="0" y="12">{high:.3g}</text><text x="0" y="{_HEIGHT - 12}">{low:.3g}</text>'
        f'<text x="{_MARGIN}" y="{_HEIGHT - 2}">{legend}</text></svg>'
        f"<figcaption>{html.escape(title)}</figcaption></figure>"
    )


def _divider(series: Mapping[str, Sequence[float]], boundary: int | None) -> str:
    if boundary is None:
        return ""
    longest = max(len(line) for line in series.values())
    x = _MARGIN + (boundary - 0.5) * (_WIDTH - 2 * _MARGIN) / max(1, longest - 1)
    return f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{_HEIGHT - _MARGIN}" stroke="#8aa0b5" stroke-dasharray="4 4"/>'


def _points(line: Sequence[float], low: float, span: float) -> str:
    across = (_WIDTH - 2 * _MARGIN) / max(1, len(line) - 1)
    down = _HEIGHT - 2 * _MARGIN
    return " ".join(
        f"{_MARGIN + index * across:.1f},{_MARGIN / 2 + (1 - (value - low) / span) * down:.1f}"
        for index, value in enumerate(line)
    )


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f'<td class="number">{value:.4g}</td>'
    if isinstance(value, int):
        return f'<td class="number">{value:,}</td>'
    return f"<td>{html.escape(str(value))}</td>"


class Thumbnails:
    """A few slices of each species, each of a different specimen."""

    def __init__(self) -> None:
        self.by_species: defaultdict[str, list[tuple[str, bytes]]] = defaultdict(list)
        self._specimens: defaultdict[str, set[str]] = defaultdict(set)

    def add(self, species: str, split: str, specimen: str, png: bytes) -> None:
        """Add a slice, unless there are MAX_SPECIES others, its species has PER_SPECIES, or its specimen has one."""
        if species not in self.by_species and len(self.by_species) == MAX_SPECIES:
            return
        if len(self.by_species[species]) == PER_SPECIES or specimen in self._specimens[species]:
            return
        self._specimens[species].add(specimen)
        self.by_species[species].append((f"{specimen}, {split}", png))


def figures(pictures: Iterable[tuple[str, bytes]]) -> str:
    """Return PNG images in a row, each with its caption."""
    return "".join(picture(png, caption, _THUMBNAIL_WIDTH) for caption, png in pictures)


def splits_of(counts: Sequence[SplitCount]) -> list[str]:
    """Return the splits of a data set, those of the classifier first."""
    splits = {count.split for count in counts}
    return [*(split for split in SPLITS if split in splits), *sorted(splits - set(SPLITS))]


def species_of(counts: Sequence[SplitCount]) -> list[str]:
    """Return the species in alphabetical order."""
    return sorted({count.species for count in counts})


def balance_table(counts: Sequence[SplitCount]) -> str:
    """Return a table of specimens and slices by species and split, with a row for all species."""
    splits = splits_of(counts)
    header = ["species", *(f"{split}: {unit}" for split in splits for unit in ("specimens", "slices")), "all slices"]
    rows = [
        _balance_row(name, [count for count in counts if count.species == name], splits) for name in species_of(counts)
    ]
    return table(header, [*rows, _balance_row("all", counts, splits)])


def _balance_row(name: str, counts: Sequence[SplitCount], splits: Sequence[str]) -> list[object]:
    numbers = [
        sum(getattr(count, unit) for count in counts if count.split == split)
        for split in splits
        for unit in ("specimens", "slices")
    ]
    return [name, *numbers, sum(numbers[1::2])]
