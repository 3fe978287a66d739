"""Conical, cylindrical and flaring forms: Chrysalidina, Coskinolina, Lockhartia, Minoxia, Rhapydionina."""

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
    rods,
    sheets,
    spokes,
    union,
)


def chrysalidina(points: Points, wall: float, rng: np.random.Generator) -> Anatomy:
    """Build Chrysalidina: a tall three-lobed cone, three chambers per whorl, densely filled with upright pillars."""
    width, height = rng.uniform(0.66, 0.74), 1.5
    drop = np.maximum(0.8 - points.z, TINY)
    azimuth = points.angle + rng.uniform(-0.5, 0.5) * drop
    sector = np.floor(np.mod(azimuth, FULL_TURN) / (FULL_TURN / 3))
    lobes = 0.64 + 0.36 * np.sqrt(np.abs(np.sin(1.5 * azimuth)))
    side = (width * (drop / height) ** 0.5 * lobes - points.rho) * 0.9
    level = drop + 0.25 * points.rho**2
    growth = math.log(rng.uniform(1.3, 1.38))
    septa = sheets(np.log(level) / growth + sector / 3, 1.0, wall, stretch=growth * level)
    outline = intersection(side - groove(septa - wall / 2, 0.8 * wall, wall), height - level)
    walls = wall / 2 - np.abs(nearest_multiple(azimuth, FULL_TURN / 3)) * points.rho
    pillars = rods(points.x, points.y, rng.uniform(2.7, 3.0) * wall, 0.6 * wall)
    material = union(septa, walls, pillars, crust(outline, wall))
    return Anatomy(intersection(outline, material), outline)


def coskinolina(points: Points, wall: float, rng: np.random.Generator) -> Anatomy:
    """Build Coskinolina: a broad cone with a flat base, a stack of saucer-shaped chambers separated by pillars."""
    height, base = rng.uniform(1.05, 1.2), rng.uniform(0.76, 0.84)
    drop = np.maximum(0.55 * height - points.z, TINY)
    spacing = rng.uniform(2.8, 3.2) * wall
    level = drop + rng.uniform(0.7, 0.9) * points.rho**2
    septa = sheets(level, spacing, 0.95 * wall)
    side = (base * (drop / height) ** 0.45 - points.rho) * 0.85
    gap = rng.uniform(3.2, 3.6) * wall
    shift = 0.5 * gap * np.mod(np.floor(level / spacing), 2)
    pillars = rods(points.x + shift, points.y, gap, 0.5 * wall)
    sieve = intersection(rods(points.x, points.y, gap, 0.55 * wall), side - 2.0 * wall)
    outline = intersection(side - groove(septa - wall / 2, 0.6 * wall, 0.8 * wall), height - drop)
    material = union(septa, pillars, intersection(crust(outline, wall), union(-sieve, wall - side)))
    return Anatomy(intersection(outline, material), outline)


def lockhartia(points: Points, wall: float, rng: np.random.Generator) -> Anatomy:
    """Build Lockhartia: a low trochospiral dome, one storey of chambers on an umbilicus of pillars and canals."""
    dome, keel = rng.uniform(0.78, 0.88), rng.uniform(0.36, 0.44)
    height = points.z + (dome - keel) / 2
    roof = (dome * (1 - points.rho**2.6) - height) * 0.8
    belly = (height + keel * (1 - points.rho**4)) * 0.9
    storey = rng.uniform(3.0, 3.4) * wall
    spacing = rng.uniform(3.2, 3.7) * wall
    coil = sheets(points.rho - points.angle * (spacing / FULL_TURN), spacing, wall)
    septa = spokes(points, int(rng.integers(9, 12)), wall, phase=0.8 * points.rho)
    outline = intersection(roof - groove(septa - wall / 2, 0.8 * wall, 0.8 * wall), belly)
    chambers = union(coil, septa, crust(outline, wall), wall / 2 - np.abs(roof - storey))
    fan = 1.0 + 0.25 * height
    canals = rods(points.x / fan, points.y / fan, rng.uniform(4.0, 4.4) * wall, 1.45 * wall)
    material = np.where(roof < storey, chambers, -canals)
    return Anatomy(intersection(outline, material), outline)


def minoxia(points: Points, wall: float, rng: np.random.Generator) -> Anatomy:
    """Build Minoxia: a curved horn that flares in lobes, filled with a spongy labyrinth that opens outwards."""
    bow, sweep, mouth = rng.uniform(0.5, 0.58), rng.uniform(2.4, 2.9), rng.uniform(0.54, 0.62)
    along = np.mod(np.arctan2(points.z, points.x) + np.float32(np.pi + 0.6), FULL_TURN)
    progress = np.clip(along / sweep, 0, 1)
    lobes = int(rng.integers(4, 6))
    swell = 0.82 + 0.18 * np.abs(np.sin(np.pi * lobes * progress**1.3))
    away = np.hypot(np.hypot(points.x, points.z) - bow, points.y)
    sponge = _labyrinth(points, rng.uniform(4.0, 4.5) * wall, rng)
    horn = (0.12 + (mouth - 0.12) * progress) * swell - away
    outline = intersection(horn, (sweep - along) * bow)
    return Anatomy(intersection(outline, sponge), outline)


def _labyrinth(points: Points, wavelength: float, rng: np.random.Generator) -> Field:
    """Return a bent gyroid, slightly more than half solid: a sponge without a preferred direction."""
    scale = FULL_TURN / wavelength
    x, y, z = (
        axis * scale + 0.7 * np.sin(3.0 * other + rng.uniform(0, FULL_TURN))
        for axis, other in ((points.x, points.y), (points.y, points.z), (points.z, points.x))
    )
    gyroid = np.sin(x) * np.cos(y) + np.sin(y) * np.cos(z) + np.sin(z) * np.cos(x)
    return (gyroid + 0.25) / (1.5 * scale)


def rhapydionina(points: Points, wall: float, rng: np.random.Generator) -> Anatomy:
    """Build Rhapydionina: a column of disc chambers, radial septula around a solid core."""
    half, width = 0.86, rng.uniform(0.48, 0.56)
    progress = np.clip((points.z + half) / (2 * half), 0, 1)
    radius = width * (0.62 + 0.38 * np.sqrt(progress))
    count = int(rng.integers(12, 15))
    ribs = 0.6 * wall * np.cos(points.angle * count)
    level = points.z + 0.3 * points.rho**2
    outline = intersection(radius - points.rho - ribs - 0.6 * wall, half - np.abs(level))
    septa = sheets(level, rng.uniform(3.8, 4.4) * wall, wall)
    core = 0.42 * width - points.rho
    material = union(spokes(points, count, wall), core, septa, crust(outline, wall))
    return Anatomy(intersection(outline, material), outline)
