"""Disc- and star-shaped forms: Baculogypsina, Fallotia, Orbitoides."""

import numpy as np
from numpy.typing import NDArray

from components.phantoms.anatomy.fields import (
    FULL_TURN,
    Anatomy,
    Field,
    Points,
    crust,
    honeycomb,
    intersection,
    lens,
    nearest_multiple,
    rods,
    sheets,
    union,
)


def baculogypsina(points: Points, wall: float, rng: np.random.Generator) -> Anatomy:
    """Build Baculogypsina: a globular body of cubical chamberlets in rows, with stout solid spines on all sides."""
    spacing = rng.uniform(2.7, 3.0) * wall
    rows = union(*(sheets(axis + 0.5 * spacing, spacing, wall) for axis in (points.x, points.y, points.z)))
    distance = np.sqrt(points.x**2 + points.y**2 + points.z**2)
    body = rng.uniform(0.62, 0.68) - distance - 0.9 * np.maximum(-rows, 0)
    base, tip = rng.uniform(0.2, 0.24), rng.uniform(0.06, 0.075)
    directions = _spine_directions(int(rng.integers(6, 9)), rng)
    spines = union(*(_spine(points, direction, base, tip, rng.uniform(0.88, 1.0)) for direction in directions))
    shell = union(intersection(body, union(rows, crust(body, 0.8 * wall))), spines)
    return Anatomy(shell, union(body, spines))


def _spine_directions(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return `count` unit vectors, float64 (count, 3), on a golden spiral with slight random offsets."""
    index = np.arange(count) + 0.5
    polar = np.arccos(1.0 - 2.0 * index / count)
    turn = np.pi * (1.0 + 5.0**0.5) * index
    vectors = np.stack([np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn), np.cos(polar)], axis=1)
    vectors = vectors + rng.normal(scale=0.12, size=vectors.shape)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _spine(points: Points, direction: NDArray[np.float64], base: float, tip: float, length: float) -> Field:
    """Return the distance into a blunt cone along `direction`, rooted in the body."""
    ux, uy, uz = direction.astype(np.float32)
    along = points.x * ux + points.y * uy + points.z * uz
    square = points.x**2 + points.y**2 + points.z**2
    away = np.sqrt(np.maximum(square - along**2, 0))
    radius = base + (tip - base) / length * along
    return intersection(radius - away, along - 0.3, length - along)


def fallotia(points: Points, wall: float, rng: np.random.Generator) -> Anatomy:
    """Build Fallotia: a flat lens, open inside except for spiral septa, under a deep exoskeletal mesh on both faces."""
    smooth = lens(points, rng.uniform(0.58, 0.68))
    depth = rng.uniform(2.3, 2.7) * wall
    mesh = honeycomb(points.x, points.y, rng.uniform(2.4, 2.7) * wall, 0.9 * wall)
    outline = smooth - 0.9 * np.maximum(-mesh, 0)
    spacing = rng.uniform(3.6, 4.4) * wall
    septa = sheets(points.rho - points.angle * (spacing / FULL_TURN), spacing, wall)
    material = union(intersection(mesh, depth - smooth), septa, 0.9 * wall - outline)
    return Anatomy(intersection(outline, material), outline)


def orbitoides(points: Points, wall: float, rng: np.random.Generator) -> Anatomy:
    """Build Orbitoides: a thick lens with a median layer of arcuate chamberlets, lateral layers and conical pillars."""
    smooth = lens(points, rng.uniform(0.7, 0.8))
    median = rng.uniform(1.5, 1.8) * wall - np.abs(points.z)
    layers = sheets(smooth, rng.uniform(2.0, 2.2) * wall, 0.9 * wall)
    chamberlets = _arcuate_walls(points, rng.uniform(2.9, 3.3) * wall, wall)
    radius = 0.4 * wall + 0.3 * np.maximum(np.abs(points.z) - 1.6 * wall, 0)
    pillars = intersection(rods(points.x, points.y, rng.uniform(0.42, 0.5), radius), -median)
    outline = smooth + 0.45 * np.maximum(pillars, 0)
    plates = intersection(median, wall - median)
    material = union(np.where(median > 0, chamberlets, layers), plates, pillars, 0.8 * wall - outline)
    return Anatomy(intersection(outline, material), outline)


def _arcuate_walls(points: Points, spacing: float, wall: float) -> Field:
    """Return the walls of arc-shaped chamberlets in concentric rings, shifted from ring to ring."""
    rho = points.rho
    ring = np.floor(rho / spacing)
    count = np.maximum(np.round(FULL_TURN * (ring + 0.5)), 3)
    sector = points.angle * count / FULL_TURN + 0.5 * np.mod(ring, 2)
    offset = nearest_multiple(sector, 1.0)
    arcs = sheets(rho + 0.8 * spacing * (offset**2 - 0.12), spacing, wall)
    sides = wall / 2 - (0.5 - np.abs(offset)) * FULL_TURN * rho / count
    return union(arcs, sides)
