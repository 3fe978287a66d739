"""Parts of the pages of both kinds of data sets: how species and splits are balanced, near-copies, refused files."""

import html
from collections.abc import Mapping, Sequence

from components.ingest.near_copies.groups import verdict
from components.shared.contracts import NearCopies, Refusal, SplitCount
from components.shared.pages import paragraph, species_of, splits_of, table

_BALANCE_WIDTH, _ROW_HEIGHT, _LABEL_WIDTH = 420, 20, 190
_SPLIT_COLOURS = {"train": "#3b7ea1", "validation": "#e0a030", "test": "#7a4fa3"}
_OTHER_COLOUR = "#8aa0b5"


def balance_chart(counts: Sequence[SplitCount]) -> str:
    """Returns the slices of each species as a bar, in a colour for each split."""
    species, splits = species_of(counts), splits_of(counts)
    most = max(sum(count.slices for count in counts if count.species == name) for name in species)
    rows = "".join(
        _balance_bar(row, name, {c.split: c.slices for c in counts if c.species == name}, splits, most)
        for row, name in enumerate(species)
    )
    legend = " ".join(
        f'<tspan fill="{_SPLIT_COLOURS.get(split, _OTHER_COLOUR)}">&#9632;</tspan> <tspan>{html.escape(split)}</tspan>'
        for split in splits
    )
    height = _ROW_HEIGHT * len(species)
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


def refused_table(refused: Sequence[Refusal]) -> str:
    """Returns the files left out and why."""
    if not refused:
        return paragraph("None.")
    return table(["file", "reason"], [(refusal.path, refusal.reason) for refusal in refused])
