"""Fingerprint of a photograph: copies in other sizes and qualities have nearly the same one.

It consists of the grey values in 32 x 32 blocks without the low frequencies, which depend on light and vignetting, of
the whole photograph and without its margins, so that copies that are cropped by 2 % are aligned.

The distance of two photographs is that of the whole, or that of the second least similar of 4 x 4 tiles if it is
larger: silhouettes of different leaves and different grains have most of their outline in common, but not all of it. In
a tile with less detail than the mean tile, noise and compression count less.
"""

import base64
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from components.shared.images.decoding import Pixels

LARGEST_DISTANCE = 0.2
"""Largest distance of two photographs that count as near-copies.

Measured with `python -m tests.benchmarks --only ingest-near-copies`, on 57 photographs of bones and rocks and 105 of
phytoplankton, 50 to 600 pixels wide. Copies at half the size in JPEG quality 70 have a distance of 0.01 (median; 95 %
of them below 0.04), at 0.4 of the size in quality 40 0.005 to 0.06 (0.14), with 2 % cropped at each side 0.02 to 0.03
(0.06). Different photographs of these sets are never nearer than 0.2. Copies that are mirrored or have lost more than
2 % at a side are not detected, and of silhouettes only some that are cropped at all.
"""
LARGEST_STRETCH, LARGEST_CONTRAST_RATIO = 0.06, 0.3
"""Largest differences of the logarithms of width / height and of the contrasts of copies as a rule."""
DIFFERENCE_FACTOR = 3.0
"""Factor of the distance of two photographs for each of these differences that is larger."""
MARGINS = (0.0, 0.015)
"""Share that is removed at each side. Copies that are cropped by 0 to 2 % are within 0.75 % of one of them."""
HIGH_CONTRAST = 17.0
"""Contrast of a photograph, in grey levels, from which on the distance grows with its square.

The distance is relative to the contrast. Copies in other sizes and qualities differ by at most 9 grey levels (root mean
square), and a distance of 0.2 at this contrast is 11. Micrographs have a contrast of 5 to 28, silhouettes 43 or more.
"""
_SIDE, _BLUR = 32, 2.0
_TILES = 4
LARGEST_GAIN = 2.0
"""Largest ratio of the contrast of two copies in a tile."""
_SMALLEST_ENERGY = 1e-9
_BLOCK_ROWS, _CHUNK_PAIRS = 512, 8192
_COMPARISONS = ((0, 0), (0, 1), (1, 0))
"""Margins of the first and second photograph that are compared."""
_UNITS = (1000.0, 100.0)
"""Factors by which the logarithm of width / height and the contrast are stored as 16-bit integers."""

Matrix = NDArray[np.float32]


