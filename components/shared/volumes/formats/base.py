"""Headers and voxels of volumes, with the limits that all file formats share."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from components.shared.errors import BadSourceFileError

MIN_VOXELS_PER_AXIS = 8
MAX_VOXELS = 2**32
MAX_ANISOTROPY = 64.0
MIN_ZOOM_MM, MAX_ZOOM_MM = 1e-6, 1e3
MAX_DEFLATE_RATIO = 1032
"""Limit of the deflate format (zlib's technical details)."""
Shape = tuple[int, int, int]
Zooms = tuple[float, float, float]
Encoding = Literal["raw", "gzip", "gzip in gzip", "zlib", "bzip2", "tiff page"]
MAX_COSINE = 0.01
"""Largest cosine of the angle between two axes; it shifts the last voxel of an axis by 1 % of its length."""
LARGEST_DIFFERENCE = 0.01
"""Largest relative difference of two voxel sizes that count as equal."""
MM_PER_UNIT = {
    **dict.fromkeys(("m", "meter", "metre", "meters", "metres"), 1e3),
    **dict.fromkeys(("inch", "in", "inches"), 25.4),
    **dict.fromkeys(("cm", "centimeter", "centimetre", "centimeters", "centimetres"), 10.0),
    **dict.fromkeys(("mm", "millimeter", "millimetre", "millimeters", "millimetres"), 1.0),
    **dict.fromkeys(("um", "\u00b5m", "\u03bcm", "\\u00b5m", "micron", "microns"), 1e-3),
    **dict.fromkeys(("micrometer", "micrometre", "micrometers", "micrometres"), 1e-3),
    **dict.fromkeys(("nm", "nanometer", "nanometre", "nanometers", "nanometres"), 1e-6),
}
"""Size in mm of the units of length, by the names that programs write; ImageJ writes `\\u00b5m` with its backslash."""
SPACING_REMEDY = "Give it in millimetres in the manifest's columns spacing_x, spacing_y and spacing_z."


@dataclass(frozen=True)
class Segment:
    """A part of a file that contains voxels, one after the other.

    Attributes:
        file: Path of the file.
        offset: Position in bytes of the first voxel, or of the compressed data; the number of a page in a TIFF file.
        nbytes: Size of the voxels in bytes.
        encoding: Compression of the voxels.
        skipped_bytes: Number of bytes in front of the first voxel after decompression.
    """

    file: Path
    offset: int
    nbytes: int
    encoding: Encoding = "raw"
    skipped_bytes: int = 0


@dataclass(frozen=True)
class VolumeHeader:
    """The header of a volume.

    Attributes:
        shape: Number of voxels along the three axes of the file, the fastest axis first.
        dtype: Type of the stored voxels, in the byte order of the file.
        zooms_mm: Edge lengths of a voxel along the axes of the file.
        segments: Parts of files that contain the voxels, in their order.
        is_inverted: Whether high values are dark, as with a negative slope of the grey scaling.
        affine: Matrix from voxels to space, float64 [4, 4], or None if the file sets none.
        stored_zero: Stored number of the grey value zero.
        notes: Sentences about contradictions in the file that do not prevent its use.
    """

    shape: Shape
    dtype: np.dtype[Any]
    zooms_mm: Zooms
    segments: tuple[Segment, ...] = ()
    is_inverted: bool = False
    affine: NDArray[np.float64] | None = None
    stored_zero: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def nbytes(self) -> int:
        """Size of the voxels in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class Volume:
    """A volume in memory or memory-mapped.

    Attributes:
        grey: Grey values [Z, Y, X] in the type of the file, C-contiguous. The positive scaling of the file is not
            applied, since all thresholds and windows here scale with it.
        zooms_mm: Edge lengths of a voxel along Z, Y, X, float64 [3].
        darkest: Lowest grey value.
        brightest: Highest grey value.
        digest: SHA-256 of the content of all files of the volume.
        padding: Highest grey value of voxels that were not scanned; they are not background.
        notes: Sentences about contradictions in the file that do not prevent its use.
    """

    grey: NDArray[Any]
    zooms_mm: NDArray[np.float64]
    darkest: float
    brightest: float
    digest: str
    padding: float = -math.inf
    notes: tuple[str, ...] = ()


def spatial_shape(lengths: Sequence[int]) -> Shape:
    """Return the lengths of the three axes, of axes in the order of the file, the fastest first.

    Raises:
        BadSourceFileError: The image is flat, too small or too large, or has several frames.
    """
    if any(length > 1 for length in lengths[3:]):
        raise BadSourceFileError(
            f"several frames or components ({format_shape(lengths)})", "a single frame", "Export a single volume."
        )
    if len(lengths) < 3 or min(lengths[:3]) == 1:
        raise BadSourceFileError(
            f"a flat image ({format_shape(lengths)})", "three dimensions", "Export the whole volume."
        )
    if min(lengths[:3]) < MIN_VOXELS_PER_AXIS:
        raise BadSourceFileError(
            f"{format_shape(lengths[:3])} voxels", f"at least {MIN_VOXELS_PER_AXIS} along each axis"
        )
    return lengths[0], lengths[1], lengths[2]


def format_shape(lengths: Sequence[int]) -> str:
    """Return lengths as text, such as `48 x 48 x 12`."""
    return " x ".join(map(str, lengths))


def format_lengths(lengths: Sequence[float], unit: str = "mm") -> str:
    """Return the edge lengths of a voxel as text, such as `1 x 1 x 4 mm`."""
    return f"{' x '.join(f'{length:g}' for length in lengths)} {unit}"


def is_usable(length_mm: float) -> bool:
    """Return whether an edge length of a voxel is within the limits."""
    return math.isfinite(length_mm) and MIN_ZOOM_MM <= length_mm <= MAX_ZOOM_MM


def mm_per_unit_of(unit: str) -> float:
    """Return the size of a unit of length in mm; NaN if the unit is unknown."""
    return MM_PER_UNIT.get(unit.lower(), math.nan)


def choose_zooms(
    lengths: Sequence[float], mm_per_unit: float, unit: str, spacing_mm: Zooms | None
) -> tuple[Zooms, tuple[str, ...]]:
    """Return the edge lengths of a voxel in mm, those of the file or else those of the manifest, and notes.

    Args:
        lengths: Edge lengths in the file; empty if it has none.
        mm_per_unit: Size of the unit of the file; NaN if it is unknown.
        unit: Name of the unit, for messages.
        spacing_mm: Edge lengths in the manifest, or None.

    Raises:
        BadSourceFileError: Neither the file nor the manifest has usable edge lengths.
    """
    is_usable_size = bool(lengths) and all(is_usable(length * mm_per_unit) for length in lengths)
    if not lengths and spacing_mm is None:
        raise BadSourceFileError("no voxel size in the file", "the edge lengths of a voxel", SPACING_REMEDY)
    if spacing_mm is None or is_usable_size:
        zooms = check_zooms(lengths, mm_per_unit, unit)
        return zooms, () if spacing_mm is None else _differences(zooms, spacing_mm)
    return check_zooms(spacing_mm), ()


def _differences(zooms: Zooms, spacing_mm: Zooms) -> tuple[str, ...]:
    if all(math.isclose(*pair, rel_tol=LARGEST_DIFFERENCE) for pair in zip(zooms, spacing_mm, strict=True)):
        return ()
    sizes = f"{format_lengths(zooms)} in the file and {format_lengths(spacing_mm)} in the manifest"
    return (f"the voxel size is {sizes}: the file is used",)


def check_right_angles(columns: NDArray[np.float64]) -> None:
    """Check that the axes in the columns of a matrix, float64 [3, 3], are at right angles.

    Raises:
        BadSourceFileError: The volume is sheared, as a scan with a tilted gantry.
    """
    axes = columns / np.linalg.norm(columns, axis=0)
    cosines = np.abs(axes.T @ axes - np.eye(3))
    if cosines.max() > MAX_COSINE:
        raise BadSourceFileError(
            f"a sheared volume, whose axes are at {math.degrees(math.acos(min(1.0, cosines.max()))):.1f} degrees",
            "axes at right angles (a tilted gantry shears a scan)",
            "Resample the scan to a rectangular grid, for example with dcm2niix or 3D Slicer.",
        )


def check_zooms(lengths: Sequence[float], mm_per_unit: float = 1.0, unit: str = "mm") -> Zooms:
    """Return the edge lengths of a voxel in millimetres.

    Args:
        lengths: Edge lengths along the three axes.
        mm_per_unit: Size of the unit; NaN if it is unknown.
        unit: Name of the unit, for the error.

    Raises:
        BadSourceFileError: A length is not within the limits, or one is far longer than another.
    """
    zooms = [length * mm_per_unit for length in lengths]
    if not all(map(is_usable, zooms)):
        explanation = "an unknown unit" if math.isnan(mm_per_unit) else format_lengths(zooms)
        text = f"{', '.join(f'{length:g}' for length in lengths)} {unit}"
        raise BadSourceFileError(
            f"zooms {text}" if unit == "mm" else f"zooms {text} ({explanation})",
            f"voxels of {MIN_ZOOM_MM:g} to {MAX_ZOOM_MM:g} mm",
            f"Write the voxel size and its unit into the header, or: {SPACING_REMEDY}",
        )
    if max(zooms) > MAX_ANISOTROPY * min(zooms):
        problem = f"voxels {max(zooms) / min(zooms):.0f} times as long as wide ({format_lengths(lengths, unit)})"
        raise BadSourceFileError(problem, f"at most {MAX_ANISOTROPY:.0f}", "Resample the scan.")
    return zooms[0], zooms[1], zooms[2]


def check_size(shape: Shape, declared_bytes: int, file_size: int, limit: int) -> None:
    """Check that the voxels can be in the file.

    Args:
        shape: Number of voxels along the three axes.
        declared_bytes: Size of header and voxels.
        file_size: Size of the file.
        limit: Largest size of its content: more than that of the file if it is compressed.

    Raises:
        BadSourceFileError: The file is too small, or the volume has more than MAX_VOXELS.
    """
    if declared_bytes > limit:
        raise BadSourceFileError(
            f"the header declares {declared_bytes} bytes and the file has {file_size}",
            "a complete volume",
            "Copy it again.",
        )
    if math.prod(shape) > MAX_VOXELS:
        raise BadSourceFileError(f"{format_shape(shape)} voxels", f"at most {MAX_VOXELS}", "Crop or bin the volume.")
