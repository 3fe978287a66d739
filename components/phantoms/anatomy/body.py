"""An individual body in the scanned field: drawn at random, fitted into the cube, worn by time."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from components.phantoms.anatomy.fields import FULL_TURN, Field, Points
from components.phantoms.anatomy.forms import FORMS, Form
from components.phantoms.anatomy.growth import UNSEEN_FORMS
from components.phantoms.scanner import smooth_noise

ALL_FORMS: dict[str, Form] = {**FORMS, **UNSEEN_FORMS}
THINNEST_WALL_VOXELS = 2.0
RELATIVE_WALL = (0.0325, 0.038)
FILL = (0.86, 0.92)
DEEPEST_WEAR_VOXELS = 1.5
SHARE_BROKEN = 1 / 4
_TRIAL_EDGE = 40
_TRIAL_WIDTH = 2.3
_USUAL_SCALE = 0.47
_FAR_OUTSIDE = np.float32(-1.0)

Matrix = NDArray[np.float64]
Solid = NDArray[np.float32]


@dataclass(frozen=True)
class Body:
    """An individual in the scanned field.

    Attributes:
        shell: distance into the shell's material, float32 [X, Y, Z], voxels, positive inside.
        outline: distance into the whole body, cavities included, likewise.
    """

    shell: Solid
    outline: Solid


@dataclass(frozen=True)
class Individual:
    """What makes one specimen differ from the next of its species.

    Attributes:
        form: the anatomy.
        form_seed: seed of the anatomy's own parameters.
        rotation: float64 (3, 3), field axes to body axes.
        warp: float64 (4, 3) of uniform draws: stretch, amplitude, wave number, phase of a bend along each body axis.
        wall_voxels: wall thickness, voxels.
        longest: longest side of the bounding box, voxels.
    """

    form: Form
    form_seed: int
    rotation: Matrix
    warp: Matrix
    wall_voxels: float
    longest: float


def draw_body(species: str, size: int, rotation: Matrix, rng: np.random.Generator) -> Body:
    """Draws an individual and fits it into a cube of `size` voxels.

    Walls are 3.25 to 3.8 % of the cube's edge thick and at least two voxels, for every species alike.

    Args:
        species: a key of ALL_FORMS.
        size: edge of the cube, voxels.
        rotation: float64 (3, 3), cube axes to body axes.
        rng: draws the individual.
    """
    individual = Individual(
        form=ALL_FORMS[species],
        form_seed=int(rng.integers(2**63)),
        rotation=rotation,
        warp=rng.uniform(0, 1, size=(4, 3)),
        wall_voxels=max(rng.uniform(*RELATIVE_WALL) * size, THINNEST_WALL_VOXELS),
        longest=rng.uniform(*FILL) * size,
    )
    return _rasterised(individual, size)


def _rasterised(individual: Individual, size: int) -> Body:
    """Evaluates the form where a coarse trial says that there is something, centred by its bounding box."""
    trial_scale = _TRIAL_EDGE / _TRIAL_WIDTH
    axis = np.arange(_TRIAL_EDGE, dtype=np.float32) - np.float32((_TRIAL_EDGE - 1) / 2)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"))
    wall = individual.wall_voxels / (_USUAL_SCALE * size)
    points = _body_points(individual, (grid / trial_scale).astype(np.float32))
    inside = individual.form(points, wall, np.random.default_rng(individual.form_seed)).outline > 0
    spans = [np.flatnonzero(inside.any(axis=tuple({0, 1, 2} - {side}))) for side in range(3)]
    low, high = np.array([span[0] for span in spans]), np.array([span[-1] for span in spans])
    magnified = individual.longest / float((high - low).max() + 1)
    middle = (low + high) / 2
    near = ndimage.binary_dilation(inside, np.ones((3, 3, 3)), iterations=2)
    steps = [(np.arange(size) - (size - 1) / 2) / magnified + centre for centre in middle]
    cells = [np.clip(np.round(step), 0, _TRIAL_EDGE - 1).astype(np.intp) for step in steps]
    region = np.nonzero(near[np.ix_(*cells)])
    trial_middle = (_TRIAL_EDGE - 1) / 2
    places = [(steps[side][region[side]] - trial_middle) / trial_scale for side in range(3)]
    return _evaluated(individual, np.stack(places).astype(np.float32), region, trial_scale * magnified, size)


def _evaluated(
    individual: Individual, places: Solid, region: tuple[NDArray[np.intp], ...], scale: float, size: int
) -> Body:
    """Evaluates the form at `places`, float32 (3, n) in body units, which are the voxels `region` of the cube."""
    points = _body_points(individual, places)
    rng = np.random.default_rng(individual.form_seed)
    anatomy = individual.form(points, individual.wall_voxels / scale, rng)
    return Body(_spread(anatomy.shell, region, scale, size), _spread(anatomy.outline, region, scale, size))


def _spread(field: Field, region: tuple[NDArray[np.intp], ...], scale: float, size: int) -> Solid:
    """Returns a field given at some voxels, in body units, as a cube in voxels."""
    cube = np.full((size, size, size), _FAR_OUTSIDE * np.float32(scale), dtype=np.float32)
    cube[region] = field * scale
    return cube


def _body_points(individual: Individual, places: Solid) -> Points:
    """Returns the body coordinates of float32 (3, ...) places, gently bent and stretched as no two bodies are alike."""
    turn = individual.rotation.astype(np.float32)
    straight = [row[0] * places[0] + row[1] * places[1] + row[2] * places[2] for row in turn]
    stretch, amplitude, wave, phase = individual.warp.astype(np.float32)
    bent = [
        straight[i] * (np.float32(0.96) + np.float32(0.08) * stretch[i])
        + np.float32(0.035) * amplitude[i] * np.sin((2 + 2 * wave[i]) * straight[(i + 1) % 3] + FULL_TURN * phase[i])
        for i in range(3)
    ]
    return Points(*bent)


def weathered(body: Body, rng: np.random.Generator) -> Body:
    """Returns what abrasion, up to a voxel and a half in patches, and for a quarter a fracture have left."""
    patches = np.maximum(smooth_noise(body.outline.shape, body.outline.shape[0] / 5.0, rng), 0)
    outline = (body.outline - rng.uniform(0, DEEPEST_WEAR_VOXELS) * patches).astype(np.float32)
    normal = rng.normal(size=3)
    normal = normal / np.linalg.norm(normal)
    distance = rng.uniform(0.32, 0.43) * outline.shape[0]
    if rng.random() < SHARE_BROKEN:
        outline = np.minimum(outline, _half_space(normal, distance, outline.shape[0]))
    return Body(np.minimum(body.shell, outline), outline)


def _half_space(normal: Matrix, distance: float, size: int) -> Solid:
    """Returns the distance into the half of a cube that reaches `distance` voxels from its centre along `normal`."""
    axis = np.arange(size) - (size - 1) / 2
    along = normal[0] * axis[:, None, None] + normal[1] * axis[:, None] + normal[2] * axis
    return (distance - along).astype(np.float32)


def coverage(field: Solid) -> Solid:
    """Returns the share of each voxel that a field covers, 0 to 1, float32; 0.5 where its edge passes the centre."""
    return np.clip(field + np.float32(0.5), 0, 1)
