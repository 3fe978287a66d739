"""The page that shows a data set: slices of each species, balance, grey values, near-copies, refused files."""

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from components.ingest.pages.balance import balance_chart, near_copies_table, refused_table
from components.ingest.sources.manifest import Scan
from components.ingest.volume_slices import CutResult
from components.shared.contracts import SlicesInfo
from components.shared.pages import Thumbnails, balance_table, figures, heading, page, paragraph, species_of

_BARS = 64
_BAR_WIDTH, _HEIGHT = 4, 60


def report_html(info: SlicesInfo, thumbnails: Thumbnails, outcomes: Iterable[tuple[Scan, CutResult]]) -> str:
    """Returns a self-contained page.

    Args:
        info: `dataset.json`.
        thumbnails: slices to show.
        outcomes: the volumes and what came of each, with its histogram.
    """
    counts = grey_counts(outcomes)
    parts = [
        paragraph(_summary(info)),
        heading("Specimens and slices in each split"),
        balance_chart(info.counts),
        balance_table(info.counts),
        paragraph("To repeat this split, put split.csv of this data set beside the volumes and give it as `volumes`."),
        heading("Near-copies: one individual under several names"),
        near_copies_table(info.near_copies),
        heading("Refused files"),
        refused_table(info.refused),
    ]
    for name in species_of(info.counts):
        parts += [heading(name), figures(thumbnails.by_species.get(name, [])), "<br>", _histogram(counts[name])]
    return page("Slices", parts)


def grey_counts(outcomes: Iterable[tuple[Scan, CutResult]]) -> dict[str, NDArray[np.int64]]:
    """Returns the histogram of each species' windowed volumes, int64 [256]."""
    counts: defaultdict[str, NDArray[np.int64]] = defaultdict(lambda: np.zeros(256, np.int64))
    for scan, result in outcomes:
        counts[scan.species] += np.array(result.grey_counts, dtype=np.int64)
    return dict(counts)


def _summary(info: SlicesInfo) -> str:
    return (
        f"{info.slices():,} slices of {info.image_size} x {info.image_size} pixels, cut from {info.specimens():,} "
        f"specimens of {len(info.classes):,} species. Whole specimens are split, never slices. Seed {info.seed}."
    )


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
