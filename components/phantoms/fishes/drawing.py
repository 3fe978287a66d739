"""Random individuals of a species of fish, and their drawing in profile: outline, fins, colours, pattern, eye."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from components.phantoms.fishes.forms import Colour, Fin, FishForm, Pattern, Tail

Canvas = NDArray[np.float32]
Points = NDArray[np.float64]

HEIGHT, WIDTH = 256, 384
_LENGTH, _SNOUT = 0.66 * WIDTH, 0.10 * WIDTH
_STATIONS = np.linspace(0, 1, 60)
_PEDUNCLE = 0.22
"""Height of the body before the tail, as a share of its depth."""


@dataclass(frozen=True)
class Individual:
    """One individual of a species.

    Attributes:
        form: Form of the species with the measures and colours of the individual.
        positions: Positions of bars, spots and the like along and across the flank, float64 [count, 2], 0..1 and -1..1.
        bend: Offset of the body's middle from the line between snout and tail, as a share of its length.
    """

    form: FishForm
    positions: Points
    bend: float


def sample_individual(form: FishForm, rng: np.random.Generator) -> Individual:
    """Sample the measures of an individual at random about those of its species."""
    tint = rng.normal(0, 9, 3)
    count = max(0, form.count + (int(rng.integers(-1, 2)) if form.count > 2 else 0))
    individual_form = replace(
        form,
        depth=form.depth * rng.uniform(0.92, 1.08),
        deepest=form.deepest * rng.uniform(0.95, 1.05),
        count=count,
        back=_tint_colour(form.back, tint, rng),
        belly=_tint_colour(form.belly, tint, rng),
        fins=_tint_colour(form.fins, tint, rng),
        marks=_tint_colour(form.marks, tint, rng),
    )
    return Individual(individual_form, _MARK_POSITIONS[form.pattern](count, rng), rng.uniform(-0.05, 0.05))


def paint(fish: Individual) -> Canvas:
    """Paint a fish that faces left.

    Returns:
        float32 [HEIGHT, WIDTH, 4]: RGB in 0..255, and the share of each pixel that the fish covers, 0..1.
    """
    canvas = np.zeros((HEIGHT, WIDTH, 4), np.float32)
    form = fish.form
    for fin in form.dorsal:
        _fill(canvas, _fin_outline(fish, fin, -1), form.fins, 0.9)
    _fill(canvas, _fin_outline(fish, form.anal, 1), form.fins, 0.9)
    _fill(canvas, _to_pixels(fish, _TAILS[form.tail] * (1.0, max(0.5, 1.4 * form.depth + 0.25))), form.fins, 0.95)
    _paint_flank(canvas, fish)
    _fill(canvas, _to_pixels(fish, np.array([(0.27, 0.02), (0.40, 0.10), (0.38, 0.0)])), form.fins, 0.8)
    eye = _to_pixels(fish, np.array([(0.09, -0.16 * form.depth)]))[0]
    for radius, colour in ((0.022, (236, 226, 190)), (0.013, (16, 16, 16))):
        cv2.circle(canvas, _pixel(eye), round(radius * _LENGTH), (*colour, 1.0), -1, cv2.LINE_AA)
    return canvas


def _tint_colour(colour: Colour, tint: NDArray[np.float64], rng: np.random.Generator) -> Colour:
    red, green, blue = np.clip(np.array(colour) * rng.uniform(0.88, 1.12) + tint, 0, 255).astype(int).tolist()
    return red, green, blue


def _half_depth(form: FishForm, along: Points) -> Points:
    """Return half the height of the body at positions along it, as a share of its length.

    It consists of two quarter waves and a peduncle.
    """
    front = np.sin(np.clip(along / form.deepest, 0, 1) * np.pi / 2) ** 0.7
    back = np.cos(np.clip((along - form.deepest) / (1 - form.deepest), 0, 1) * np.pi / 2)
    share = np.where(along < form.deepest, front, _PEDUNCLE + (1 - _PEDUNCLE) * back**1.3)
    return form.depth / 2 * share


def _to_pixels(fish: Individual, positions: Points) -> Points:
    """Map (along, across) in body lengths to pixels, with the fish's bend."""
    along, across = positions[:, 0], positions[:, 1]
    offset = _bend_offset(fish, along)
    return np.stack([_SNOUT + along * _LENGTH, HEIGHT / 2 + (across + offset) * _LENGTH], axis=1)


def _bend_offset(fish: Individual, along: Points) -> Points:
    """Return the offset of the bent body's axis from a straight one, in body lengths; `along` is 0..1 on the body."""
    return fish.bend * 4 * along * (1 - np.clip(along, 0, 1))


def _pixel(position: Points) -> tuple[int, int]:
    return round(float(position[0])), round(float(position[1]))


def _fill(canvas: Canvas, outline: Points, colour: Colour, opacity: float) -> None:
    cv2.fillPoly(canvas, [np.rint(outline).astype(np.int32)], (*colour, opacity), cv2.LINE_AA)


def _fin_outline(fish: Individual, fin: Fin, side: int) -> Points:
    """Return the outline of a fin above (-1) or below (1) the body."""
    along = np.linspace(fin.begin, fin.end, 12)
    share = (along - fin.begin) / (fin.end - fin.begin)
    rise = np.where(share < fin.lean, share / max(fin.lean, 1e-6), (1 - share) / (1 - fin.lean)) ** 0.7
    root = 0.85 * _half_depth(fish.form, along)
    rim = np.stack([along, side * (root + fin.height * rise)], axis=1)
    return _to_pixels(fish, np.concatenate([rim, np.stack([along, side * root], axis=1)[::-1]]))


