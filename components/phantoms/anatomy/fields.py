"""Building blocks of implicit anatomy: every field is a distance, positive inside the shape that it describes.

Lengths are in body units: the ball around a whole specimen has radius 1. Distances are first-order estimates
(value over gradient), exact on the surface, as rasterization requires.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.floating[Any]]
FULL_TURN = 2.0 * np.pi
TINY = 1e-6


@dataclass(frozen=True)
class Points:
    """Positions in body units.

    Attributes:
        x: Positions along X, float32 of any shape.
        y: Positions along Y, float32 of the same shape.
        z: Positions along Z, the axis of growth or coiling, float32 of the same shape.
    """

    x: Field
    y: Field
    z: Field

    @property
    def rho(self) -> Field:
        """Distance from the z axis."""
        return np.hypot(self.x, self.y)

    @property
    def angle(self) -> Field:
        """Azimuth about the z axis, from 0 to one full turn, radians."""
        return np.arctan2(-self.y, -self.x) + np.pi


@dataclass(frozen=True)
class Anatomy:
    """The distance fields of a form.

    Attributes:
        shell: Distance into the shell's material, positive inside, body units.
        outline: Distance into the whole body with its cavities, positive inside, body units.
    """

    shell: Field
    outline: Field


def union(*parts: Field) -> Field:
    """Return the union of the parts."""
    return np.maximum.reduce(parts)


def intersection(*parts: Field) -> Field:
    """Return the intersection of the parts."""
    return np.minimum.reduce(parts)


def nearest_multiple(u: Field, spacing: float) -> Field:
    """Return the signed offset of `u` from the nearest multiple of `spacing`."""
    return u - spacing * np.round(u / spacing)


def sheets(u: Field, spacing: float, wall: float, stretch: Field | float = 1.0) -> Field:
    """Return parallel walls at the multiples of `spacing` of the coordinate `u`.

    Args:
        u: Coordinate, for example a height or an angle.
        spacing: Distance of neighbouring walls in the unit of `u`.
        wall: Wall thickness, body units.
        stretch: Body units for each unit of `u`, a number or a field.
    """
    return wall / 2 - np.abs(nearest_multiple(u, spacing)) * stretch


def rods(u: Field, v: Field, spacing: float, radius: Field | float) -> Field:
    """Return parallel rods on a triangular lattice of the plane (u, v), body units.

    The rods are perpendicular to the plane; `radius` may vary from point to point, for pillars that widen.
    """
    row_height = spacing * 0.866
    row = np.round(v / row_height)
    du = nearest_multiple(u + spacing / 2 * np.mod(row, 2), spacing)
    return radius - np.hypot(du, v - row * row_height)


def honeycomb(u: Field, v: Field, spacing: float, wall: float) -> Field:
    """Return the walls of hexagonal cells in the plane (u, v), `spacing` between opposite walls, body units."""
    reach = np.full_like(u, np.inf)
    second = reach
    for shift_u, shift_v in ((0.0, 0.0), (spacing / 2, spacing * 0.866)):
        du = nearest_multiple(u - shift_u, spacing)
        dv = nearest_multiple(v - shift_v, spacing * 1.732)
        for side in (-1.0, 0.0, 1.0):
            distance = np.hypot(du + side * spacing, dv)
            second = np.minimum(second, np.maximum(reach, distance))
            reach = np.minimum(reach, distance)
    return wall / 2 - (second - reach) / 2


def spokes(points: Points, count: int, wall: float, phase: Field | float = 0.0) -> Field:
    """Return `count` radial walls about the z axis, `wall` thick; `phase` in radians bends or rotates them."""
    step = FULL_TURN / count
    return sheets(points.angle + phase, step, wall, stretch=points.rho)


def lens(points: Points, half_thickness: float) -> Field:
    """Return the distance into a biconvex lens of radius 1 made of two spherical caps, body units."""
    curvature = (1.0 + half_thickness**2) / (2.0 * half_thickness)
    height = np.abs(points.z) + curvature - half_thickness
    return curvature - np.hypot(points.rho, height)


def crust(outline: Field, thickness: float) -> Field:
    """Return the outer wall, `thickness` deep, of a body with this outline."""
    return intersection(outline, thickness - outline)


def groove(distance: Field, depth: float, width: float) -> Field:
    """Return the depth of a groove along a seam `distance` away: `depth` at the seam, decreasing over `width`."""
    return depth * np.exp(-((distance / width) ** 2))


def stacked_chambers(bodies: list[Field], wall: float | list[float]) -> Anatomy:
    """Return hollow chambers that were added one after the other.

    Args:
        bodies: Distance into each chamber with its wall, oldest first.
        wall: Wall thickness in body units, one for all chambers or one for each.

    Returns:
        Their walls; a younger chamber's wall inside an older chamber is removed.
    """
    walls = wall if isinstance(wall, list) else [wall] * len(bodies)
    shell = np.full_like(bodies[0], -np.inf)
    outline = shell
    for body, thickness in zip(bodies, walls, strict=True):
        shell = union(shell, intersection(crust(body, thickness), -outline))
        outline = union(outline, body)
    return Anatomy(shell, outline)
