"""Parts of the pages of both kinds of data sets: how the species and splits are balanced, and near-copies."""

import html
from collections.abc import Mapping, Sequence

from components.ingest.manifest import SPLITS
from components.ingest.near_copies import verdict
from components.shared.contracts import NearCopies, SplitCount
from components.shared.pages import paragraph, table

_BALANCE_WIDTH, _ROW_HEIGHT, _LABEL_WIDTH = 420, 20, 190
_SPLIT_COLOURS = {"train": "#3b7ea1", "validation": "#e0a030", "test": "#7a4fa3"}
_OTHER_COLOUR = "#8aa0b5"


def splits_of(counts: Sequence[SplitCount]) -> list[str]:
    """Returns the splits that there are, the model's own first."""
    return [*SPLITS, *sorted({count.split for count in counts} - set(SPLITS))]


def balance_table(counts: Sequence[SplitCount], splits: Sequence[str]) -> str:
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


def balance_chart(counts: Sequence[SplitCount], splits: Sequence[str]) -> str:
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


def near_copies_table(near_copies: Sequence[NearCopies]) -> str:
    """Returns the specimens that turned out to be one individual, and what becomes of them."""
    if not near_copies:
        return paragraph("None.")
    rows = [(", ".join(group.specimens), group.distance, verdict(group)) for group in near_copies]
    return table(["specimens", "distance", "what is done"], rows)
