"""The page that shows a data set: slices of each species, balance, grey values, refused files."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from components.ingest.manifest import SPLITS, UNSEEN
from components.shared.contact_sheet import Thumbnails, balance_table, figures, refused_table
from components.shared.contracts import SlicesInfo
from components.shared.pages import heading, page

_BARS = 64
_BAR_WIDTH, _HEIGHT = 4, 60


def report_html(info: SlicesInfo, thumbnails: Thumbnails, grey_counts: Mapping[str, NDArray[np.int64]]) -> str:
    """Returns a self-contained page.

    Args:
        info: `dataset.json`.
        thumbnails: slices to show.
        grey_counts: int64 [256] for each species, the histogram of its windowed volumes.
    """
    parts = [
        heading("Specimens and slices in each split"),
        balance_table(info.counts, (*SPLITS, UNSEEN)),
        heading("Refused files"),
        refused_table(info.refused),
    ]
    for name in info.classes:
        parts += [heading(name), figures(thumbnails.chosen.get(name, [])), _histogram(grey_counts[name])]
    return page("Slices", parts)


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
        f'<figure><svg width="{width}" height="{_HEIGHT}" fill="#3b7ea1" role="img" aria-label="grey values">'
        f"{bars}</svg>"
        "<figcaption>grey values of the windowed volumes, 0 to 255, logarithmic</figcaption></figure>"
    )
