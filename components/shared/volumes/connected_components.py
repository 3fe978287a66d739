"""The largest connected component of a volume, found in memory that does not grow with the volume.

Two scans with union-find (Wu, Otoo and Suzuki 2009, "Optimizing two-pass connected-component labeling algorithms").
Instead of a volume of labels only those of the last layer are kept: the second scan numbers the voxels as the first
one did, and by then it is known which numbers belong together.
"""

import numpy as np
from numpy.typing import NDArray

from components.shared.volumes.compiled import compiled

Numbers = NDArray[np.uint32]
_FIRST_NUMBERS = 4096


@compiled
def keep_largest_component(bright: NDArray[np.bool_]) -> int:
    """Clears everything but the largest face-connected component, in place; of several the first.

    Args:
        bright: bool [Z, Y, X].

    Returns:
        The component's voxels, 0 where there is none.
    """
    joined, voxels = _joined_numbers(bright)
    if joined.size == 1:
        return 0
    for number in range(joined.size):
        root = _root(joined, number)
        joined[number] = root
        if root != number:
            voxels[root] += voxels[number]
            voxels[number] = 0
    largest = int(np.argmax(voxels))
    _clear_others(bright, joined, largest)
    return int(voxels[largest])


@compiled
def _joined_numbers(bright: NDArray[np.bool_]) -> tuple[Numbers, Numbers]:
    """Numbers the voxels: which smaller number each one is joined with, and how many voxels have it; 0 is dark."""
    joined, voxels = np.zeros(_FIRST_NUMBERS, np.uint32), np.zeros(_FIRST_NUMBERS, np.uint32)
    layer = np.zeros((bright.shape[1], bright.shape[2]), np.uint32)
    count = 1
    for a in range(bright.shape[0]):
        for b in range(bright.shape[1]):
            left = np.uint32(0)
            for c in range(bright.shape[2]):
                if not bright[a, b, c]:
                    left = layer[b, c] = np.uint32(0)
                    continue
                above, behind = layer[b, c], layer[b - 1, c] if b else np.uint32(0)
                if left or behind or above:
                    left = np.uint32(_joined_neighbours(joined, int(left), int(behind), int(above)))
                else:
                    if count == joined.size:
                        joined, voxels = _doubled(joined), _doubled(voxels)
                    left = joined[count] = np.uint32(count)
                    count += 1
                layer[b, c] = left
                voxels[left] += 1
    return joined[:count], voxels[:count]


@compiled
def _doubled(numbers: Numbers) -> Numbers:
    larger = np.zeros(2 * numbers.size, np.uint32)
    larger[: numbers.size] = numbers
    return larger


@compiled
def _joined_neighbours(joined: Numbers, left: int, behind: int, above: int) -> int:
    """Joins the numbers of a voxel's bright neighbours, and returns the first of them."""
    number = left or behind or above
    if behind and behind != number:
        _join(joined, number, behind)
    if above and above != number:
        _join(joined, number, above)
    return number


@compiled
def _root(joined: Numbers, number: int) -> int:
    while joined[number] != number:
        joined[number] = joined[joined[number]]
        number = joined[number]
    return number


@compiled
def _join(joined: Numbers, one: int, other: int) -> None:
    one, other = _root(joined, one), _root(joined, other)
    joined[max(one, other)] = min(one, other)


@compiled
def _clear_others(bright: NDArray[np.bool_], joined: Numbers, largest: int) -> None:
    layer = np.zeros((bright.shape[1], bright.shape[2]), np.uint32)
    count = 1
    for a in range(bright.shape[0]):
        for b in range(bright.shape[1]):
            left = np.uint32(0)
            for c in range(bright.shape[2]):
                if not bright[a, b, c]:
                    left = layer[b, c] = np.uint32(0)
                    continue
                behind = layer[b - 1, c] if b else np.uint32(0)
                if left or behind or layer[b, c]:
                    left = left or behind or layer[b, c]
                else:
                    left = np.uint32(count)
                    count += 1
                layer[b, c] = left
                bright[a, b, c] = joined[left] == largest
