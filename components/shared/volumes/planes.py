"""Which planes are cut through a specimen, and where their pixels lie.

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
TURNS_DEGREES = tuple(range(20, 161, 20))
MARGIN = 0.04
GRAZING = 0.2
_AXES = "zyx"


@dataclass(frozen=True)
class Cut:
    """A plane's direction and place.

    Attributes:
        turn: float64 [3, 3]; the plane's normal, the direction down its rows, the one along its columns.
        place: how far along the normal from the specimen's first point to its last, 0..1.
        words: the plane in words.
    """

    turn: Matrix
    place: float
    words: str


@dataclass(frozen=True)
class Frame:
    """A square of pixels in the volume; steps in voxel indices."""

    corner: NDArray[np.float64]
    down: NDArray[np.float64]
    across: NDArray[np.float64]
    spacing_mm: float


def random_cuts(_specimen: Specimen, rng: np.random.Generator) -> Iterator[Cut]:
    """Yields planes of uniformly random direction through the specimen's middle, without end.

    The outermost fifth at either side is left out: a section that only grazes the wall shows no anatomy to name.
    """
    while True:
        turn = _random_turn(rng)
        place = float(rng.uniform(GRAZING, 1 - GRAZING))
        normal = " ".join(f"{part:+.3f}" for part in turn[0])
        yield Cut(turn, place, f"random, normal ({normal}), at {place:.3f}")


def _random_turn(rng: np.random.Generator) -> Matrix:
    """Returns a uniformly random frame: a random direction, then one across it (Gram and Schmidt)."""
    normal, down = rng.normal(size=(2, 3))
    normal /= math.sqrt(normal @ normal)
    down -= (down @ normal) * normal
    down /= math.sqrt(down @ down)
    return np.array([normal, down, np.cross(normal, down)])


def published_cuts(specimen: Specimen, rng: np.random.Generator) -> Iterator[Cut]:
    """Yields every plane of the published schedule once, in random order.

    Three axes, each plane tilted by up to 5 degrees, and the specimen turned by 20, 40, ... 160 degrees about each
    axis, one plane for each smallest voxel edge (arXiv 2512.00912).
    """
    families = [(axis, 0) for axis in range(3)] + [(axis, angle) for axis in range(3) for angle in TURNS_DEGREES]
    planes = [
        (axis, angle, place)
        for axis, angle in families
        for place in _places(_extent(specimen.outline, _turned(axis, angle)[0]), float(specimen.zooms_mm.min()))
    ]
    for number in rng.permutation(len(planes)):
        axis, angle, place = planes[number]
        yield _published_cut(axis, angle, place, rng)


def _places(extent_mm: float, step_mm: float) -> list[float]:
    count = max(1, int(extent_mm / step_mm))
    return [(number + 0.5) / count for number in range(count)]


def _published_cut(axis: int, angle: int, place: float, rng: np.random.Generator) -> Cut:
    turn = _turned(axis, angle)
    if angle:
        return Cut(turn, place, f"turned by {angle} degrees about {_AXES[axis]}, at {place:.3f}")
    tilt = rng.uniform(-JITTER_DEGREES, JITTER_DEGREES, size=2)
    tilted = _rotated(turn, np.deg2rad(tilt[0]) * turn[1] + np.deg2rad(tilt[1]) * turn[2])
    return Cut(
        tilted, place, f"axis {_AXES[axis]}, tilted by {tilt[0]:+.1f} and {tilt[1]:+.1f} degrees, at {place:.3f}"
    )


def _turned(axis: int, angle: int) -> Matrix:
    """Returns the frame of planes across an axis, or of planes whose normal is turned about it."""
    cyclic = np.roll(np.eye(3), -axis if angle == 0 else -(axis + 1), axis=0)
    return _rotated(cyclic, np.deg2rad(angle) * np.eye(3)[axis])


def _rotated(turn: Matrix, about: NDArray[np.float64]) -> Matrix:
    """Returns a frame turned about a vector by its length in radians (Rodrigues)."""
    return np.asarray(turn @ cv2.Rodrigues(about)[0].T, dtype=np.float64)


def _extent(outline: NDArray[np.float64], direction: NDArray[np.float64]) -> float:
    return float(np.ptp(outline @ direction))


def frame_of(cut: Cut, specimen: Specimen, edge: int) -> Frame:
    """Lays a square of edge x edge pixels into the plane so that it just holds the specimen seen along the normal.

    Args:
        cut: the plane.
        specimen: the specimen with its outline.
        edge: pixels.
    """
    seen = specimen.outline @ cut.turn.T
    low, high = seen.min(axis=0), seen.max(axis=0)
    centre = (low + high) / 2
    centre[0] = low[0] + cut.place * (high[0] - low[0])
    spacing = (1 + 2 * MARGIN) * float(max(high[1:] - low[1:]) + specimen.zooms_mm.max()) / edge
    first = centre @ cut.turn - (edge - 1) / 2 * spacing * (cut.turn[1] + cut.turn[2])
    return Frame(
        corner=first / specimen.zooms_mm,
        down=cut.turn[1] * spacing / specimen.zooms_mm,
        across=cut.turn[2] * spacing / specimen.zooms_mm,
        spacing_mm=spacing,
    )


CUTS: dict[Schedule, Callable[[Specimen, np.random.Generator], Iterator[Cut]]] = {
    "published": published_cuts,
    "random": random_cuts,
}


def most_attempts(schedule: Schedule, quota: int) -> float:
    """Returns how many planes are tried for a quota; the published schedule ends by itself."""
    return math.inf if schedule == "published" else 64 + 8 * quota