def _paint_flank(canvas: Canvas, fish: Individual) -> None:
    """Paint the body: dark above, light below, with its pattern, shaded towards the edges."""
    form = fish.form
    top = np.stack([_STATIONS, -_half_depth(form, _STATIONS)], axis=1)
    bottom = np.stack([_STATIONS, _half_depth(form, _STATIONS)], axis=1)
    mask = np.zeros((HEIGHT, WIDTH), np.float32)
    cv2.fillPoly(
        mask, [np.rint(_to_pixels(fish, np.concatenate([top, bottom[::-1]]))).astype(np.int32)], 1.0, cv2.LINE_AA
    )
    rows, columns = np.nonzero(mask)
    share = mask[rows, columns, None]
    colours = _flank_colours(form, fish.positions, *_flank_coordinates(fish, rows, columns))
    canvas[rows, columns, :3] = canvas[rows, columns, :3] * (1 - share) + colours * share
    canvas[..., 3] = np.maximum(canvas[..., 3], mask)


def _flank_colours(form: FishForm, positions: Points, along: Points, across: Points) -> NDArray[np.float32]:
    """Return the colours at N positions of the flank, float32 [N, 3]."""
    lightness = np.clip((across + 0.5) / 1.1, 0, 1)[:, None]
    colour = (1 - lightness) * np.array(form.back) + lightness * np.array(form.belly)
    mark_share = 0.8 * _MARKS[form.pattern](along, across, positions)[:, None]
    colour = colour * (1 - mark_share) + mark_share * np.array(form.marks)
    shade = (1.08 - 0.35 * np.abs(across) ** 3)[:, None]
    return np.clip(colour * shade, 0, 255).astype(np.float32)


def _flank_coordinates(fish: Individual, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> tuple[Points, Points]:
    """Return positions of N pixels along the body, 0..1, and across it, -1..1 from back to belly, float64 [N]."""
    along = np.clip((columns - _SNOUT) / _LENGTH, 0, 1)
    offset = _bend_offset(fish, along)
    across = ((rows - HEIGHT / 2) / _LENGTH - offset) / np.maximum(_half_depth(fish.form, along), 0.01)
    return along, np.clip(across, -1.2, 1.2)


def _no_positions(count: int, rng: np.random.Generator) -> Points:
    del count, rng
    return np.zeros((0, 2))


def _positions_in_a_row(count: int, rng: np.random.Generator) -> Points:
    along = np.linspace(0.24, 0.9, count) + rng.normal(0, 0.012, count)
    return np.stack([along, np.zeros(count)], axis=1)


def _positions_in_a_column(count: int, rng: np.random.Generator) -> Points:
    return np.stack([np.zeros(count), np.linspace(-0.4, 0.4, count) + rng.normal(0, 0.03, count)], axis=1)


def _scattered_positions(count: int, rng: np.random.Generator) -> Points:
    return np.stack([rng.uniform(0.2, 0.94, count), rng.uniform(-0.75, 0.45, count)], axis=1)


def _one_position(count: int, rng: np.random.Generator) -> Points:
    return np.stack([rng.normal(0.52, 0.03, count), rng.normal(-0.1, 0.05, count)], axis=1)


def _no_marks(along: Points, across: Points, positions: Points) -> Points:
    del across, positions
    return np.zeros_like(along)


def _bars(along: Points, across: Points, positions: Points) -> Points:
    return np.max([np.exp(-(((along - centre) / 0.022) ** 4)) for centre in positions[:, 0]], axis=0) * (across < 0.75)


def _stripes(along: Points, across: Points, positions: Points) -> Points:
    return np.max([np.exp(-(((across - centre) / 0.1) ** 4)) for centre in positions[:, 1]], axis=0) * (along > 0.16)


def _spots(along: Points, across: Points, positions: Points) -> Points:
    spots = [np.exp(-((((along - x) / 0.017) ** 2 + ((across - y) / 0.12) ** 2) ** 2)) for x, y in positions]
    return np.max(spots, axis=0)


def _saddles(along: Points, across: Points, positions: Points) -> Points:
    return np.max([np.exp(-(((along - centre) / 0.05) ** 4)) for centre in positions[:, 0]], axis=0) * (across < -0.1)


def _blotch(along: Points, across: Points, positions: Points) -> Points:
    return np.max(
        [np.exp(-((((along - x) / 0.09) ** 2 + ((across - y) / 0.4) ** 2) ** 2)) for x, y in positions], axis=0
    )


_MARK_POSITIONS: dict[Pattern, Callable[[int, np.random.Generator], Points]] = {
    "plain": _no_positions,
    "bars": _positions_in_a_row,
    "stripes": _positions_in_a_column,
    "spots": _scattered_positions,
    "saddles": _positions_in_a_row,
    "blotch": _one_position,
}
_MARKS: dict[Pattern, Callable[[Points, Points, Points], Points]] = {
    "plain": _no_marks,
    "bars": _bars,
    "stripes": _stripes,
    "spots": _spots,
    "saddles": _saddles,
    "blotch": _blotch,
}
_TAILS: dict[Tail, Points] = {
    "forked": np.array([(0.96, -0.03), (1.22, -0.24), (1.12, 0.0), (1.22, 0.24), (0.96, 0.03)]),
    "straight": np.array([(0.96, -0.03), (1.2, -0.18), (1.18, 0.0), (1.2, 0.18), (0.96, 0.03)]),
    "rounded": np.array(
        [(0.96, -0.03), (1.1, -0.14), (1.18, -0.1), (1.21, 0.0), (1.18, 0.1), (1.1, 0.14), (0.96, 0.03)]
    ),
    "crescent": np.array(
        [(0.97, -0.02), (1.1, -0.16), (1.24, -0.34), (1.1, 0.0), (1.24, 0.34), (1.1, 0.16), (0.97, 0.02)]
    ),
}
