"""The page that explores a data set of photographs: balance, sizes, samples, near-duplicates, refused files."""

from collections import Counter
from collections.abc import Iterable, Sequence

from components.ingest.pages.balance import balance_chart, near_copies_table, refused_table
from components.ingest.sources.manifest import Scan
from components.ingest.volume_slices import CutResult
from components.shared.contracts import SlicesInfo
from components.shared.pages import Thumbnails, balance_table, figures, heading, page, paragraph, species_of, table

_SHAPES = ((0.75, "upright"), (0.95, "nearly square, upright"), (1.05, "square"), (1.35, "up to 4:3"), (1.6, "to 3:2"))
_WIDEST = "wider"


def exploration_html(info: SlicesInfo, thumbnails: Thumbnails, outcomes: Iterable[tuple[Scan, CutResult]]) -> str:
    """Returns a self-contained page; views as training augments them are on the page of `train`.

    Args:
        info: `dataset.json`.
        thumbnails: photographs to show.
        outcomes: the photographs and what came of each.
    """
    sizes = sorted((result.size for _, result in outcomes), key=_long_and_short)
    parts = [
        paragraph(_summary(info)),
        heading("Photographs of each species"),
        paragraph(_imbalance(info)),
        balance_chart(info.counts),
        balance_table(info.counts),
        paragraph("To repeat this split, put split.csv of this data set beside the photographs and give it as source."),
        heading("Sizes of the originals"),
        paragraph(_extremes(sizes)),
        table(["long side", "photographs"], _long_sides(sizes)),
        table(["width to height", "photographs"], _shapes(sizes)),
        heading("Near-duplicates and photographs of one specimen"),
        near_copies_table(info.near_copies),
        heading("Refused files"),
        refused_table(info.refused),
    ]
    for name in species_of(info.counts):
        parts += [heading(name), figures(thumbnails.by_species.get(name, []))]
    return page("Photographs", parts)


def _long_and_short(size: tuple[int, int]) -> tuple[int, int]:
    return max(size), min(size)


def imbalance_ratio(info: SlicesInfo) -> float:
    """Returns how many times more photographs the model's richest species has than its poorest."""
    return _richest_and_poorest(info)[0][1] / _richest_and_poorest(info)[1][1]


def _richest_and_poorest(info: SlicesInfo) -> tuple[tuple[str, int], tuple[str, int]]:
    counts = Counter(dict.fromkeys(info.classes, 0))
    for count in info.counts:
        if count.species in info.classes:
            counts[count.species] += count.slices
    ranked = counts.most_common()
    return ranked[0], ranked[-1]


def _summary(info: SlicesInfo) -> str:
    return (
        f"{info.slices():,} photographs of {info.specimens():,} specimens of {len(info.classes):,} species, scaled to "
        f"{info.image_size} x {info.image_size} pixels. Whole specimens are split, never photographs. Seed {info.seed}."
    )


def _imbalance(info: SlicesInfo) -> str:
    (richest, most), (poorest, fewest) = _richest_and_poorest(info)
    return f"Imbalance {imbalance_ratio(info):.1f} : 1, {most:,} of {richest} and {fewest:,} of {poorest}."


def _extremes(sizes: Sequence[tuple[int, int]]) -> str:
    smallest, median, largest = sizes[0], sizes[len(sizes) // 2], sizes[-1]
    words = (f"{width} x {height}" for width, height in (smallest, median, largest))
    return "Smallest {}, median {}, largest {} pixels.".format(*words)


def _long_sides(sizes: Sequence[tuple[int, int]]) -> list[tuple[str, int]]:
    """Counts photographs in octaves of their long side."""
    octaves = Counter(max(size).bit_length() - 1 for size in sizes)
    return [(f"{2**octave:,} to {2 ** (octave + 1) - 1:,} px", octaves[octave]) for octave in sorted(octaves)]


def _shapes(sizes: Sequence[tuple[int, int]]) -> list[tuple[str, int]]:
    shapes = Counter(
        next((name for limit, name in _SHAPES if width / height < limit), _WIDEST) for width, height in sizes
    )
    return [(name, shapes[name]) for name in (*(name for _, name in _SHAPES), _WIDEST) if shapes[name]]
