"""Schedules of cutting planes through a specimen, and the position of their pixels.

Directions are unit vectors along the volume's axes Z, Y, X in mm, so that voxels need not be cubes.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from components.shared.volumes.specimen import Specimen

Matrix = NDArray[np.float64]
Schedule = Literal["published", "random"]
JITTER_DEGREES = 5.0
ROTATIONS_DEGREES = tuple(range(20, 161, 20))
MARGIN = 0.04
GRAZING_SHARE = 0.2
_AXES = "zyx"


@dataclass(frozen=True)
class Cut:
    """Direction and position of a plane.

    Attributes:
        directions: Unit vectors, float64 [3, 3]: the normal, the direction down a column, the direction along a row.
        position: Position along the normal between the first and the last point of the specimen, 0..1.
        description: Text for the index of slices.
    """

    directions: Matrix
    position: float
    description: str


@dataclass(frozen=True)
class Frame:
    """A square of pixels in a volume.

    Attributes:
        corner: Centre of the first pixel in voxel indices, float64 [3].
        down: Step between rows in voxel indices, float64 [3].
        across: Step between columns in voxel indices, float64 [3].
        spacing_mm: Edge of a pixel in mm.
    """

    corner: NDArray[np.float64]
    down: NDArray[np.float64]
    across: NDArray[np.float64]
    spacing_mm: float


def random_cuts(_specimen: Specimen, rng: np.random.Generator) -> Iterator[Cut]:
    """Yield an endless sequence of planes of uniformly random direction through the middle of the specimen.

    The outermost fifth at either side is excluded: a section that grazes the wall shows too little anatomy.
    """
    while True:
        directions = _random_directions(rng)
        position = float(rng.uniform(GRAZING_SHARE, 1 - GRAZING_SHARE))
        normal = " ".join(f"{part:+.3f}" for part in directions[0])
        yield Cut(directions, position, f"random, normal ({normal}), at {position:.3f}")


def _random_directions(rng: np.random.Generator) -> Matrix:
    """Return uniformly random orthonormal directions (Gram-Schmidt on two random vectors)."""
    normal, down = rng.normal(size=(2, 3))
    normal /= math.sqrt(normal @ normal)
    down -= (down @ normal) * normal
    down /= math.sqrt(down @ down)
    return np.array([normal, down, np.cross(normal, down)])


def published_cuts(specimen: Specimen, rng: np.random.Generator) -> Iterator[Cut]:
    """Yield every plane of the published schedule once, in random order.

    Three axes, each plane tilted by up to 5 degrees, and rotations by 20, 40, ... 160 degrees about each axis, with one
    plane per smallest voxel edge (arXiv 2512.00912).
    """
    series = [(axis, 0) for axis in range(3)] + [(axis, angle) for axis in range(3) for angle in ROTATIONS_DEGREES]
    step_mm = float(specimen.zooms_mm.min())
    planes = [
        (axis, angle, position)
        for axis, angle in series
        for position in _positions(_extent(specimen.outline, _directions(axis, angle)[0]), step_mm)
    ]
    for index in rng.permutation(len(planes)):
        axis, angle, position = planes[index]
        yield _published_cut(axis, angle, position, rng)


def _positions(extent_mm: float, step_mm: float) -> list[float]:
    count = max(1, int(extent_mm / step_mm))
    return [(number + 0.5) / count for number in range(count)]


def _published_cut(axis: int, angle: int, position: float, rng: np.random.Generator) -> Cut:
    directions = _directions(axis, angle)
    if angle:
        return Cut(directions, position, f"turned by {angle} degrees about {_AXES[axis]}, at {position:.3f}")
    tilt = rng.uniform(-JITTER_DEGREES, JITTER_DEGREES, size=2)
    vector = np.deg2rad(tilt[0]) * directions[1] + np.deg2rad(tilt[1]) * directions[2]
    text = f"axis {_AXES[axis]}, tilted by {tilt[0]:+.1f} and {tilt[1]:+.1f} degrees, at {position:.3f}"
    return Cut(_rotate(directions, vector), position, text)


def _directions(axis: int, angle: int) -> Matrix:
    """Return the directions of planes across an axis (angle 0), or of planes whose normal is rotated about it."""
    cyclic = np.roll(np.eye(3), -axis if angle == 0 else -(axis + 1), axis=0)
    return _rotate(cyclic, np.deg2rad(angle) * np.eye(3)[axis])


def _rotate(directions: Matrix, vector: NDArray[np.float64]) -> Matrix:
    """Rotate directions about a vector by its length in radians (Rodrigues)."""
    return np.asarray(directions @ cv2.Rodrigues(vector)[0].T, dtype=np.float64)


def _extent(outline: NDArray[np.float64], direction: NDArray[np.float64]) -> float:
    return float(np.ptp(outline @ direction))


def frame_of(cut: Cut, specimen: Specimen, edge: int) -> Frame:
    """Return the smallest square of edge x edge pixels in a plane that contains the specimen's projection.

    Args:
        cut: Direction and position of the plane.
        specimen: Specimen with its outline.
        edge: Edge of the square in pixels.
    """
    projection = specimen.outline @ cut.directions.T
    low, high = projection.min(axis=0), projection.max(axis=0)
    centre = (low + high) / 2
    centre[0] = low[0] + cut.position * (high[0] - low[0])
    spacing = (1 + 2 * MARGIN) * float(max(high[1:] - low[1:]) + specimen.zooms_mm.max()) / edge
    first = centre @ cut.directions - (edge - 1) / 2 * spacing * (cut.directions[1] + cut.directions[2])
    return Frame(
        corner=first / specimen.zooms_mm,
        down=cut.directions[1] * spacing / specimen.zooms_mm,
        across=cut.directions[2] * spacing / specimen.zooms_mm,
        spacing_mm=spacing,
    )


CUTS: dict[Schedule, Callable[[Specimen, np.random.Generator], Iterator[Cut]]] = {
    "published": published_cuts,
    "random": random_cuts,
}


def max_attempts(schedule: Schedule, quota: int) -> float:
    """Return the maximum number of planes to try for a quota; no limit for the published schedule, which is finite."""
    return math.inf if schedule == "published" else 64 + 8 * quota
