"""HTML page of a data set: balance, near-copies, refused files, and grey values of volumes or sizes of photographs."""

import html
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from components.ingest.near_copies.groups import describe_treatment
from components.ingest.slice_files import SliceResult
from components.ingest.sources.file_kinds import PHOTOGRAPHS, VOLUMES
from components.ingest.sources.manifest import Scan
from components.shared.contracts import Refusal, SlicesInfo, SplitCount
from components.shared.contracts.doubtful_mask import DoubtfulMask
from components.shared.contracts.source_notes import Note
from components.shared.pages import (
    Thumbnails,
    balance_table,
    figures,
    heading,
    page,
    paragraph,
    species_of,
    splits_of,
    table,
)

Results = Iterable[tuple[Scan, SliceResult]]

_BALANCE_WIDTH, _ROW_HEIGHT, _LABEL_WIDTH = 420, 20, 190
_MAX_LABEL_LENGTH = 28
_SPLIT_COLOURS = {"train": "#3b7ea1", "validation": "#e0a030", "test": "#7a4fa3"}
_OTHER_COLOUR = "#8aa0b5"
_HISTOGRAM_BARS, _BAR_WIDTH, _HISTOGRAM_HEIGHT = 64, 4, 60
_SHAPES = ((0.75, "upright"), (0.95, "nearly square, upright"), (1.05, "square"), (1.35, "up to 4:3"), (1.6, "to 3:2"))
_WIDEST = "wider"
_MAX_SECTIONS = 60


def dataset_page(
    kind: str, info: SlicesInfo, thumbnails: Thumbnails, results: Results, sections: Mapping[str, bytes]
) -> str:
    """Return the page of a data set as self-contained HTML.

    Args:
        kind: Kind of the source files, a key of `components.ingest.source_kinds.SOURCE_KINDS`.
        info: Content of `dataset.json`.
        thumbnails: Example slices of each species.
        results: Scans with their results, histograms included.
        sections: Pictures of the doubtful masks as PNG, by path of the volume.
    """
    return _PAGES[kind](info, thumbnails, results, sections)


def _volumes_page(info: SlicesInfo, thumbnails: Thumbnails, results: Results, sections: Mapping[str, bytes]) -> str:
    counts = grey_counts(results)
    parts = [
        paragraph(
            f"{info.slices():,} slices of {info.image_size} x {info.image_size} pixels, cut from "
            f"{info.specimens():,} specimens of {len(info.classes):,} species. {_split_text(info)} "
            f"Seed {info.seed}."
        ),
        heading("Specimens and slices in each split"),
        _balance_chart(info.counts),
        balance_table(info.counts),
        paragraph(_repeat_text(info, "volumes")),
        heading("Near-copies: one individual under several names"),
        _near_copies_section(info),
        heading("Doubtful masks"),
        _doubtful_masks(info.doubtful_masks, sections),
        heading("Refused files"),
        _refusals_table(info.refused),
        heading("Notes on used files"),
        _notes_table(info.notes),
        *_passed_over(info.passed_over),
    ]
    for name in species_of(info.counts):
        parts += [heading(name), figures(thumbnails.by_species.get(name, [])), "<br>", _histogram(counts[name])]
    return page("Slices", parts)


def _photographs_page(info: SlicesInfo, thumbnails: Thumbnails, results: Results, sections: Mapping[str, bytes]) -> str:
    del sections  # photographs have no masks
    sizes = sorted((result.size for _, result in results), key=_long_and_short_side)
    parts = [
        paragraph(
            f"{info.slices():,} photographs of {info.specimens():,} specimens of {len(info.classes):,} species, scaled "
            f"to {info.image_size} x {info.image_size} pixels. {_split_text(info)} Seed {info.seed}."
        ),
        heading("Photographs of each species"),
        paragraph(_imbalance_text(info)),
        _balance_chart(info.counts),
        balance_table(info.counts),
        paragraph(_repeat_text(info, "photographs")),
        heading("Sizes of the originals"),
        paragraph(_size_range_text(sizes)),
        table(["long side", "photographs"], _count_long_sides(sizes)),
        table(["width to height", "photographs"], _count_shapes(sizes)),
        heading("Near-copies and photographs of one specimen"),
        _near_copies_section(info),
        heading("Refused files"),
        _refusals_table(info.refused),
        *_passed_over(info.passed_over),
    ]
    for name in species_of(info.counts):
        parts += [heading(name), figures(thumbnails.by_species.get(name, []))]
    return page("Photographs", parts)


def _split_text(info: SlicesInfo) -> str:
    if not info.folds:
        return "The split is by specimen."
    return (
        f"The figures rest on {info.folds} folds: each specimen is tested once, by a model that was trained without "
        "its fold. The split of the served model is by specimen, too."
    )


def _repeat_text(info: SlicesInfo, kind: str) -> str:
    option = f" and FOLDS={info.folds}" if info.folds else ""
    return f"To repeat this split, put split.csv of this data set beside the {kind}, and use it as the source{option}."


def grey_counts(results: Results) -> dict[str, NDArray[np.int64]]:
    """Return the summed histogram of the windowed volumes of each species, int64 [256]."""
    counts: defaultdict[str, NDArray[np.int64]] = defaultdict(lambda: np.zeros(256, np.int64))
    for scan, result in results:
        counts[scan.species] += np.array(result.grey_counts, dtype=np.int64)
    return dict(counts)


