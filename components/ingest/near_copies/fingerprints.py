"""Fingerprints as text, and the pairs of them that are alike: parts of a scan, each a vector of small integers."""

import base64
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

_AT_ONCE = 512


def encode_parts(parts: NDArray[np.float64]) -> str:
    """Returns float64 [parts, values] as int8 in base64, each part scaled to its largest value."""
    largest = np.maximum(np.abs(parts).max(axis=1, keepdims=True), 1e-12)
    return base64.b64encode(np.rint(127 * parts / largest).astype(np.int8).tobytes()).decode()


def pairs_within(fingerprints: Sequence[str], parts: int, distance: float) -> Iterator[tuple[int, int, float]]:
    """Yields (first, second, distance) of all pairs within a distance, numbers of the fingerprints ascending.

    Distances are 1 minus the correlation in the least alike part, 0..2. The work grows with the square of the number,
    as products of matrices: about 25 s on two cores for 10,000 fingerprints of three parts.

    Args:
        fingerprints: of `encode_parts`.
        parts: of each of them.
        distance: the largest.
    """
    vectors = _decode(fingerprints, parts)
    for start in range(0, len(fingerprints), _AT_ONCE):
        block = vectors[:, start : start + _AT_ONCE]
        alike = np.minimum.reduce([one @ all_[start:].T for one, all_ in zip(block, vectors, strict=True)])
        for row, column in np.argwhere(alike >= 1 - distance):
            if row < column:
                yield start + int(row), start + int(column), max(0.0, 1 - float(alike[row, column]))


def _decode(fingerprints: Sequence[str], parts: int) -> NDArray[np.float32]:
    """Returns float32 [parts, N, values], each part of length 1, or 0 where there is nothing in it."""
    joined = b"".join(base64.b64decode(text) for text in fingerprints)
    values = np.frombuffer(joined, np.int8).reshape(len(fingerprints), parts, -1).transpose(1, 0, 2)
    lengths = np.sqrt(np.square(values, dtype=np.float32).sum(axis=2, keepdims=True))
    return np.ascontiguousarray(values / np.maximum(lengths, 1e-12), dtype=np.float32)
