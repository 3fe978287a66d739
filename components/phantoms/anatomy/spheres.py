"""Enclosing ball and distance fields of a set of spheres."""

import numpy as np
from numpy.typing import NDArray

from components.phantoms.anatomy.fields import Field, Points

Vector = NDArray[np.float64]


def enclosing_ball(centres: Vector, radii: Vector, rounds: int = 400) -> tuple[Vector, float]:
    """Return the centre and radius of a nearly minimal ball around spheres (Badoiu and Clarkson 2003).

    Args:
        centres: Centres of the spheres, float64 (n, 3).
        radii: Radii of the spheres, float64 (n,), in the same unit.
        rounds: Number of iterations; the radius is within about 1/rounds of the smallest.
    """
    middle: Vector = centres.mean(axis=0)
    for i in range(rounds):
        reach = np.linalg.norm(centres - middle, axis=1) + radii
        farthest = int(np.argmax(reach))
        direction = centres[farthest] - middle
        length = float(np.linalg.norm(direction))
        edge = centres[farthest] + direction / length * radii[farthest] if length > 0 else middle
        middle = middle + (edge - middle) / (i + 2.0)
    return middle, float(np.max(np.linalg.norm(centres - middle, axis=1) + radii))


def sphere_fields(points: Points, centres: Vector, radii: Vector) -> list[Field]:
    """Return the distance into each sphere, positive inside, in the unit of `points`."""
    fields = []
    for (x, y, z), radius in zip(centres.astype(np.float32), radii.astype(np.float32), strict=True):
        distance = np.sqrt((points.x - x) ** 2 + (points.y - y) ** 2 + (points.z - z) ** 2)
        fields.append(radius - distance)
    return fields
