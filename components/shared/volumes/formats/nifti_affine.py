"""The voxel size of a NIfTI header: that of the affine (sform), else the field pixdim, which also belongs to the qform.

The order is that of the NIfTI standard. Axes that are permuted or flipped by the affine keep their order in the file;
only the lengths of the affine's columns are used.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.shared.volumes.formats.base import LARGEST_DIFFERENCE, check_right_angles, format_lengths

_SMALLEST_VOLUME = 1e-3
"""Volume of the cell of an affine with columns of length 1, below which the affine is singular."""


@dataclass(frozen=True)
class VoxelSize:
    """The voxel size of a header.

    Attributes:
        lengths: Edge lengths along the three axes, in the unit of the header.
        notes: Sentences about contradictions in the header.
    """

    lengths: tuple[float, ...]
    notes: tuple[str, ...] = ()


def voxel_size(header: Any, unit: str) -> VoxelSize:
    """Return the voxel size of a NIfTI header, and how its fields contradict one another.

    Args:
        header: Header as nibabel parses it.
        unit: Name of the header's unit, for the notes.

    Raises:
        BadSourceFileError: The affine is sheared.
    """
    pixdim = tuple(abs(float(zoom)) for zoom in header["pixdim"][1:4])
    if "sform_code" not in header.keys() or int(header["sform_code"]) <= 0:  # noqa: SIM118 not a mapping
        return VoxelSize(pixdim)
    columns = np.array([header["srow_x"][:3], header["srow_y"][:3], header["srow_z"][:3]], np.float64)
    fault = _fault_of(columns)
    if fault:
        return VoxelSize(
            pixdim, (f"the affine (sform) {fault}; the voxel size is {format_lengths(pixdim, '(pixdim)')}",)
        )
    check_right_angles(columns)
    lengths = tuple(float(length) for length in np.linalg.norm(columns, axis=0))
    if all(math.isclose(*pair, rel_tol=LARGEST_DIFFERENCE) for pair in zip(lengths, pixdim, strict=True)):
        return VoxelSize(lengths)
    sizes = f"{format_lengths(lengths, unit)} in the affine (sform) and {format_lengths(pixdim, unit)} in pixdim"
    return VoxelSize(lengths, (f"the voxel size is {sizes}: the affine is used",))


def _fault_of(columns: NDArray[np.float64]) -> str:
    """Return the reason why an affine, float64 [3, 3], cannot be used, or an empty text."""
    if not np.isfinite(columns).all():
        return "has values that are not finite"
    lengths = np.linalg.norm(columns, axis=0)
    if not lengths.all() or abs(np.linalg.det(columns / np.maximum(lengths, 1e-300))) < _SMALLEST_VOLUME:
        return "is singular"
    return ""