def fingerprint_photograph(image: Pixels) -> str:
    """Return the fingerprint of a photograph, by which copies in other sizes and qualities are detected; 2.7 kB.

    Args:
        image: Photograph, uint8 [H, W, 3].
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float64)
    details = [_detail(grey, margin) for margin in MARGINS]
    contents = b"".join(_as_bytes(detail).tobytes() for detail in details)
    measures = (math.log(grey.shape[1] / grey.shape[0]), float(details[0].std()))
    integers = np.rint(np.array(measures) * _UNITS).astype("<i2")
    return base64.b64encode(contents + integers.tobytes()).decode()


def near_photographs(fingerprints: Sequence[str]) -> Iterator[tuple[int, int, float]]:
    """Yield (first, second, distance) of all pairs of photographs within LARGEST_DISTANCE, as ascending indices.

    The time grows with the square of the number of photographs: about 10 s of processor time and 250 MB for 8,000.
    """
    photographs = _decode(fingerprints)
    for start in range(0, len(fingerprints), _BLOCK_ROWS):
        distances = _block_distances(photographs, start)
        rows, columns = np.nonzero(distances <= LARGEST_DISTANCE)
        firsts, seconds = (rows + start).tolist(), (columns + start).tolist()
        yield from zip(firsts, seconds, distances[rows, columns].tolist(), strict=True)


@dataclass(frozen=True)
class _Photographs:
    """Decoded fingerprints.

    Attributes:
        details: Blocks of each photograph for each margin, by tiles, each of length 1: float32 [MARGINS, N, 1024].
        energies: Sums of the squares in each tile, float32 [MARGINS, N, tiles].
        stretches: Logarithms of width / height, float32 [N].
        contrasts: Standard deviations of the blocks in grey levels, float32 [N].
    """

    details: Matrix
    energies: Matrix
    stretches: Matrix
    contrasts: Matrix


def _detail(grey: NDArray[np.float64], margin: float) -> NDArray[np.float64]:
    """Return the blocks of a photograph without low frequencies, float64 [_SIDE, _SIDE]."""
    blocks = _block_means(_block_means(grey, margin).T, margin).T
    return np.asarray(blocks - cv2.GaussianBlur(blocks, (0, 0), _BLUR))


def _as_bytes(detail: NDArray[np.float64]) -> NDArray[np.int8]:
    """Return the blocks by tiles, scaled to -127..127."""
    tile = _SIDE // _TILES
    by_tiles = detail.reshape(_TILES, tile, _TILES, tile).swapaxes(1, 2)
    return np.rint(127 * by_tiles / max(float(np.abs(detail).max()), 1e-12)).astype(np.int8)


def _block_means(grey: NDArray[np.float64], margin: float) -> NDArray[np.float64]:
    """Average the rows over _SIDE equal blocks, whose edges may divide a pixel: float64 [_SIDE, W]."""
    sums = np.concatenate([np.zeros((1, grey.shape[1])), np.cumsum(grey, axis=0)])
    edges = np.linspace(margin, 1 - margin, _SIDE + 1) * grey.shape[0]
    lower = np.minimum(edges.astype(np.intp), grey.shape[0] - 1)
    share = (edges - lower)[:, None]
    means = np.diff((1 - share) * sums[lower] + share * sums[lower + 1], axis=0)
    return np.asarray(means / (edges[1] - edges[0]))


def _decode(fingerprints: Sequence[str]) -> _Photographs:
    values = np.frombuffer(b"".join(base64.b64decode(text) for text in fingerprints), np.int8)
    rows = values.reshape(len(fingerprints), -1)
    measures = np.ascontiguousarray(rows[:, -2 * len(_UNITS) :]).view("<i2") / np.array(_UNITS, np.float32)
    details = rows[:, : -2 * len(_UNITS)].reshape(len(rows), len(MARGINS), -1).swapaxes(0, 1).astype(np.float32)
    details /= np.maximum(np.linalg.norm(details, axis=2, keepdims=True), 1e-12)
    energies = np.square(details).reshape(*details.shape[:2], _TILES**2, -1).sum(axis=3)
    return _Photographs(details, energies, *measures.T.astype(np.float32))


def _block_distances(photographs: _Photographs, start: int) -> Matrix:
    """Return the distances of a block of photographs from all later ones; infinite for pairs that are not near."""
    count = photographs.details.shape[1] - start
    distances = np.full((min(_BLOCK_ROWS, count), count), np.inf, np.float32)
    for first, second in _COMPARISONS:
        block, others = photographs.details[first, start : start + _BLOCK_ROWS], photographs.details[second, start:]
        correlations = block @ others.T
        rows, columns = np.nonzero(correlations >= 1 - LARGEST_DISTANCE)
        later = rows < columns
        rows, columns = rows[later], columns[later]
        whole = 1 - correlations[rows, columns]
        for chunk in range(0, len(rows), _CHUNK_PAIRS):
            part = slice(chunk, chunk + _CHUNK_PAIRS)
            pair = (first, start + rows[part]), (second, start + columns[part])
            distance = np.maximum(whole[part], _tile_distances(photographs, *pair))
            distance *= _factors(photographs, pair[0][1], pair[1][1])
            distances[rows[part], columns[part]] = np.minimum(distances[rows[part], columns[part]], distance)
    return np.maximum(distances, 0)


def _tile_distances(
    photographs: _Photographs, one: tuple[int, NDArray[np.intp]], other: tuple[int, NDArray[np.intp]]
) -> Matrix:
    """Return the distance of each pair in its second least similar tile, float32 [pairs].

    The contrast of the two in a tile may differ by LARGEST_GAIN, as in copies with clipped highlights.

    Args:
        photographs: Decoded fingerprints.
        one: Number of the margin and indices of the first photographs.
        other: The same of the second photographs.
    """
    tiles = [photographs.details[side].reshape(len(side[1]), _TILES**2, -1) for side in (one, other)]
    products = np.einsum("npv,npv->np", *tiles)
    energy, other_energy = photographs.energies[one], photographs.energies[other]
    ratio = np.sqrt((energy + _SMALLEST_ENERGY) / (other_energy + _SMALLEST_ENERGY))
    gain = np.clip(ratio, 1 / LARGEST_GAIN, LARGEST_GAIN)
    mean_energy = (energy / gain + gain * other_energy) / 2
    distances = (mean_energy - products) / np.maximum(mean_energy, 1 / _TILES**2)
    return np.asarray(np.partition(distances, -2, axis=1)[:, -2])


def _factors(photographs: _Photographs, one: NDArray[np.intp], other: NDArray[np.intp]) -> Matrix:
    """Return the factor of the distance of each pair, for other proportions, other contrasts and high contrasts."""
    contrasts = np.maximum(photographs.contrasts, 1e-3)
    largest = np.maximum(contrasts[one], contrasts[other]) / np.float32(HIGH_CONTRAST)
    factors = np.square(np.maximum(largest, 1))
    stretches, logarithms = photographs.stretches, np.log(contrasts)
    for values, bound in ((stretches, LARGEST_STRETCH), (logarithms, LARGEST_CONTRAST_RATIO)):
        factors[np.abs(values[one] - values[other]) > bound] *= DIFFERENCE_FACTOR
    return factors
