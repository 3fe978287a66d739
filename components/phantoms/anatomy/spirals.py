"""Coiled forms: Alveolina, Arumella, Ataxophragmium, Elphidiella."""

import math

import numpy as np

from components.phantoms.anatomy.fields import (
    FULL_TURN,
    TINY,
    Anatomy,
    Field,
    Points,
    crust,
    groove,
    intersection,
    nearest_multiple,
    sheets,
    spokes,
    stacked_chambers,
    union,
)
from components.phantoms.anatomy.spheres import enclosing_ball, sphere_fields


def alveolina(points: Points, wall: float, rng: np.random.Generator) -> Anatomy:
    """Build Alveolina: a fusiform coil about its long axis, its whorls thick and drilled with rows of chamberlets."""
    elongation = rng.uniform(1.5, 1.8)
    sharpness = rng.uniform(1.6, 1.9)
    pitch = rng.uniform(2.9, 3.2) * wall
    radial, axial = points.rho * elongation, np.abs(points.z)
    level = np.maximum((radial**sharpness + axial**sharpness) ** (1.0 / sharpness), TINY)
    slope = np.hypot((radial / level) ** (sharpness - 1), (axial / level) ** (sharpness - 1) / elongation)
    stretch = pitch / np.maximum(slope, 0.3)
    turn = points.angle / FULL_TURN
    whorl = level / (elongation * pitch) - turn
    layer = np.floor(whorl)
    along = np.arctan2(points.z, radial) * (layer + 0.5 + turn) * pitch * (1.0 + elongation) / 2.0
    beside = nearest_multiple(along + 0.5 * pitch * np.mod(layer, 2), pitch)
    chamberlets = 0.9 * wall - np.hypot(beside, (whorl - layer - 0.5) * stretch)
    sutures = wall / 2 - spokes(points, int(rng.integers(7, 10)), wall, phase=rng.uniform(0, FULL_TURN))
    outline = (1.0 / (elongation * pitch) - 1.0 - whorl) * stretch - groove(sutures, 0.5 * wall, wall)
    material = union(-chamberlets, crust(outline, wall))
    return Anatomy(intersection(outline, material), outline)


def elphidiella(points: Points, wall: float, rng: np.random.Generator) -> Anatomy:
    """Build Elphidiella: an involute planispiral lens of chambers with curved septa and pores along the sutures."""
    thickness = rng.uniform(0.64, 0.75)
    expansion = math.log(rng.uniform(1.75, 1.95))
    step = FULL_TURN / int(rng.integers(16, 19))
    level = np.maximum(np.hypot(points.rho, points.z / thickness), TINY)
    slope = np.hypot(points.rho, points.z / thickness**2) / level
    angle = np.mod(points.angle + rng.uniform(0.5, 0.8) * points.rho, FULL_TURN)
    suture = np.abs(nearest_multiple(angle, step)) * points.rho
    whorl = np.log(level) / expansion - angle / FULL_TURN + 1.0
    stretch = expansion * level / slope
    face = np.where(level > math.exp(-expansion), (FULL_TURN - angle) * points.rho, np.inf)
    along = np.arctan2(points.z, points.rho) * level
    pores = 0.42 * wall - np.hypot(suture - 0.95 * wall, nearest_multiple(along, 2.0 * wall))
    lobes = groove(suture, 0.7 * wall, 1.3 * wall) + 1.2 * np.maximum(pores, 0)
    outline = intersection(-whorl * stretch - lobes, face)
    whorls = sheets(whorl, 1.0, wall, stretch=stretch)
    plug = rng.uniform(0.16, 0.2) - points.rho
    material = union(whorls, wall / 2 - suture, plug, crust(outline, wall))
    return Anatomy(intersection(outline, material), outline)


def ataxophragmium(points: Points, wall: float, rng: np.random.Generator) -> Anatomy:
    """Build Ataxophragmium: a high trochospire of few inflated chambers with buttresses inside their outer walls."""
    count = int(rng.integers(9, 11))
    radii = rng.uniform(1.15, 1.2) ** np.arange(count, dtype=np.float64)
    turns = FULL_TURN / rng.uniform(3.7, 4.3) * np.arange(count) + rng.uniform(0, FULL_TURN)
    rise = rng.uniform(1.6, 2.1)
    centres = np.stack([0.72 * radii * np.cos(turns), 0.72 * radii * np.sin(turns), -rise * radii], axis=1)
    middle, reach = enclosing_ball(centres, radii)
    anatomy = stacked_chambers(sphere_fields(points, (centres - middle) / reach, radii / reach), wall)
    axis = Points(points.x + float(middle[0] / reach), points.y + float(middle[1] / reach), points.z)
    buttresses = spokes(axis, int(rng.integers(13, 17)), wall)
    depth = rng.uniform(0.16, 0.2)
    combs = intersection(buttresses, depth - anatomy.outline, anatomy.outline)
    return Anatomy(union(anatomy.shell, combs), anatomy.outline)


def arumella(points: Points, wall: float, rng: np.random.Generator) -> Anatomy:
    """Build Arumella: long tubular chambers, half a coil each, ribbed, coiled from pole to pole in five planes."""
    count = int(rng.integers(11, 14))
    growth = rng.uniform(1.13, 1.17)
    turn = math.radians(rng.uniform(138.0, 148.0))
    tall = rng.uniform(1.1, 1.25)
    tube = rng.uniform(0.5, 0.56)
    start = rng.uniform(0, FULL_TURN)
    largest = 1.0 / (tall * (1.0 + tube))
    sizes = [largest * growth ** (i - count + 1.0) for i in range(count)]
    costae = (int(rng.integers(8, 11)), 0.4 * wall / largest)
    bodies = [_half_coil(points, start + turn * i, (size, tall, tube), costae) for i, size in enumerate(sizes)]
    return stacked_chambers(bodies, 1.15 * wall)


def _half_coil(points: Points, azimuth: float, shape: tuple[float, float, float], costae: tuple[int, float]) -> Field:
    """Return the distance into one chamber: a ribbed tube along a half ellipse from pole to pole.

    Args:
        points: Positions in body units.
        azimuth: Azimuth of the ellipse's plane in radians.
        shape: Half the ellipse's width, its height over its width, the tube's radius over half the width.
        costae: Number of ribs along the tube, and their height over half the width.
    """
    size, tall, tube = shape
    outward = points.x * math.cos(azimuth) + points.y * math.sin(azimuth)
    sideways = points.y * math.cos(azimuth) - points.x * math.sin(azimuth)
    height = points.z / tall
    on_arc = np.hypot(outward, height) - size
    at_pole = np.hypot(outward, np.abs(height) - size)
    away = np.where(outward > 0, np.abs(on_arc), at_pole)
    ribs = costae[1] * size * np.cos(costae[0] * np.arctan2(sideways * 0.8, on_arc))
    return tube * size - np.hypot(away, sideways * 0.8) + ribs
