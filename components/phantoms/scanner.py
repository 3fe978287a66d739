"""Artefacts of computed tomography, each a pure function of a volume, a strength and a seeded generator.

Volumes are float32 [X, Y, Z] in any grey unit; amplitudes are fractions of the volume's own contrast (see `contrast`),
so every artefact can be added to any scan. The scanner rotates about the Z axis through the centre. Strength 0 returns
the volume unchanged, 1 is a usual scan, 3 a bad one.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage

from components.shared.config import Frozen

Volume = NDArray[np.float32]
Zooms = tuple[float, float, float]

NOISE = 0.04
BLUR_VOXELS = 0.5
RINGS = 0.05
CUPPING = 0.15
GRADIENT = 0.12
SEDIMENT_REACH_VOXELS = 2.0
SEDIMENT_GREY = 0.35
THICKER_SLICES = 0.6
_FAULTY_SHARE = 0.15


class Artefacts(Frozen):
    """Strength of each artefact: 0 is off, 1 is a usual scan.

    Attributes:
        noise: White noise of the detector.
        blur: Gaussian point spread.
        rings: Rings about the axis of rotation, from faulty detector pixels.
        beam_hardening: Cupping: the middle is darker than the rim.
        gradient: Linear change of grey across the volume.
        sediment: Grains that stick to the outer wall.
        anisotropy: Slices that are thicker than the edge of their voxels.
    """

    noise: float = Field(default=1.0, ge=0, le=10)
    blur: float = Field(default=1.0, ge=0, le=10)
    rings: float = Field(default=1.0, ge=0, le=10)
    beam_hardening: float = Field(default=1.0, ge=0, le=5)
    gradient: float = Field(default=1.0, ge=0, le=5)
    sediment: float = Field(default=1.0, ge=0, le=5)
    anisotropy: float = Field(default=1.0, ge=0, le=5)


CLEAN = Artefacts(noise=0, blur=0, rings=0, beam_hardening=0, gradient=0, sediment=0, anisotropy=0)


def contrast(volume: Volume) -> tuple[float, float]:
    """Return the grey level of the background, and the difference of the brightest material from it."""
    low, high = np.percentile(volume[::2, ::2, ::2], (10.0, 99.5))
    return float(low), float(max(high - low, 1e-6))


def add_noise(volume: Volume, strength: float, rng: np.random.Generator) -> Volume:
    """Add white Gaussian noise with a deviation of 4 % of the contrast at strength 1."""
    if strength == 0:
        return volume
    _, span = contrast(volume)
    return volume + np.float32(NOISE * strength * span) * rng.standard_normal(volume.shape, dtype=np.float32)


def blur(volume: Volume, strength: float, rng: np.random.Generator) -> Volume:  # noqa: ARG001 - all artefacts have one signature
    """Blur with a Gaussian of half a voxel at strength 1."""
    if strength == 0:
        return volume
    result: Volume = ndimage.gaussian_filter(volume, BLUR_VOXELS * strength, mode="nearest", truncate=3.0)
    return result


def add_rings(volume: Volume, strength: float, rng: np.random.Generator) -> Volume:
    """Add rings about the axis of rotation, a voxel wide, with a deviation of 5 % of the contrast at strength 1."""
    if strength == 0:
        return volume
    _, span = contrast(volume)
    radius = _distance_from_axis(volume.shape)
    count = int(radius.max()) + 2
    is_faulty = rng.random(count) < _FAULTY_SHARE
    amplitudes = np.where(is_faulty, rng.normal(scale=RINGS * strength * span / _FAULTY_SHARE**0.5, size=count), 0.0)
    return volume + amplitudes.astype(np.float32)[np.round(radius).astype(np.intp)][:, :, None]


def harden_beam(volume: Volume, strength: float, rng: np.random.Generator) -> Volume:  # noqa: ARG001
    """Darken the middle by 15 % of the contrast at strength 1, less with the distance squared (cupping)."""
    if strength == 0:
        return volume
    low, _ = contrast(volume)
    radius = _distance_from_axis(volume.shape)
    cup = 1.0 - CUPPING * strength * np.clip(1.0 - (radius / (0.5 * min(volume.shape[:2]))) ** 2, 0, 1)
    return np.float32(low) + (volume - np.float32(low)) * np.maximum(cup, 0).astype(np.float32)[:, :, None]


def add_gradient(volume: Volume, strength: float, rng: np.random.Generator) -> Volume:
    """Add a linear change of grey in a random direction, 12 % of the contrast from end to end at strength 1."""
    if strength == 0:
        return volume
    _, span = contrast(volume)
    direction = rng.normal(size=3)
    direction = direction / np.linalg.norm(direction)
    result = volume
    for axis, slope in enumerate(direction):
        ramp = np.linspace(-0.5, 0.5, volume.shape[axis], dtype=np.float32) * np.float32(
            slope * GRADIENT * strength * span
        )
        result = result + ramp.reshape([-1 if axis == i else 1 for i in range(3)])
    return result


def add_sediment(volume: Volume, strength: float, rng: np.random.Generator) -> Volume:
    """Add patches of darker grains, up to two voxels high at strength 1, on the outside of the material."""
    if strength == 0:
        return volume
    low, span = contrast(volume)
    material = volume > low + 0.5 * span
    height = np.asarray(ndimage.distance_transform_edt(~material), dtype=np.float32)
    outside = ~ndimage.binary_fill_holes(ndimage.binary_closing(material, iterations=2))
    patches = SEDIMENT_REACH_VOXELS * strength * smooth_noise(volume.shape, max(volume.shape) / 9.0, rng)
    cover = np.clip(patches - height + 0.5, 0, 1) * (outside & ~material)
    grains = np.float32(SEDIMENT_GREY) + np.float32(0.06) * rng.standard_normal(volume.shape, dtype=np.float32)
    return np.maximum(volume, np.float32(low) + np.float32(span) * grains * cover).astype(np.float32)


ARTEFACTS: dict[str, Callable[[Volume, float, np.random.Generator], Volume]] = {
    "sediment": add_sediment,
    "beam_hardening": harden_beam,
    "gradient": add_gradient,
    "blur": blur,
    "rings": add_rings,
    "noise": add_noise,
}


def scan(volume: Volume, artefacts: Artefacts, rng: np.random.Generator) -> Volume:
    """Add the artefacts to a volume in their physical order, except for anisotropy, which changes the grid."""
    for name, apply in ARTEFACTS.items():
        volume = apply(volume, getattr(artefacts, name), rng)
    return volume


def slice_thickness(strength: float, rng: np.random.Generator) -> float:
    """Draw the thickness of a slice in voxels: 1 for half of the specimens, up to 1.6 for the rest at strength 1."""
    is_thicker = rng.random() < 0.5
    return 1.0 + (THICKER_SLICES * strength * rng.uniform(0.4, 1.0) if is_thicker else 0.0)


def thicken_slices(volume: Volume, zooms: Zooms, thickness: float) -> tuple[Volume, Zooms]:
    """Resample a volume along Z (linear) to slices `thickness` voxels apart; the first slice keeps its position.

    Args:
        volume: Volume, float32 [X, Y, Z].
        zooms: Voxel size in mm along X, Y, Z.
        thickness: New spacing along Z in old voxels, at least 1; 1 returns the volume unchanged.

    Returns:
        The volume, float32 [X, Y, Z'], and its zooms. The affine's origin stays valid.
    """
    if thickness == 1.0:
        return volume, zooms
    positions = np.arange(0, volume.shape[2] - 1 + 1e-6, thickness)
    below = np.minimum(np.floor(positions).astype(np.intp), volume.shape[2] - 2)
    share = (positions - below).astype(np.float32)
    result = volume[:, :, below] * (1 - share) + volume[:, :, below + 1] * share
    return result.astype(np.float32), (zooms[0], zooms[1], zooms[2] * thickness)


def smooth_noise(shape: tuple[int, ...], wavelength: float, rng: np.random.Generator) -> Volume:
    """Return noise between -1 and 1 without structure finer than about `wavelength` voxels, float32."""
    coarse = [max(int(edge / wavelength) + 2, 2) for edge in shape]
    knots = rng.uniform(-1, 1, size=coarse).astype(np.float32)
    factors = [(edge - 1) / (knot - 1) for edge, knot in zip(shape, coarse, strict=True)]
    grids = [np.arange(edge) / factor for edge, factor in zip(shape, factors, strict=True)]
    for axis, grid in enumerate(grids):
        below = np.minimum(grid.astype(np.intp), coarse[axis] - 2)
        share = (grid - below).astype(np.float32)
        share = (share * share * (3 - 2 * share)).reshape([-1 if axis == i else 1 for i in range(len(shape))])
        knots = np.take(knots, below, axis) * (1 - share) + np.take(knots, below + 1, axis) * share
    return knots.astype(np.float32)


def _distance_from_axis(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the distance of each column from the central Z axis in voxels, float64 [X, Y]."""
    x = np.arange(shape[0]) - (shape[0] - 1) / 2
    y = np.arange(shape[1]) - (shape[1] - 1) / 2
    return np.hypot(x[:, None], y[None, :])
