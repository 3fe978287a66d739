"""Building blocks of implicit anatomy: every field is a distance, positive inside the thing it describes.

Lengths are in body units: the ball around a whole specimen has radius 1. Distances are first-order estimates
(value over gradient), exact on the surface, which is what rasterising needs.
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
        x: float32 array of any shape.
        y: float32 array of that shape.
        z: float32 array of that shape; the axis of growth or coiling.
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
    """What a form is made of.

    Attributes:
        shell: distance into the shell's material, positive inside, body units.
        outline: distance into the whole body, cavities included, positive inside, body units.
    """

    shell: Field
    outline: Field


def union(*parts: Field) -> Field:
    """Returns the field of what lies in any of the parts."""
    return np.maximum.reduce(parts)


def both(*parts: Field) -> Field:
    """Returns the field of what lies in every part."""
    return np.minimum.reduce(parts)


def nearest_multiple(u: Field, spacing: float) -> Field:
    """Returns the signed offset of `u` from the nearest multiple of `spacing`."""
    return u - spacing * np.round(u / spacing)


def sheets(u: Field, spacing: float, wall: float, stretch: Field | float = 1.0) -> Field:
    """Returns parallel walls at the multiples of `spacing` of the coordinate `u`.

    Args:
        u: a coordinate, for example a height or an angle.
        spacing: distance of neighbouring walls in the unit of `u`.
        wall: wall thickness, body units.
        stretch: body units for each unit of `u`, a number or a field.
    """
    return wall / 2 - np.abs(nearest_multiple(u, spacing)) * stretch


def rods(u: Field, v: Field, spacing: float, radius: Field | float) -> Field:
    """Returns parallel rods on a triangular lattice of the plane (u, v), body units.

    The rods stand across the plane; `radius` may vary from point to point, for pillars that widen.
    """
    row_height = spacing * 0.866
    row = np.round(v / row_height)
    du = nearest_multiple(u + spacing / 2 * np.mod(row, 2), spacing)
    return radius - np.hypot(du, v - row * row_height)


def honeycomb(u: Field, v: Field, spacing: float, wall: float) -> Field:
    """Returns the walls of hexagonal cells in the plane (u, v), `spacing` between opposite walls, body units."""
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
    """Returns `count` radial walls about the z axis, `wall` thick; `phase` in radians bends or turns them."""
    step = FULL_TURN / count
    return sheets(points.angle + phase, step, wall, stretch=points.rho)


def lens(points: Points, half_thickness: float) -> Field:
    """Returns the distance into a biconvex lens of radius 1 made of two spherical caps, body units."""
    curvature = (1.0 + half_thickness**2) / (2.0 * half_thickness)
    height = np.abs(points.z) + curvature - half_thickness
    return curvature - np.hypot(points.rho, height)


def crust(outline: Field, thickness: float) -> Field:
    """Returns the outer wall, `thickness` deep, of a body with this outline."""
    return both(outline, thickness - outline)


def groove(distance: Field, depth: float, width: float) -> Field:
    """Returns how far a surface sinks along a seam `distance` away: `depth` at the seam, fading over `width`."""
    return depth * np.exp(-((distance / width) ** 2))


def stacked_chambers(bodies: list[Field], wall: float | list[float]) -> Anatomy:
    """Returns hollow chambers added one after the other.

    Args:
        bodies: distance into each chamber, wall included, oldest first.
        wall: wall thickness, one or one for each chamber, body units.

    Returns:
        Their walls; a younger chamber's wall inside an older chamber is removed.
    """
    walls = wall if isinstance(wall, list) else [wall] * len(bodies)
    shell = np.full_like(bodies[0], -np.inf)
    outline = shell
    for body, thickness in zip(bodies, walls, strict=True):
        shell = union(shell, both(crust(body, thickness), -outline))
        outline = union(outline, body)
    return Anatomy(shell, outline)
