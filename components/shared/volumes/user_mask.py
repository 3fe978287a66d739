"""A user's own mask of a volume: a NIfTI file of the same grid, in which zero is background."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.shared.errors import BadSourceFileError
from components.shared.volumes.formats import format_of, read_header, read_stored_voxels
from components.shared.volumes.formats.base import VolumeHeader, Zooms, format_lengths, format_shape
from components.shared.volumes.grey_range import MIN_SPECIMEN_VOXELS

MASK_FORMATS = ("NIfTI", "NIfTI pair")
"""Formats whose affine shows that a mask is not turned or mirrored against its volume."""
GRID_TOLERANCE = 0.25
"""Largest distance of the corners of both grids, as a share of the smallest edge of a voxel."""


def check_mask_header(volume: Path, mask: Path, spacing_mm: Zooms | None = None) -> int:
    """Check that a mask has the grid of its volume, and return the bytes of its voxels.

    Args:
        volume: File of the volume.
        mask: File of the mask.
        spacing_mm: Edge lengths of a voxel that count if the volume has none, the fastest axis first.

    Raises:
        BadSourceFileError: The mask is no NIfTI file, or has another grid.
    """
    return _header_on_grid(volume, mask, spacing_mm).nbytes


def read_mask(volume: Path, mask: Path, spacing_mm: Zooms | None = None) -> tuple[NDArray[np.bool_], str]:
    """Read a mask, and return it as bool [Z, Y, X] with the SHA-256 of its file.

    Args:
        volume: See `check_mask_header`.
        mask: See `check_mask_header`.
        spacing_mm: See `check_mask_header`.

    Raises:
        BadSourceFileError: See `check_mask_header`; also if the mask is damaged or has too few voxels.
    """
    header = _header_on_grid(volume, mask, spacing_mm)
    try:
        values, digest = read_stored_voxels(mask, header)
    except BadSourceFileError as error:
        raise BadSourceFileError(f"its mask: {error}") from error
    inside = _is_specimen(values, header).reshape(header.shape[::-1])
    voxels = int(np.count_nonzero(inside))
    if voxels < MIN_SPECIMEN_VOXELS:
        problem = f"its mask has {voxels} voxels of the specimen" if voxels else "its mask is empty"
        raise BadSourceFileError(problem, f"at least {MIN_SPECIMEN_VOXELS} voxels that are not zero")
    return inside, digest


def _header_on_grid(volume: Path, mask: Path, spacing_mm: Zooms | None) -> VolumeHeader:
    """Return the header of a mask that has the grid of its volume."""
    volume_header, mask_header = read_header(volume, spacing_mm), _read_mask_header(mask)
    expectation = "the grid of its volume"
    if mask_header.shape != volume_header.shape:
        shapes = [format_shape(header.shape) for header in (mask_header, volume_header)]
        raise BadSourceFileError(f"its mask has {shapes[0]} voxels, the volume {shapes[1]}", expectation)
    zooms = np.array([mask_header.zooms_mm, volume_header.zooms_mm])
    if np.abs((zooms[0] - zooms[1]) * mask_header.shape).max() > GRID_TOLERANCE * zooms[1].min():
        sizes = [format_lengths(row) for row in zooms]
        raise BadSourceFileError(f"its mask has voxels of {sizes[0]}, the volume of {sizes[1]}", expectation)
    distance = _corner_distance(volume_header, mask_header)
    if distance > GRID_TOLERANCE:
        raise BadSourceFileError(
            f"its mask is turned, mirrored or shifted by up to {distance:.3g} voxels against the volume",
            expectation,
            "Write the mask with the affine of the volume.",
        )
    return mask_header


def _read_mask_header(mask: Path) -> VolumeHeader:
    try:
        if format_of(mask).name not in MASK_FORMATS:
            raise BadSourceFileError("not a NIfTI file", "a .nii or .nii.gz file", "Export the mask as NIfTI.")
        return read_header(mask)
    except BadSourceFileError as error:
        raise BadSourceFileError(f"its mask: {error}") from error


def _is_specimen(values: NDArray[Any], header: VolumeHeader) -> NDArray[np.bool_]:
    zero = header.stored_zero
    inside: NDArray[np.bool_] = values != (int(zero) if zero == int(zero) and values.dtype.kind != "f" else zero)
    if values.dtype.kind == "f":
        inside &= np.isfinite(values)
    return inside


def _corner_distance(volume: VolumeHeader, mask: VolumeHeader) -> float:
    """Return the largest distance of the corners of both grids, in edges of the smallest side of a voxel.

    A file without an affine is where its volume is.
    """
    if volume.affine is None or mask.affine is None:
        return 0.0
    corners = np.array(list(np.ndindex(2, 2, 2))) * (np.array(volume.shape) - 1)
    difference = (volume.affine - mask.affine) @ np.column_stack([corners, np.ones(8)]).T
    smallest = np.linalg.norm(volume.affine[:3, :3], axis=0).min()
    return float(np.linalg.norm(difference[:3], axis=0).max() / max(smallest, 1e-12))