def _histogram(counts: NDArray[np.int64]) -> str:
    """Return the histogram of a species as SVG, on a logarithmic scale."""
    heights = np.log1p(counts.reshape(_HISTOGRAM_BARS, -1).sum(axis=1))
    heights = heights / max(heights.max(), 1e-9) * _HISTOGRAM_HEIGHT
    bars = "".join(
        f'<rect x="{number * _BAR_WIDTH}" y="{_HISTOGRAM_HEIGHT - height:.1f}" width="{_BAR_WIDTH - 1}" '
        f'height="{height:.1f}"/>'
        for number, height in enumerate(heights)
    )
    width, baseline = _HISTOGRAM_BARS * _BAR_WIDTH, _HISTOGRAM_HEIGHT + 12
    return (
        f'<figure><svg width="{width}" height="{baseline + 2}" font-size="11" role="img" aria-label="grey values">'
        f'<g fill="#3b7ea1">{bars}</g><text x="0" y="{baseline}">0</text>'
        f'<text x="{width}" y="{baseline}" text-anchor="end">255</text></svg>'
        "<figcaption>grey values of the windowed volumes, logarithmic</figcaption></figure>"
    )


def _balance_chart(counts: Sequence[SplitCount]) -> str:
    """Return a bar chart (SVG) of the slices of each species, with a colour for each split."""
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
    top, offset, bars = row * _ROW_HEIGHT, float(_LABEL_WIDTH), []
    for split in splits:
        width = _BALANCE_WIDTH * slices.get(split, 0) / most
        colour = _SPLIT_COLOURS.get(split, _OTHER_COLOUR)
        bars.append(
            f'<rect x="{offset:.1f}" y="{top + 3}" width="{width:.1f}" height="{_ROW_HEIGHT - 6}" fill="{colour}"/>'
        )
        offset += width
    return (
        f'<text x="{_LABEL_WIDTH - 8}" y="{top + 14}" text-anchor="end">{html.escape(_truncate(name))}</text>'
        f'{"".join(bars)}<text x="{offset + 6:.1f}" y="{top + 14}">{sum(slices.values()):,}</text>'
    )


def _truncate(name: str) -> str:
    return name if len(name) <= _MAX_LABEL_LENGTH else f"{name[: _MAX_LABEL_LENGTH - 1]}\u2026"


def _near_copies_section(info: SlicesInfo) -> str:
    """Return the distance of near-copies in the data set and the table of the groups."""
    distance = info.preprocessing["ingest"]["largest_distance_of_copies"]
    text = f"Near-copies of this data set have a distance of at most {distance:g}."
    if not info.near_copies:
        return paragraph(f"None. {text}")
    rows = [(", ".join(group.specimens), group.distance, describe_treatment(group)) for group in info.near_copies]
    return paragraph(text) + table(["specimens", "distance", "treatment"], rows)


def _doubtful_masks(masks: Sequence[DoubtfulMask], sections: Mapping[str, bytes]) -> str:
    """Return the table of doubtful masks and the first pictures of them."""
    if not masks:
        return paragraph("None.")
    remedy = "The mask may not show one specimen. To use your own, name its file in the column mask of the manifest."
    pictures = [(mask.path, sections[mask.path]) for mask in masks if mask.path in sections]
    rows = [(mask.path, "; ".join(mask.reasons)) for mask in masks]
    return paragraph(remedy) + table(["file", "reasons"], rows) + figures(pictures[:_MAX_SECTIONS])


def _refusals_table(refusals: Sequence[Refusal]) -> str:
    if not refusals:
        return paragraph("None.")
    return table(["file", "reason"], [(refusal.path, refusal.reason) for refusal in refusals])


def _notes_table(notes: Sequence[Note]) -> str:
    if not notes:
        return paragraph("None.")
    return table(["file", "note"], [(note.path, note.text) for note in notes])


def _passed_over(endings: Mapping[str, int]) -> list[str]:
    """Return the section of files that were not read; nothing if there are none."""
    if not endings:
        return []
    return [heading("Files that were not read, by their endings"), table(["ending", "files"], list(endings.items()))]


def _imbalance_text(info: SlicesInfo) -> str:
    """Return the ratio of the species with the most photographs to the one with the fewest, as a sentence."""
    counts = Counter(dict.fromkeys(info.classes, 0))
    for count in info.counts:
        if count.species in info.classes:
            counts[count.species] += count.slices
    by_count = counts.most_common()
    (largest_species, most), (smallest_species, fewest) = by_count[0], by_count[-1]
    return f"Imbalance {most / fewest:.1f} : 1, {most:,} of {largest_species} and {fewest:,} of {smallest_species}."


def _long_and_short_side(size: tuple[int, int]) -> tuple[int, int]:
    return max(size), min(size)


def _size_range_text(sizes: Sequence[tuple[int, int]]) -> str:
    smallest, median, largest = sizes[0], sizes[len(sizes) // 2], sizes[-1]
    texts = (f"{width} x {height}" for width, height in (smallest, median, largest))
    return "Smallest {}, median {}, largest {} pixels.".format(*texts)


def _count_long_sides(sizes: Sequence[tuple[int, int]]) -> list[tuple[str, int]]:
    """Count photographs by octaves of their long side."""
    octaves = Counter(max(size).bit_length() - 1 for size in sizes)
    return [(f"{2**octave:,} to {2 ** (octave + 1) - 1:,} px", octaves[octave]) for octave in sorted(octaves)]


def _count_shapes(sizes: Sequence[tuple[int, int]]) -> list[tuple[str, int]]:
    """Count photographs by their ratio of width to height."""
    shapes = Counter(
        next((name for limit, name in _SHAPES if width / height < limit), _WIDEST) for width, height in sizes
    )
    return [(name, shapes[name]) for name in (*(name for _, name in _SHAPES), _WIDEST) if shapes[name]]


_PAGES = {VOLUMES: _volumes_page, PHOTOGRAPHS: _photographs_page}
