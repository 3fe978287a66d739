"""The largest connected component of a volume, in memory that does not grow with the volume.

Two scans with union-find (Wu, Otoo and Suzuki 2009, "Optimizing two-pass connected-component labeling algorithms").
Only the labels of the last layer are stored, instead of a volume of labels: the second scan assigns the same labels as
the first one, and the union of labels is complete by then.
"""

import numpy as np
from numpy.typing import NDArray

from components.shared.volumes.compiled import compiled

Labels = NDArray[np.uint32]
_INITIAL_LABELS = 4096


@compiled
def keep_largest_component(bright: NDArray[np.bool_]) -> tuple[int, int]:
    """Clear all voxels outside the largest face-connected component, in place; of equal components the first remains.

    Args:
        bright: Mask of bright voxels, bool [Z, Y, X].

    Returns:
        The number of voxels of the component, and of the second largest one; 0 if there is none.
    """
    parents, voxels = _label_voxels(bright)
    if parents.size == 1:
        return 0, 0
    for label in range(parents.size):
        root = _root(parents, label)
        parents[label] = root
        if root != label:
            voxels[root] += voxels[label]
            voxels[label] = 0
    largest = int(np.argmax(voxels))
    _clear_others(bright, parents, largest)
    size = int(voxels[largest])
    voxels[largest] = 0
    return size, int(voxels.max())


@compiled
def _label_voxels(bright: NDArray[np.bool_]) -> tuple[Labels, Labels]:
    """Label the voxels; return the parent (a smaller label or itself) and the voxels of each label. Label 0 is dark."""
    parents, voxels = np.zeros(_INITIAL_LABELS, np.uint32), np.zeros(_INITIAL_LABELS, np.uint32)
    layer = np.zeros((bright.shape[1], bright.shape[2]), np.uint32)
    count = 1
    for a in range(bright.shape[0]):
        for b in range(bright.shape[1]):
            beside = np.uint32(0)
            for c in range(bright.shape[2]):
                if not bright[a, b, c]:
                    beside = layer[b, c] = np.uint32(0)
                    continue
                above, behind = layer[b, c], layer[b - 1, c] if b else np.uint32(0)
                if beside or behind or above:
                    beside = np.uint32(_union_neighbours(parents, int(beside), int(behind), int(above)))
                else:
                    if count == parents.size:
                        parents, voxels = _double(parents), _double(voxels)
                    beside = parents[count] = np.uint32(count)
                    count += 1
                layer[b, c] = beside
                voxels[beside] += 1
    return parents[:count], voxels[:count]


@compiled
def _double(labels: Labels) -> Labels:
    larger = np.zeros(2 * labels.size, np.uint32)
    larger[: labels.size] = labels
    return larger


@compiled
def _union_neighbours(parents: Labels, beside: int, behind: int, above: int) -> int:
    """Unite the labels of a voxel's bright neighbours, and return the first of them."""
    label = beside or behind or above
    if behind and behind != label:
        _union(parents, label, behind)
    if above and above != label:
        _union(parents, label, above)
    return label


@compiled
def _root(parents: Labels, label: int) -> int:
    while parents[label] != label:
        parents[label] = parents[parents[label]]
        label = parents[label]
    return label


@compiled
def _union(parents: Labels, one: int, other: int) -> None:
    one, other = _root(parents, one), _root(parents, other)
    parents[max(one, other)] = min(one, other)


@compiled
def _clear_others(bright: NDArray[np.bool_], parents: Labels, largest: int) -> None:
    layer = np.zeros((bright.shape[1], bright.shape[2]), np.uint32)
    count = 1
    for a in range(bright.shape[0]):
        for b in range(bright.shape[1]):
            beside = np.uint32(0)
            for c in range(bright.shape[2]):
                if not bright[a, b, c]:
                    beside = layer[b, c] = np.uint32(0)
                    continue
                behind = layer[b - 1, c] if b else np.uint32(0)
                if beside or behind or layer[b, c]:
                    beside = beside or behind or layer[b, c]
                else:
                    beside = np.uint32(count)
                    count += 1
                layer[b, c] = beside
                bright[a, b, c] = parents[beside] == largest
