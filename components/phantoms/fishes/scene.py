"""Photographs of a painted fish: pose, background, light, lens and sensor, all drawn at random."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from components.phantoms.fishes.drawing import HEIGHT, WIDTH, Canvas

Picture = NDArray[np.float32]
ASPECTS = (4 / 3, 4 / 3, 3 / 2, 3 / 2, 16 / 9, 1.0, 3 / 4)


def photograph(canvas: Canvas, long_side: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return a photograph of a fish, uint8 [H, W, 3], RGB.

    Args:
        canvas: Painted fish, from `drawing.paint`.
        long_side: Long side of the photograph in pixels.
        rng: Random generator of the scene.
    """
    width, height = _frame_size(long_side, rng)
    scene = _BACKGROUNDS[int(rng.integers(len(_BACKGROUNDS)))](height, width, rng)
    warp = _sample_pose(width, height, rng)
    fish = cv2.warpAffine(canvas, warp, (width, height), flags=cv2.INTER_LINEAR)
    share = fish[..., 3:] * rng.uniform(0.9, 1.0)
    shadow = cv2.GaussianBlur(np.roll(fish[..., 3], (height // 40, width // 60), (0, 1)), (0, 0), long_side / 60)
    scene *= 1 - rng.uniform(0, 0.4) * shadow[..., None]
    scene = scene * (1 - share) + fish[..., :3] * share
    return _expose(_light(scene, rng), rng)


def _frame_size(long_side: int, rng: np.random.Generator) -> tuple[int, int]:
    aspect = ASPECTS[int(rng.integers(len(ASPECTS)))]
    width, height = (long_side, long_side / aspect) if aspect >= 1 else (long_side * aspect, long_side)
    return max(16, round(width)), max(16, round(height))


def _sample_pose(width: int, height: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Sample the pose of the fish, an affine map from the canvas to the frame, float64 [2, 3]."""
    angle = np.deg2rad(rng.normal(0, 12))
    scale = rng.uniform(0.8, 1.0) * min(width / (0.84 * WIDTH), height / (0.62 * HEIGHT))
    across, down = scale * rng.uniform(0.85, 1.0), scale
    if rng.random() < 0.5:
        across = -across
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ np.diag([across, down])
    middle = np.array([width, height]) * (0.5 + rng.uniform(-0.06, 0.06, 2))
    return np.column_stack([turn, middle - turn @ np.array([WIDTH / 2, HEIGHT / 2])])


def _smooth_noise(height: int, width: int, cells: float, rng: np.random.Generator) -> Picture:
    """Return smooth noise in -1..1, float32 [H, W, 1], with about `cells` cells along the long side."""
    edge = max(height, width) / cells
    grid = rng.uniform(-1, 1, (max(2, round(height / edge) + 1), max(2, round(width / edge) + 1))).astype(np.float32)
    return np.asarray(cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC))[..., None]


def _water(height: int, width: int, rng: np.random.Generator) -> Picture:
    deep, shallow = np.array([20, 60, 80]) * rng.uniform(0.6, 1.3), np.array([90, 150, 160]) * rng.uniform(0.7, 1.2)
    down = np.linspace(0, 1, height)[:, None, None]
    return (shallow * (1 - down) + deep * down + 18 * _smooth_noise(height, width, 5, rng)).astype(np.float32)


def _gravel(height: int, width: int, rng: np.random.Generator) -> Picture:
    tone = np.array([150, 132, 104]) * rng.uniform(0.6, 1.2)
    stones = 34 * _smooth_noise(height, width, 28, rng) + 16 * _smooth_noise(height, width, 60, rng)
    return (tone + stones + 15 * _smooth_noise(height, width, 3, rng)).astype(np.float32)


def _board(height: int, width: int, rng: np.random.Generator) -> Picture:
    scene = np.full((height, width, 3), rng.uniform(120, 240), np.float32) * rng.uniform(0.94, 1.06, 3)
    first, step = height - max(2, height // 14), max(3, width // 24)
    scene[first:, ::step] *= 0.4
    return (scene + 4 * _smooth_noise(height, width, 12, rng)).astype(np.float32)


def _plants(height: int, width: int, rng: np.random.Generator) -> Picture:
    scene = _water(height, width, rng) * np.array([0.7, 1.0, 0.6])
    for _ in range(int(rng.integers(6, 16))):
        x, lean = rng.uniform(0, width), rng.normal(0, width / 8)
        colour = np.array([60, 120, 44]) * rng.uniform(0.5, 1.4)
        thickness = max(1, round(width * rng.uniform(0.01, 0.04)))
        tip = round(x + lean), round(height * rng.uniform(0, 0.6))
        cv2.line(scene, (round(x), height), tip, colour.tolist(), thickness)
    return scene.astype(np.float32)


def _net(height: int, width: int, rng: np.random.Generator) -> Picture:
    scene = np.full((height, width, 3), rng.uniform(30, 90), np.float32) + 20 * _smooth_noise(height, width, 4, rng)
    step = max(4, round(max(height, width) / rng.uniform(14, 26)))
    scene[::step] += 60
    scene[:, ::step] += 60
    return scene.astype(np.float32)


def _light(scene: Picture, rng: np.random.Generator) -> Picture:
    """Change exposure, white balance and the direction of the light."""
    height, width = scene.shape[:2]
    gradient = rng.normal(0, 0.22, 2)
    down, across = np.linspace(-1, 1, height)[:, None, None], np.linspace(-1, 1, width)[None, :, None]
    light = 1 + gradient[0] * down + gradient[1] * across
    return (scene * light * rng.uniform(0.65, 1.25) * rng.normal(1, 0.07, 3)).astype(np.float32)


def _expose(scene: Picture, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Add the blur of the lens and the noise of the sensor."""
    image = cv2.GaussianBlur(scene, (0, 0), rng.uniform(0.2, 0.005 * max(scene.shape) + 0.3))
    noise = rng.normal(0, rng.uniform(1, 8), scene.shape[:2])[..., None]
    return np.asarray(np.clip(np.rint(image + noise), 0, 255).astype(np.uint8))


_BACKGROUNDS: tuple[Callable[[int, int, np.random.Generator], Picture], ...] = (_water, _gravel, _board, _plants, _net)
