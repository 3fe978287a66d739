"""One synthetic specimen: form, position, preservation and scan, drawn at random.

Grey levels, physical size, wall thickness, preservation and artefacts come from the same distributions for every
species, so that species differ only in their anatomy.
"""

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from components.phantoms.anatomy.body import Solid, coverage, draw_body, weather
from components.phantoms.scanner import Artefacts, Zooms, scan, slice_thickness, smooth_noise, thicken_slices

DIAMETER_MM = (0.6, 1.8)


@dataclass(frozen=True)
class Phantom:
    """A scanned synthetic specimen with its true mask.

    Attributes:
        name: Name of the specimen, unique among all species.
        species: Genus whose form it has.
        volume: Grey values, uint8 [X, Y, Z].
        mask: True where the centre of the voxel is in the shell's material, bool [X, Y, Z].
        zooms: Voxel size in mm along X, Y, Z.
        affine: Map from voxel index to mm, float64 (4, 4), origin at the centre of the scanned field.
    """

    name: str
    species: str
    volume: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    zooms: Zooms
    affine: NDArray[np.float64]


def specimen_rng(seed: int, species: str, index: int) -> np.random.Generator:
    """Return the random generator of one specimen, which depends only on these three values."""
    return np.random.default_rng(np.random.SeedSequence([seed, zlib.crc32(species.encode()), index]))


def make_specimen(species: str, index: int, size: int, seed: int, artefacts: Artefacts) -> Phantom:
    """Make one specimen.

    Args:
        species: Key of `body.ALL_FORMS`.
        index: Number of the individual within the species.
        size: Edge of the scanned cube in voxels.
        seed: Seed of the whole set.
        artefacts: Mean strengths of the artefacts; those of a specimen are 0.5 to 1.5 times these.
    """
    rng = specimen_rng(seed, species, index)
    body = draw_body(species, size, Rotation.random(rng=rng).as_matrix(), rng)
    weathered_body = weather(body, rng)
    shell, whole = coverage(weathered_body.shell), coverage(weathered_body.outline)
    own_artefacts = _draw_strengths(artefacts, rng)
    grey = scan(_grey_levels(shell, whole, rng), own_artefacts, rng)
    voxel_mm = _voxel_size(float(whole.sum()), rng)
    name = f"{species.lower()}-{index:03d}"
    return _digitize(name, species, grey, shell, voxel_mm, slice_thickness(own_artefacts.anisotropy, rng))


def _draw_strengths(artefacts: Artefacts, rng: np.random.Generator) -> Artefacts:
    """Draw the strengths of one specimen, 0.5 to 1.5 times the mean strengths."""
    factors = rng.uniform(0.5, 1.5, size=len(Artefacts.model_fields))
    strengths = {
        name: getattr(artefacts, name) * factor for name, factor in zip(Artefacts.model_fields, factors, strict=True)
    }
    return Artefacts.model_construct(**strengths)


def _grey_levels(shell: Solid, whole: Solid, rng: np.random.Generator) -> Solid:
    """Return the clean scan in grey levels 0 to 255: air, shell, and for two fifths of specimens infilled cavities."""
    air = rng.uniform(20, 45)
    bright = rng.uniform(110, 160)
    infill = rng.uniform(0.1, 0.3) if rng.random() < 0.4 else 0.0
    infilled_region = smooth_noise(shell.shape, shell.shape[0] / 3.0, rng) > rng.uniform(-0.2, 0.6)
    brightness = np.float32(1.0) + np.float32(0.05) * smooth_noise(shell.shape, shell.shape[0] / 6.0, rng)
    material = shell * brightness + np.float32(infill) * np.maximum(whole - shell, 0) * infilled_region
    return (np.float32(air) + np.float32(bright) * material).astype(np.float32)


def _voxel_size(body_voxels: float, rng: np.random.Generator) -> float:
    """Draw the specimen's size (diameter of the ball of equal volume) and return the voxel size in mm."""
    diameter = float(np.exp(rng.uniform(*np.log(DIAMETER_MM))))
    return diameter / (6.0 / np.pi * body_voxels) ** (1 / 3)


def _digitize(name: str, species: str, grey: Solid, shell: Solid, voxel_mm: float, thickness: float) -> Phantom:
    """Return the specimen as the scanner stores it: eight bits, in some cases thicker slices, true zooms and affine."""
    cube = (voxel_mm, voxel_mm, voxel_mm)
    origin = -0.5 * voxel_mm * (np.array(grey.shape) - 1)
    grey, zooms = thicken_slices(grey, cube, thickness)
    shell, _ = thicken_slices(shell, cube, thickness)
    affine = np.diag([*zooms, 1.0])
    affine[:3, 3] = origin
    volume = np.clip(np.round(grey), 0, 255).astype(np.uint8)
    return Phantom(name, species, volume, shell >= 0.5, zooms, affine)
