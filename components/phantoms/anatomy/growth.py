"""The moving-reference growth model and the seven chambered forms of the unseen species.

Source: Labaj et al. 2003; Tyszka and Topa 2005, Paleobiology 31(3):522.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np
from scipy.spatial.transform import Rotation

from components.phantoms.anatomy.fields import Anatomy, Points, stacked_chambers
from components.phantoms.anatomy.spheres import Vector, enclosing_ball, sphere_fields

RELATIVE_WALL = 0.05
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class GrowthRule:
    """Ranges (lowest, highest) from which a specimen draws its constant growth parameters.

    Attributes:
        gf: Ratio of the radii of successive chambers.
        tf: Length of the growth vector over the current radius; negative values point backwards.
        phi: Deviation angle in degrees.
        beta: Rotation angle in degrees.
        chambers: Number of chambers.
    """

    gf: tuple[float, float]
    tf: tuple[float, float]
    phi: tuple[float, float]
    beta: tuple[float, float]
    chambers: tuple[int, int] = (9, 14)


@dataclass(frozen=True)
class Shell:
    """A grown shell, oldest chamber first, in units of the first chamber's radius.

    Attributes:
        centres: Centres of the chambers, float64 (n, 3).
        radii: Radii of the chambers, float64 (n,).
        apertures: Apertures of the chambers, float64 (n, 3).
        directions: Unit growth vector along which each chamber was placed, float64 (n, 3); row 0 is not used.
    """

    centres: Vector
    radii: Vector
    apertures: Vector
    directions: Vector


GROWTH_RULES: dict[str, GrowthRule] = {
    "Heterohelix": GrowthRule((1.10, 1.15), (-0.4, -0.1), (55, 90), (0, 0)),
    "Guembelitriella": GrowthRule((1.1, 1.3), (-0.24, -0.12), (75, 111), (61, 81), (7, 11)),
    "Pachyderma": GrowthRule((1.10, 1.15), (0.45, 0.6), (110, 145), (-30, -5)),
    "Dutertrei": GrowthRule((1.10, 1.15), (0.45, 0.6), (110, 145), (5, 30)),
    "Pelagica": GrowthRule((1.10, 1.15), (0.45, 0.6), (130, 140), (-3, 3)),
    "Uvula": GrowthRule((1.05, 1.10), (0.1, 0.6), (0, 15), (-5, 5), (4, 7)),
    "Bulloides": GrowthRule((1.1, 1.2), (-0.8, -0.6), (70, 75), (146, 161)),
}


def rotate(vector: Vector, axis: Vector, degrees: float) -> Vector:
    """Return `vector` rotated by `degrees` about the unit vector `axis`, right-handed."""
    result: Vector = Rotation.from_rotvec(np.deg2rad(degrees) * axis).apply(vector)
    return result


def grow(gf: float, tf: float, phi: float, beta: float, chambers: int) -> Shell:
    """Grow a shell with constant parameters.

    v = unit(U_i - U_(i-1)) between the last two apertures, rotated by `phi` about the normal of the plane of the last
    three apertures, then by `beta` about the old v; O_(i+1) = U_i + TF r_i v; r_(i+1) = GF r_i. The first chamber's
    centre replaces the apertures before the first, and the z axis the normal until three apertures span a plane.

    Args:
        gf: Ratio of the radii of successive chambers.
        tf: Length of the growth vector over the radius.
        phi: Deviation angle in degrees.
        beta: Rotation angle in degrees.
        chambers: Number of chambers; growth ends early if there is no place for an aperture.
    """
    centres, radii = [np.zeros(3)], [1.0]
    directions = [np.array([1.0, 0.0, 0.0])]
    apertures = [np.zeros(3), np.array([1.0, 0.0, 0.0])]
    for _ in range(chambers - 1):
        old = _unit(apertures[-1] - apertures[-2])
        direction = rotate(rotate(old, _plane_normal(apertures, old), phi), old, beta)
        centre = apertures[-1] + tf * radii[-1] * direction
        aperture = _next_aperture(centre, gf * radii[-1], apertures[-1], np.array(centres), np.array(radii))
        if aperture is None:
            break
        centres.append(centre)
        radii.append(gf * radii[-1])
        directions.append(direction)
        apertures.append(aperture)
    return Shell(np.array(centres), np.array(radii), np.array(apertures[1:]), np.array(directions))


def _unit(vector: Vector) -> Vector:
    return vector / float(np.linalg.norm(vector))


def _plane_normal(apertures: list[Vector], old: Vector) -> Vector:
    """Return the unit normal of the plane of the last three apertures, or another normal if they are collinear.

    Its sense, last step times the one before, makes Heterohelix biserial and Pelagica planispiral, as in nature.
    """
    if len(apertures) >= 3:
        normal = np.cross(apertures[-1] - apertures[-2], apertures[-2] - apertures[-3])
        if float(np.linalg.norm(normal)) > _TOLERANCE:
            return _unit(normal)
    return _any_normal(old)


def _next_aperture(centre: Vector, radius: float, last: Vector, centres: Vector, radii: Vector) -> Vector | None:
    """Return the point of the new sphere nearest the last aperture outside all earlier chambers, or None.

    The nearest point is the projection of the last aperture, or the nearest on the circle in which an earlier chamber
    cuts the sphere, or an intersection of two such circles; no other points have to be examined.
    """
    candidates = [centre + radius * _unit(last - centre)] if float(np.linalg.norm(last - centre)) > 0 else []
    cuts = [cut for cut in map(partial(_cut, centre, radius), centres, radii) if cut is not None]
    candidates += [_nearest_on_circle(last, centre, radius, *cut) for cut in cuts]
    for one, other in combinations(cuts, 2):
        candidates += _meeting_points(centre, radius, one, other)
    gaps = np.linalg.norm(np.array(candidates)[:, None, :] - centres[None, :, :], axis=2)
    free = [
        point for point, outside in zip(candidates, np.all(gaps >= radii - _TOLERANCE, axis=1), strict=True) if outside
    ]
    return min(free, key=lambda point: float(np.linalg.norm(point - last)), default=None)


def _cut(centre: Vector, radius: float, other: Vector, other_radius: float) -> tuple[Vector, float] | None:
    """Return the plane in which two spheres intersect, or None: its unit normal and its distance from `centre`."""
    distance = float(np.linalg.norm(other - centre))
    if not abs(radius - other_radius) < distance < radius + other_radius:
        return None
    return (other - centre) / distance, (distance**2 + radius**2 - other_radius**2) / (2 * distance)


def _nearest_on_circle(point: Vector, centre: Vector, radius: float, normal: Vector, height: float) -> Vector:
    """Return the point nearest to `point` on the circle that a plane cuts from a sphere."""
    beside = (point - centre) - normal * float((point - centre) @ normal)
    width = float(np.sqrt(max(radius**2 - height**2, 0.0)))
    direction = _unit(beside) if float(np.linalg.norm(beside)) > _TOLERANCE else _any_normal(normal)
    return centre + height * normal + width * direction


def _meeting_points(
    centre: Vector, radius: float, one: tuple[Vector, float], other: tuple[Vector, float]
) -> list[Vector]:
    """Return the intersections of two circles on a sphere: none, or two points."""
    (n, a), (m, b) = one, other
    cosine = float(n @ m)
    if 1.0 - cosine**2 < _TOLERANCE:
        return []
    foot = ((a - b * cosine) * n + (b - a * cosine) * m) / (1.0 - cosine**2)
    rest = radius**2 - float(foot @ foot)
    if rest < 0:
        return []
    along = np.sqrt(rest) * _unit(np.cross(n, m))
    return [centre + foot + along, centre + foot - along]


def _any_normal(vector: Vector) -> Vector:
    """Return a unit vector perpendicular to `vector`, the one nearest the z axis unless they are parallel."""
    upright = np.array([0.0, 0.0, 1.0])
    across = upright - vector * float(vector @ upright)
    return _unit(across) if float(np.linalg.norm(across)) > _TOLERANCE else np.array([0.0, 1.0, 0.0])


def grown_form(rule: GrowthRule, points: Points, wall: float, rng: np.random.Generator) -> Anatomy:
    """Return hollow chambers grown by `rule`, walls about 5 % of each radius.

    Args:
        rule: Ranges of the species.
        points: Positions in body units.
        wall: Thinnest wall that the volume can resolve (two voxels), in body units; it replaces thinner walls, as is
            usual below an edge of about 200 voxels.
        rng: Random generator of the specimen's parameters.
    """
    gf, tf, phi, beta = (rng.uniform(*limits) for limits in (rule.gf, rule.tf, rule.phi, rule.beta))
    shell = grow(gf, tf, phi, beta, int(rng.integers(rule.chambers[0], rule.chambers[1] + 1)))
    middle, reach = enclosing_ball(shell.centres, shell.radii)
    radii = shell.radii / reach
    bodies = sphere_fields(points, (shell.centres - middle) / reach, radii)
    return stacked_chambers(bodies, [max(RELATIVE_WALL * float(radius), wall) for radius in radii])


UNSEEN_FORMS: dict[str, Callable[[Points, float, np.random.Generator], Anatomy]] = {
    name: partial(grown_form, rule) for name, rule in GROWTH_RULES.items()
}
