"""Artefacts of computed tomography, each a pure function of a volume, a strength and a seeded generator.

Volumes are float32 [X, Y, Z] in any grey unit; amplitudes are fractions of the volume's own contrast (see `contrast`),
so every artefact can be laid over any scan. The scanner turns about the Z axis through the centre. Strength 0 returns
the volume as it is, 1 is a usual scan, 3 a bad one.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from pydantic import Field as Limits
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
_SHARE_OF_RINGS = 0.15


class Artefacts(Frozen):
    """How strong each artefact is: 0 is off, 1 a usual scan.

    Attributes:
        noise: white noise of the detector.
        blur: Gaussian point spread.
        rings: rings about the axis of rotation, from faulty detector pixels.
        beam_hardening: cupping, the middle darker than the rim.
        gradient: a linear change of grey across the volume.
        sediment: grains that stick to the outer wall.
        anisotropy: slices thicker than the voxels in them.
    """

    noise: float = Limits(default=1.0, ge=0, le=10)
    blur: float = Limits(default=1.0, ge=0, le=10)
    rings: float = Limits(default=1.0, ge=0, le=10)
    beam_hardening: float = Limits(default=1.0, ge=0, le=5)
    gradient: float = Limits(default=1.0, ge=0, le=5)
    sediment: float = Limits(default=1.0, ge=0, le=5)
    anisotropy: float = Limits(default=1.0, ge=0, le=5)


CLEAN = Artefacts(noise=0, blur=0, rings=0, beam_hardening=0, gradient=0, sediment=0, anisotropy=0)


def contrast(volume: Volume) -> tuple[float, float]:
    """Returns the grey level of the background and how far the brightest material lies above it."""
    low, high = np.percentile(volume[::2, ::2, ::2], (10.0, 99.5))
    return float(low), float(max(high - low, 1e-6))


def add_noise(volume: Volume, strength: float, rng: np.random.Generator) -> Volume:
    """Adds white Gaussian noise with a deviation of 4 % of the contrast at strength 1."""
    if strength == 0:
        return volume
    _, span = contrast(volume)
    return volume + np.float32(NOISE * strength * span) * rng.standard_normal(volume.shape, dtype=np.float32)


def blur(volume: Volume, strength: float, rng: np.random.Generator) -> Volume:  # noqa: ARG001 - one signature for all
    """Blurs with a Gaussian of half a voxel at strength 1."""
    if strength == 0:
        return volume
    blurred: Volume = ndimage.gaussian_filter(volume, BLUR_VOXELS * strength, mode="nearest", truncate=3.0)
    return blurred


def add_rings(volume: Volume, strength: float, rng: np.random.Generator) -> Volume:
    """Adds rings about the axis of rotation, a voxel wide, with a deviation of 5 % of the contrast at strength 1."""
    if strength == 0:
        return volume
    _, span = contrast(volume)
    radius = _distance_from_axis(volume.shape)
    count = int(radius.max()) + 2
    faulty = rng.random(count) < _SHARE_OF_RINGS
    amplitudes = np.where(faulty, rng.normal(scale=RINGS * strength * span / _SHARE_OF_RINGS**0.5, size=count), 0.0)
    return volume + amplitudes.astype(np.float32)[np.round(radius).astype(np.intp)][:, :, None]


def harden_beam(volume: Volume, strength: float, rng: np.random.Generator) -> Volume:  # noqa: ARG001
    """Darkens the middle by 15 % of the contrast at strength 1, less with the distance squared (cupping)."""
    if strength == 0:
        return volume
    low, _ = contrast(volume)
    radius = _distance_from_axis(volume.shape)
    cup = 1.0 - CUPPING * strength * np.clip(1.0 - (radius / (0.5 * min(volume.shape[:2]))) ** 2, 0, 1)
    return np.float32(low) + (volume - np.float32(low)) * np.maximum(cup, 0).astype(np.float32)[:, :, None]


def add_gradient(volume: Volume, strength: float, rng: np.random.Generator) -> Volume:
    """Adds a linear change of grey in a random direction, 12 % of the contrast from end to end at strength 1."""
    if strength == 0:
        return volume
    _, span = contrast(volume)
    direction = rng.normal(size=3)
    direction = direction / np.linalg.norm(direction)
    tilted = volume
    for axis, slope in enumerate(direction):
        ramp = np.linspace(-0.5, 0.5, volume.shape[axis], dtype=np.float32) * np.float32(
            slope * GRADIENT * strength * span
        )
        tilted = tilted + ramp.reshape([-1 if axis == i else 1 for i in range(3)])
    return tilted


def add_sediment(volume: Volume, strength: float, rng: np.random.Generator) -> Volume:
    """Sticks patches of darker grains, up to two voxels high at strength 1, to the outside of the material."""
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
    """Lays every artefact but anisotropy, which changes the grid, over a volume, in the order in which they arise."""
    for name, apply in ARTEFACTS.items():
        volume = apply(volume, getattr(artefacts, name), rng)
    return volume


def slice_thickness(strength: float, rng: np.random.Generator) -> float:
    """Draws how many voxels thick a slice is: 1 for half of the specimens, up to 1.6 for the rest at strength 1."""
    thicker = rng.random() < 0.5
    return 1.0 + (THICKER_SLICES * strength * rng.uniform(0.4, 1.0) if thicker else 0.0)


def thicken_slices(volume: Volume, zooms: Zooms, thickness: float) -> tuple[Volume, Zooms]:
    """Resamples a volume along Z to slices `thickness` voxels apart (linear); the first slice stays where it is.

    Args:
        volume: float32 [X, Y, Z].
        zooms: voxel size in mm along X, Y, Z.
        thickness: new spacing along Z in old voxels, at least 1; 1 changes nothing.

    Returns:
        The volume, float32 [X, Y, Z'], and its zooms. The affine's origin stays valid.
    """
    if thickness == 1.0:
        return volume, zooms
    positions = np.arange(0, volume.shape[2] - 1 + 1e-6, thickness)
    below = np.minimum(np.floor(positions).astype(np.intp), volume.shape[2] - 2)
    share = (positions - below).astype(np.float32)
    resampled = volume[:, :, below] * (1 - share) + volume[:, :, below + 1] * share
    return resampled.astype(np.float32), (zooms[0], zooms[1], zooms[2] * thickness)


def smooth_noise(shape: tuple[int, ...], wavelength: float, rng: np.random.Generator) -> Volume:
    """Returns noise between -1 and 1 without structure finer than about `wavelength` voxels, float32."""
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
    """Returns each column's distance from the central Z axis in voxels, float64 [X, Y]."""
    x = np.arange(shape[0]) - (shape[0] - 1) / 2
    y = np.arange(shape[1]) - (shape[1] - 1) / 2
    return np.hypot(x[:, None], y[None, :])
