"""Drawn photographs that are alike, silhouettes and grains on an even background, and copies of photographs."""

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from components.shared.images.decoding import Pixels

_ANGLES = np.linspace(0, 2 * np.pi, 1440, endpoint=False)
_WAVES = np.arange(2, 9)


def silhouettes(
    species: int, specimens: int, variation: float = 1.0, dark: bool = False, seed: int = 0
) -> Iterator[tuple[str, Pixels]]:
    """Yield (species, photograph) of white leaves on black, closed contours of Fourier series, in the leaf's own frame.

    Args:
        species: Number of species, each with its own series.
        specimens: Number of leaves of each species.
        variation: Factor of the differences between leaves of a species.
        dark: Whether the leaves are black on white.
        seed: Seed of the contours.
    """
    for number in range(species):
        for specimen in range(specimens):
            rng = np.random.default_rng([seed, number, specimen, 1])
            leaf = _silhouette(np.random.default_rng([seed, number]), rng, variation)
            yield f"leaf{number:02d}", np.repeat((255 - leaf if dark else leaf)[..., None], 3, axis=2)


def grains(species: int, specimens: int, seed: int = 0) -> Iterator[tuple[str, Pixels]]:
    """Yield (species, photograph) of nearly round grains with a rim and a texture on an even, bright background."""
    for number in range(species):
        for specimen in range(specimens):
            rngs = np.random.default_rng([seed, number, 7]), np.random.default_rng([seed, number, specimen, 8])
            yield f"grain{number:02d}", _grain(*rngs)


def copy_of(image: Pixels, scale: float, quality: int, margin: float = 0.0) -> Pixels:
    """Return a photograph scaled and saved again as JPEG.

    Args:
        image: Photograph, uint8 [H, W, 3].
        scale: Ratio of the edges.
        quality: JPEG quality.
        margin: Share that is cropped at each side.
    """
    rows, columns = (round(margin * edge) for edge in image.shape[:2])
    inner = image[rows : image.shape[0] - rows, columns : image.shape[1] - columns]
    size = [max(8, round(scale * edge)) for edge in inner.shape[1::-1]]
    scaled = cv2.resize(inner, size, interpolation=cv2.INTER_AREA)
    _, jpeg = cv2.imencode(".jpg", scaled, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), np.uint8)


def _silhouette(species: np.random.Generator, rng: np.random.Generator, variation: float) -> NDArray[np.uint8]:
    aspect = species.uniform(0.25, 1.0) * np.exp(variation * rng.normal(0, 0.1))
    amplitudes = species.normal(0, 0.1, _WAVES.size) / _WAVES**0.7
    phases = species.uniform(0, 2 * np.pi, _WAVES.size) + variation * rng.normal(0, 0.12, _WAVES.size)
    amplitudes = amplitudes * (1 + variation * rng.normal(0, 0.2, _WAVES.size))
    lobes, lobe_height = species.integers(3, 8), species.choice([0.0, 0.15, 0.3]) * (1 + variation * rng.normal(0, 0.1))
    teeth, tooth_height = species.integers(18, 60), species.choice([0.0, 0.0, 0.03])
    radius = 1 + (amplitudes[:, None] * np.cos(_WAVES[:, None] * _ANGLES + phases[:, None])).sum(axis=0)
    radius += lobe_height * np.cos(lobes * _ANGLES + variation * rng.normal(0, 0.1))
    radius += tooth_height * np.cos(teeth * _ANGLES + rng.uniform(0, 6))
    for wave in range(9, 25):
        radius += variation * rng.normal(0, 0.006) * np.cos(wave * _ANGLES + rng.uniform(0, 6))
    along, across = radius * np.cos(_ANGLES), aspect * radius * np.sin(_ANGLES)
    across = across + variation * rng.normal(0, 0.06) * along**2
    points = np.stack([along - along.min(), across - across.min()], axis=1)
    points = points * (int(rng.integers(200, 1001)) - 6) / points.max() + 3
    width, height = np.ceil(points.max(axis=0)).astype(int) + 4
    image = np.zeros((height, width), np.uint8)
    cv2.fillPoly(image, [np.rint(points * 16).astype(np.int32)], 255, shift=4)
    return image


def _grain(species: np.random.Generator, rng: np.random.Generator) -> Pixels:
    radius = species.uniform(25, 70) * np.exp(rng.normal(0, 0.08))
    edge = int(2 * radius * rng.uniform(1.15, 1.35))
    middle, turn = edge / 2 + rng.normal(0, 0.03 * radius, 2), rng.uniform(0, np.pi)
    rows, columns = np.mgrid[:edge, :edge].astype(np.float32)
    along = (columns - middle[0]) * np.cos(turn) + (rows - middle[1]) * np.sin(turn)
    across = (rows - middle[1]) * np.cos(turn) - (columns - middle[0]) * np.sin(turn)
    roundness = np.clip(species.uniform(0.75, 1) * np.exp(rng.normal(0, 0.05)), 0.6, 1)
    distance = np.hypot(along, across / roundness) / radius
    distance /= 1 + 0.02 * rng.normal() * np.cos(3 * np.arctan2(across, along) + rng.uniform(0, 6))
    noise = rng.normal(0, 1, (edge, edge)).astype(np.float32)
    texture = cv2.GaussianBlur(noise, (0, 0), species.uniform(1.2, 4))
    body = np.clip((1 - distance) * radius / 2, 0, 1)
    rim = np.exp(-(((distance - 0.93) / species.uniform(0.03, 0.08)) ** 2))
    grey = species.uniform(200, 235) + rng.normal(0, 4) - body * species.uniform(30, 80) - rim * species.uniform(15, 50)
    grey = cv2.GaussianBlur(grey + body * texture / texture.std() * species.uniform(3, 10), (0, 0), 0.8)
    colour = grey[..., None] * species.uniform(0.7, 1, 3) + rng.normal(0, 1.2, (edge, edge, 1))
    return np.clip(colour, 0, 255).astype(np.uint8)
