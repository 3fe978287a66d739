"""The body of one individual: random parameters, rasterization in the scanned cube, weathering."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from components.phantoms.anatomy.fields import FULL_TURN, Field, Points
from components.phantoms.anatomy.forms import FORMS, Form
from components.phantoms.anatomy.growth import UNSEEN_FORMS
from components.phantoms.scanner import smooth_noise

ALL_FORMS: dict[str, Form] = {**FORMS, **UNSEEN_FORMS}
MIN_WALL_VOXELS = 2.0
RELATIVE_WALL = (0.0325, 0.038)
FILL = (0.86, 0.92)
MAX_WEAR_VOXELS = 1.5
BROKEN_SHARE = 1 / 4
_TRIAL_EDGE = 40
_TRIAL_WIDTH = 2.3
_TYPICAL_SCALE = 0.47
_FAR_OUTSIDE = np.float32(-1.0)

Matrix = NDArray[np.float64]
Solid = NDArray[np.float32]


@dataclass(frozen=True)
class Body:
    """An individual in the scanned field.

    Attributes:
        shell: Distance into the shell's material, float32 [X, Y, Z], in voxels, positive inside.
        outline: Distance into the whole body with its cavities, float32 [X, Y, Z], in voxels, positive inside.
    """

    shell: Solid
    outline: Solid


@dataclass(frozen=True)
class Individual:
    """The random parameters of one individual.

    Attributes:
        form: Function of the anatomy.
        form_seed: Seed of the anatomy's parameters.
        rotation: Rotation from field axes to body axes, float64 (3, 3).
        warp: Uniform draws, float64 (4, 3): stretch, amplitude, wave number, phase of a bend along each body axis.
        wall_voxels: Wall thickness in voxels.
        longest: Longest side of the bounding box in voxels.
    """

    form: Form
    form_seed: int
    rotation: Matrix
    warp: Matrix
    wall_voxels: float
    longest: float


def draw_body(species: str, size: int, rotation: Matrix, rng: np.random.Generator) -> Body:
    """Draw an individual and fit it into a cube of `size` voxels.

    Walls of every species are 3.25 to 3.8 % of the cube's edge thick, and at least two voxels.

    Args:
        species: Key of ALL_FORMS.
        size: Edge of the cube in voxels.
        rotation: Rotation from cube axes to body axes, float64 (3, 3).
        rng: Random generator of the individual.
    """
    individual = Individual(
        form=ALL_FORMS[species],
        form_seed=int(rng.integers(2**63)),
        rotation=rotation,
        warp=rng.uniform(0, 1, size=(4, 3)),
        wall_voxels=max(rng.uniform(*RELATIVE_WALL) * size, MIN_WALL_VOXELS),
        longest=rng.uniform(*FILL) * size,
    )
    return _rasterize(individual, size)


def _rasterize(individual: Individual, size: int) -> Body:
    """Rasterize a body: find and centre it on a coarse grid, then evaluate its form in this region of the fine grid."""
    trial_scale = _TRIAL_EDGE / _TRIAL_WIDTH
    axis = np.arange(_TRIAL_EDGE, dtype=np.float32) - np.float32((_TRIAL_EDGE - 1) / 2)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"))
    wall = individual.wall_voxels / (_TYPICAL_SCALE * size)
    points = _body_points(individual, (grid / trial_scale).astype(np.float32))
    inside = individual.form(points, wall, np.random.default_rng(individual.form_seed)).outline > 0
    spans = [np.flatnonzero(inside.any(axis=tuple({0, 1, 2} - {side}))) for side in range(3)]
    low, high = np.array([span[0] for span in spans]), np.array([span[-1] for span in spans])
    magnification = individual.longest / float((high - low).max() + 1)
    middle = (low + high) / 2
    near = ndimage.binary_dilation(inside, np.ones((3, 3, 3)), iterations=2)
    steps = [(np.arange(size) - (size - 1) / 2) / magnification + centre for centre in middle]
    cells = [np.clip(np.round(step), 0, _TRIAL_EDGE - 1).astype(np.intp) for step in steps]
    region = np.nonzero(near[np.ix_(*cells)])
    trial_middle = (_TRIAL_EDGE - 1) / 2
    positions = [(steps[side][region[side]] - trial_middle) / trial_scale for side in range(3)]
    return _evaluate(individual, np.stack(positions).astype(np.float32), region, trial_scale * magnification, size)


def _evaluate(
    individual: Individual, positions: Solid, region: tuple[NDArray[np.intp], ...], scale: float, size: int
) -> Body:
    """Evaluate the form at `positions`, float32 (3, n) in body units, of the voxels `region` of the cube."""
    points = _body_points(individual, positions)
    rng = np.random.default_rng(individual.form_seed)
    anatomy = individual.form(points, individual.wall_voxels / scale, rng)
    return Body(_fill_cube(anatomy.shell, region, scale, size), _fill_cube(anatomy.outline, region, scale, size))


def _fill_cube(field: Field, region: tuple[NDArray[np.intp], ...], scale: float, size: int) -> Solid:
    """Return a field at the voxels `region`, in body units, as a cube in voxels."""
    cube = np.full((size, size, size), _FAR_OUTSIDE * np.float32(scale), dtype=np.float32)
    cube[region] = field * scale
    return cube


def _body_points(individual: Individual, positions: Solid) -> Points:
    """Return the body coordinates of positions float32 (3, ...), bent and stretched slightly for each individual."""
    turn = individual.rotation.astype(np.float32)
    straight = [row[0] * positions[0] + row[1] * positions[1] + row[2] * positions[2] for row in turn]
    stretch, amplitude, wave, phase = individual.warp.astype(np.float32)
    bent = [
        straight[i] * (np.float32(0.96) + np.float32(0.08) * stretch[i])
        + np.float32(0.035) * amplitude[i] * np.sin((2 + 2 * wave[i]) * straight[(i + 1) % 3] + FULL_TURN * phase[i])
        for i in range(3)
    ]
    return Points(*bent)


def weather(body: Body, rng: np.random.Generator) -> Body:
    """Return the body after abrasion, up to a voxel and a half in patches, and in a quarter of cases a fracture."""
    patches = np.maximum(smooth_noise(body.outline.shape, body.outline.shape[0] / 5.0, rng), 0)
    outline = (body.outline - rng.uniform(0, MAX_WEAR_VOXELS) * patches).astype(np.float32)
    normal = rng.normal(size=3)
    normal = normal / np.linalg.norm(normal)
    distance = rng.uniform(0.32, 0.43) * outline.shape[0]
    if rng.random() < BROKEN_SHARE:
        outline = np.minimum(outline, _half_space(normal, distance, outline.shape[0]))
    return Body(np.minimum(body.shell, outline), outline)


def _half_space(normal: Matrix, distance: float, size: int) -> Solid:
    """Return the distance into the part of a cube up to `distance` voxels from its centre along `normal`."""
    axis = np.arange(size) - (size - 1) / 2
    along = normal[0] * axis[:, None, None] + normal[1] * axis[:, None] + normal[2] * axis
    return (distance - along).astype(np.float32)


def coverage(field: Solid) -> Solid:
    """Return the share of each voxel that a field covers, 0 to 1, float32; 0.5 where its edge passes the centre."""
    return np.clip(field + np.float32(0.5), 0, 1)
