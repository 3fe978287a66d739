"""Compiled trilinear sampling of planes directly from a volume.

Coordinates are voxel indices in float64: steps in float32 cause errors of 0.6 % of the grey range on white noise.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.shared.volumes.compiled import compiled

Vector = NDArray[np.float64]


@compiled
def sample_plane(
    volume: NDArray[Any], corner: Vector, down: Vector, across: Vector, edge: int, outside: float
) -> NDArray[np.float32]:
    """Interpolate a square plane, as `scipy.ndimage.map_coordinates(order=1, mode="constant")` does.

    Args:
        volume: Grey values [A, B, C] of any integer or floating type, C-contiguous, at least two voxels a side.
        corner: Centre of the first pixel in voxel indices, float64 [3].
        down: Step between rows in voxel indices, float64 [3].
        across: Step between columns in voxel indices, float64 [3].
        edge: Number of rows and of columns of the plane.
        outside: Grey value of pixels outside the volume.

    Returns:
        The plane, float32 [edge, edge].
    """
    plane = np.full((edge, edge), outside, np.float32)
    last_a, last_b, last_c = volume.shape[0] - 1, volume.shape[1] - 1, volume.shape[2] - 1
    flat, width, layer = volume.reshape(-1), volume.shape[2], volume.shape[1] * volume.shape[2]
    for row in range(edge):
        start_a = corner[0] + row * down[0]
        start_b = corner[1] + row * down[1]
        start_c = corner[2] + row * down[2]
        first_a, end_a = _columns_within(start_a, across[0], last_a, edge)
        first_b, end_b = _columns_within(start_b, across[1], last_b, edge)
        first_c, end_c = _columns_within(start_c, across[2], last_c, edge)
        for column in range(max(first_a, first_b, first_c), min(end_a, end_b, end_c)):
            a = start_a + column * across[0]
            b = start_b + column * across[1]
            c = start_c + column * across[2]
            i, j, k = min(int(a), last_a - 1), min(int(b), last_b - 1), min(int(c), last_c - 1)
            # unsigned: Numba checks signed indices for negative values
            one, first = np.uintp(1), np.uintp(i * layer + j * width + k)
            below, behind = first + np.uintp(width), first + np.uintp(layer)
            diagonal = behind + np.uintp(width)
            y, z = b - j, c - k
            near = _bilinear(flat[first], flat[first + one], flat[below], flat[below + one], y, z)
            far = _bilinear(flat[behind], flat[behind + one], flat[diagonal], flat[diagonal + one], y, z)
            plane[row, column] = near + (a - i) * (far - near)
    return plane


@compiled
def _columns_within(start: float, step: float, last: float, edge: int) -> tuple[int, int]:
    """Return the first column whose coordinate start + column * step is in 0..last, and one past the last one."""
    first, end = 0, edge
    if step != 0.0:
        one, other = -start / step, (last - start) / step
        # clip before conversion to integers: the step of a plane along an axis may be 1e-17
        first = int(min(max(min(one, other) - 1.0, 0.0), edge))
        end = int(min(max(max(one, other) + 2.0, 0.0), edge))
    # correct the rounding of the divisions: the coordinates themselves decide
    while first < end and not 0.0 <= start + first * step <= last:
        first += 1
    while end > first and not 0.0 <= start + (end - 1) * step <= last:
        end -= 1
    return first, end


@compiled
def _bilinear(v00: float, v01: float, v10: float, v11: float, y: float, z: float) -> float:
    low = float(v00) + z * (float(v01) - float(v00))
    high = float(v10) + z * (float(v11) - float(v10))
    return low + y * (high - low)


@compiled
def mask_coverage(mask: NDArray[np.bool_], corner: Vector, down: Vector, across: Vector, edge: int) -> float:
    """Return the share of a plane's pixels whose nearest voxel is in the mask, 0..1.

    Args:
        mask: Mask of the specimen, bool [A, B, C].
        corner: See `sample_plane`.
        down: See `sample_plane`.
        across: See `sample_plane`.
        edge: Number of rows and of columns of the plane.
    """
    count = 0
    last_a, last_b, last_c = mask.shape[0] - 1e-9, mask.shape[1] - 1e-9, mask.shape[2] - 1e-9
    for row in range(edge):
        start_a = corner[0] + row * down[0] + 0.5
        start_b = corner[1] + row * down[1] + 0.5
        start_c = corner[2] + row * down[2] + 0.5
        first_a, end_a = _columns_within(start_a, across[0], last_a, edge)
        first_b, end_b = _columns_within(start_b, across[1], last_b, edge)
        first_c, end_c = _columns_within(start_c, across[2], last_c, edge)
        for column in range(max(first_a, first_b, first_c), min(end_a, end_b, end_c)):
            a = start_a + column * across[0]
            b = start_b + column * across[1]
            c = start_c + column * across[2]
            count += mask[int(a), int(b), int(c)]
    return count / (edge * edge)
