"""The page that shows a data set: slices of each species, balance, grey values, near-copies, refused files."""

import html
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from components.ingest.manifest import SPLITS
from components.ingest.near_copies import verdict
from components.shared.contact_sheet import Thumbnails, figures, refused_table
from components.shared.contracts import NearCopies, SlicesInfo, SplitCount
from components.shared.pages import heading, page, paragraph, table

_BARS = 64
_BAR_WIDTH, _HEIGHT = 4, 60
_BALANCE_WIDTH, _ROW_HEIGHT, _LABEL_WIDTH = 420, 20, 190
_SPLIT_COLOURS = {"train": "#3b7ea1", "validation": "#e0a030", "test": "#7a4fa3"}
_OTHER_COLOUR = "#8aa0b5"


def report_html(info: SlicesInfo, thumbnails: Thumbnails, grey_counts: Mapping[str, NDArray[np.int64]]) -> str:
    """Returns a self-contained page.

    Args:
        info: `dataset.json`.
        thumbnails: slices to show.
        grey_counts: int64 [256] for each species, the histogram of its windowed volumes.
    """
    splits = _splits_of(info.counts)
    parts = [
        paragraph(_summary(info)),
        heading("Specimens and slices in each split"),
        _balance_chart(info.counts, splits),
        _balance_table(info.counts, splits),
        paragraph("To repeat this split, put split.csv of this data set beside the volumes and give it as `volumes`."),
        heading("Near-copies: one individual under several names"),
        _near_copies_table(info.near_copies),
        heading("Refused files"),
        refused_table(info.refused),
    ]
    for name in sorted({count.species for count in info.counts}):
        parts += [heading(name), figures(thumbnails.chosen.get(name, [])), "<br>", _histogram(grey_counts[name])]
    return page("Slices", parts)


def _summary(info: SlicesInfo) -> str:
    slices, specimens = (sum(getattr(count, unit) for count in info.counts) for unit in ("slices", "specimens"))
    return (
        f"{slices:,} slices of {info.image_size} x {info.image_size} pixels, cut from {specimens:,} specimens of "
        f"{len(info.classes):,} species. Whole specimens are split, never slices. Seed {info.seed}."
    )


def _splits_of(counts: Sequence[SplitCount]) -> list[str]:
    return [*SPLITS, *sorted({count.split for count in counts} - set(SPLITS))]


def _balance_table(counts: Sequence[SplitCount], splits: Sequence[str]) -> str:
    """Returns specimens and slices for each species and split, and of all species together."""
    header = ["species", *(f"{split}: {unit}" for split in splits for unit in ("specimens", "slices")), "all slices"]
    rows = [
        _balance_row(name, [count for count in counts if count.species == name], splits) for name in _species(counts)
    ]
    return table(header, [*rows, _balance_row("all", counts, splits)])


def _balance_row(name: str, counts: Sequence[SplitCount], splits: Sequence[str]) -> list[object]:
    numbers = [
        sum(getattr(count, unit) for count in counts if count.split == split)
        for split in splits
        for unit in ("specimens", "slices")
    ]
    return [name, *numbers, sum(numbers[1::2])]


def _species(counts: Sequence[SplitCount]) -> list[str]:
    return sorted({count.species for count in counts})


def _balance_chart(counts: Sequence[SplitCount], splits: Sequence[str]) -> str:
    """Returns the slices of each species as a bar, in a colour for each split."""
    most = max(sum(count.slices for count in counts if count.species == name) for name in _species(counts))
    rows = "".join(
        _balance_bar(row, name, {c.split: c.slices for c in counts if c.species == name}, splits, most)
        for row, name in enumerate(_species(counts))
    )
    legend = " ".join(
        f'<tspan fill="{_SPLIT_COLOURS.get(split, _OTHER_COLOUR)}">&#9632;</tspan> <tspan>{html.escape(split)}</tspan>'
        for split in splits
    )
    height = _ROW_HEIGHT * len(_species(counts))
    return (
        f'<figure><svg width="{_LABEL_WIDTH + _BALANCE_WIDTH + 60}" height="{height + 24}" font-size="12" role="img" '
        f'aria-label="slices of each species and split">{rows}'
        f'<text x="{_LABEL_WIDTH}" y="{height + 18}">{legend}</text></svg>'
        "<figcaption>slices of each species</figcaption></figure>"
    )


def _balance_bar(row: int, name: str, slices: Mapping[str, int], splits: Sequence[str], most: int) -> str:
    top, left, parts = row * _ROW_HEIGHT, float(_LABEL_WIDTH), []
    for split in splits:
        width = _BALANCE_WIDTH * slices.get(split, 0) / most
        colour = _SPLIT_COLOURS.get(split, _OTHER_COLOUR)
        parts.append(
            f'<rect x="{left:.1f}" y="{top + 3}" width="{width:.1f}" height="{_ROW_HEIGHT - 6}" fill="{colour}"/>'
        )
        left += width
    return (
        f'<text x="{_LABEL_WIDTH - 8}" y="{top + 14}" text-anchor="end">{html.escape(_shortened(name))}</text>'
        f'{"".join(parts)}<text x="{left + 6:.1f}" y="{top + 14}">{sum(slices.values()):,}</text>'
    )


def _shortened(name: str) -> str:
    return name if len(name) <= 28 else f"{name[:27]}\u2026"


def _near_copies_table(near_copies: Sequence[NearCopies]) -> str:
    if not near_copies:
        return paragraph("None.")
    rows = [(", ".join(group.specimens), group.distance, verdict(group)) for group in near_copies]
    return table(["specimens", "distance", "what is done"], rows)


def _histogram(counts: NDArray[np.int64]) -> str:
    """Returns the grey values of a species as a picture, on a logarithmic scale."""
    heights = np.log1p(counts.reshape(_BARS, -1).sum(axis=1))
    heights = heights / max(heights.max(), 1e-9) * _HEIGHT
    bars = "".join(
        f'<rect x="{number * _BAR_WIDTH}" y="{_HEIGHT - height:.1f}" width="{_BAR_WIDTH - 1}" height="{height:.1f}"/>'
        for number, height in enumerate(heights)
    )
    width = _BARS * _BAR_WIDTH
    return (
        f'<figure><svg width="{width}" height="{_HEIGHT + 14}" font-size="11" role="img" aria-label="grey values">'
        f'<g fill="#3b7ea1">{bars}</g><text x="0" y="{_HEIGHT + 12}">0</text>'
        f'<text x="{width}" y="{_HEIGHT + 12}" text-anchor="end">255</text></svg>'
        "<figcaption>grey values of the windowed volumes, logarithmic</figcaption></figure>"
    )
