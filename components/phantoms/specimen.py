"""One synthetic specimen: its form, drawn at random, placed, preserved, scanned.

Grey levels, physical size, wall thickness, preservation and artefacts come from the same distributions for every
species, so only anatomy tells species apart.
"""

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from components.phantoms.anatomy.body import Solid, coverage, draw_body, weathered
from components.phantoms.scanner import Artefacts, Zooms, scan, slice_thickness, smooth_noise, thicken_slices

DIAMETER_MM = (0.6, 1.8)


@dataclass(frozen=True)
class Specimen:
    """A scanned specimen with its truth.

    Attributes:
        name: its identity, unique among all species.
        species: the genus it is drawn after.
        volume: uint8 [X, Y, Z], grey.
        mask: bool [X, Y, Z], true where the voxel's centre lies in the shell's material.
        zooms: voxel size in mm along X, Y, Z.
        affine: float64 (4, 4), voxel index to mm, origin at the centre of the scanned field.
    """

    name: str
    species: str
    volume: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    zooms: Zooms
    affine: NDArray[np.float64]


def specimen_rng(seed: int, species: str, index: int) -> np.random.Generator:
    """Returns the generator of one specimen; it depends on nothing but these three."""
    return np.random.default_rng(np.random.SeedSequence([seed, zlib.crc32(species.encode()), index]))


def make_specimen(species: str, index: int, size: int, seed: int, artefacts: Artefacts) -> Specimen:
    """Makes one specimen.

    Args:
        species: a key of `body.ALL_FORMS`.
        index: its number within the species; another number is another individual.
        size: edge of the scanned cube, voxels.
        seed: the seed of the whole set.
        artefacts: strengths for a usual specimen; each specimen's own lie between half and one and a half of them.
    """
    rng = specimen_rng(seed, species, index)
    body = draw_body(species, size, Rotation.random(rng=rng).as_matrix(), rng)
    worn = weathered(body, rng)
    shell, whole = coverage(worn.shell), coverage(worn.outline)
    own = _own_strengths(artefacts, rng)
    grey = scan(_grey_levels(shell, whole, rng), own, rng)
    voxel_mm = _voxel_size(float(whole.sum()), rng)
    name = f"{species.lower()}-{index:03d}"
    return _digitised(name, species, grey, shell, voxel_mm, slice_thickness(own.anisotropy, rng))


def _own_strengths(artefacts: Artefacts, rng: np.random.Generator) -> Artefacts:
    """Returns a specimen's own strengths, between half and one and a half of the usual ones."""
    factors = rng.uniform(0.5, 1.5, size=len(Artefacts.model_fields))
    own = {
        name: getattr(artefacts, name) * factor for name, factor in zip(Artefacts.model_fields, factors, strict=True)
    }
    return Artefacts.model_construct(**own)


def _grey_levels(shell: Solid, whole: Solid, rng: np.random.Generator) -> Solid:
    """Returns the clean scan in grey levels 0 to 255: air, shell, for two fifths of the specimens infilled cavities."""
    air = rng.uniform(20, 45)
    bright = rng.uniform(110, 160)
    infill = rng.uniform(0.1, 0.3) if rng.random() < 0.4 else 0.0
    where = smooth_noise(shell.shape, shell.shape[0] / 3.0, rng) > rng.uniform(-0.2, 0.6)
    mottling = np.float32(1.0) + np.float32(0.05) * smooth_noise(shell.shape, shell.shape[0] / 6.0, rng)
    material = shell * mottling + np.float32(infill) * np.maximum(whole - shell, 0) * where
    return (np.float32(air) + np.float32(bright) * material).astype(np.float32)


def _voxel_size(body_voxels: float, rng: np.random.Generator) -> float:
    """Draws the specimen's size (diameter of the ball of equal volume) and returns the voxel size, mm."""
    diameter = float(np.exp(rng.uniform(*np.log(DIAMETER_MM))))
    return diameter / (6.0 / np.pi * body_voxels) ** (1 / 3)


def _digitised(name: str, species: str, grey: Solid, shell: Solid, voxel_mm: float, thickness: float) -> Specimen:
    """Returns the specimen as the scanner stores it: thicker slices for some, eight bits, true zooms and affine."""
    cube = (voxel_mm, voxel_mm, voxel_mm)
    origin = -0.5 * voxel_mm * (np.array(grey.shape) - 1)
    grey, zooms = thicken_slices(grey, cube, thickness)
    shell, _ = thicken_slices(shell, cube, thickness)
    affine = np.diag([*zooms, 1.0])
    affine[:3, 3] = origin
    volume = np.clip(np.round(grey), 0, 255).astype(np.uint8)
    return Specimen(name, species, volume, shell >= 0.5, zooms, affine)
