"""The voxel size in a TIFF file: of ImageJ, of OME, or the resolution of its pages."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.shared.volumes.formats.base import MM_PER_UNIT

PLACEHOLDER_DPI = (1, 72, 96, 100, 150, 200, 300, 600)
"""Resolutions that programs write without knowing one."""
_RESOLUTION_UNITS = {2: "inch", 3: "cm"}


@dataclass(frozen=True)
class TiffSpacing:
    """The voxel size in a TIFF file.

    Attributes:
        lengths: Edge lengths along X, Y, Z in a unit; two without a distance of the slices, none without a size.
        unit: Name of the unit, a key of MM_PER_UNIT.
    """

    lengths: tuple[float, ...] = ()
    unit: str = "mm"


def read_tiff_spacing(tiff: Any, page: Any) -> TiffSpacing:
    """Return the voxel size that a TIFF file and its first page contain."""
    description = str(page.description)[: 2**20]
    sizes = dict(re.findall(r'\bPhysicalSize([XYZ](?:Unit)?)="([^"]*)"', description))
    if {"X", "Y", "Z"} <= set(sizes):
        units = [sizes.get(f"{axis}Unit", "um") for axis in "XYZ"]
        lengths = [
            _positive_length(sizes[axis]) * MM_PER_UNIT.get(unit, 0.0) for axis, unit in zip("XYZ", units, strict=True)
        ]
        return TiffSpacing(tuple(lengths)) if all(lengths) else TiffSpacing()
    pixels = [_pixel_length(page, code) for code in (282, 283)]
    metadata = (tiff.imagej_metadata if tiff.is_imagej else None) or {}
    return _of_imagej(metadata, pixels) if metadata else _of_resolution(page, pixels)


def _of_imagej(metadata: Mapping[str, Any], pixels: list[float]) -> TiffSpacing:
    unit, spacing = str(metadata.get("unit", "")).lower(), _positive_length(metadata.get("spacing", ""))
    if unit not in MM_PER_UNIT or not all(pixels):
        return TiffSpacing()
    return TiffSpacing((*pixels, spacing) if spacing else tuple(pixels), unit)


def _of_resolution(page: Any, pixels: list[float]) -> TiffSpacing:
    unit = _RESOLUTION_UNITS.get(int(page.tags.valueof(296, 1)), "")
    if not unit or not all(pixels):
        return TiffSpacing()
    dpi = MM_PER_UNIT["inch"] / MM_PER_UNIT[unit] / pixels[0]
    if any(math.isclose(dpi, placeholder, rel_tol=0.01) for placeholder in PLACEHOLDER_DPI):
        return TiffSpacing()
    return TiffSpacing(tuple(pixels), unit)


def _pixel_length(page: Any, code: int) -> float:
    """Return the length of a pixel from a tag of the resolution, 0 if there is none."""
    value = page.tags.valueof(code, (0, 1))
    pixels, units = value if isinstance(value, tuple) and len(value) == 2 else (0, 1)
    return float(units) / float(pixels) if pixels and units else 0.0


def _positive_length(value: Any) -> float:
    """Return a positive length, 0 for anything else."""
    try:
        length = float(value)
    except (TypeError, ValueError):
        return 0.0
    return length if math.isfinite(length) and length > 0 else 0.0
