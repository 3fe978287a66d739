"""Fingerprints of photographs: copies are near, alike silhouettes and grains are not joined."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.ingest.near_copies.photograph_fingerprint import LARGEST_DISTANCE, near_photographs
from components.ingest.near_copies.threshold import nearest_of_other_species
from components.shared.images.decoding import Pixels
from tests.benchmarks.alike_photographs import copy_of, grains, silhouettes
from tests.benchmarks.photograph_copies import fingerprint, join, real_photographs
from tests.ingest.test_photograph_slices import scene

PHYTOPLANKTON = Path("../shared/real_organisms/phytoplankton")


def _joined(photographs: list[tuple[str, Pixels]]) -> int:
    return join([fingerprint(image) for _, image in photographs], [species for species, _ in photographs])[0]


@pytest.mark.parametrize(("dark", "variation"), [(False, 1.0), (True, 1.0), (False, 0.5)])
def test_silhouettes_of_different_leaves_are_not_joined(dark: bool, variation: float) -> None:
    assert _joined(list(silhouettes(7, 7, variation, dark))) == 0


@pytest.mark.slow
def test_990_silhouettes_of_99_species_are_not_joined() -> None:
    assert _joined(list(silhouettes(99, 10))) == 0


def test_evenly_lit_grains_of_different_species_are_not_joined() -> None:
    photographs = list(grains(8, 8))
    fingerprints, species = [fingerprint(image) for _, image in photographs], [name for name, _ in photographs]
    count, distance = join(fingerprints, species)
    assert count <= 2
    nearest = nearest_of_other_species(fingerprints, species, near_photographs(fingerprints))
    assert (nearest < distance).sum() <= len(photographs) / 1000


@pytest.mark.parametrize(
    ("scale", "quality", "margin"), [(0.5, 70, 0.0), (0.4, 40, 0.0), (1.5, 90, 0.0), (1, 80, 0.02)]
)
def test_copies_in_other_sizes_and_qualities_are_near(scale: float, quality: int, margin: float) -> None:
    for seed in range(5):
        image = np.asarray(scene(seed, (480, 320)))
        pair = [fingerprint(image), fingerprint(copy_of(image, scale, quality, margin))]
        assert [(one, two) for one, two, _ in near_photographs(pair)] == [(0, 1)]


def test_copies_of_silhouettes_are_near() -> None:
    for _, image in silhouettes(5, 1):
        pair = [fingerprint(image), fingerprint(copy_of(image, 0.5, 60))]
        ((_, _, distance),) = near_photographs(pair)
        assert distance < LARGEST_DISTANCE / 2


def test_a_copy_squeezed_to_a_square_is_near() -> None:
    image = scene(3, (480, 320))
    square = image.resize((224, 224), Image.Resampling.BICUBIC)
    assert len(list(near_photographs([fingerprint(np.asarray(image)), fingerprint(np.asarray(square))]))) == 1


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (33, 7), (500, 3)])
def test_tiny_and_even_photographs_have_fingerprints(size: tuple[int, int]) -> None:
    even = np.full((*size, 3), 130, np.uint8)
    fingerprints = [fingerprint(even), fingerprint(np.asarray(scene(1)))]
    assert len({len(text) for text in fingerprints}) == 1
    assert list(near_photographs(fingerprints)) == []


@pytest.mark.skipif(not PHYTOPLANKTON.exists(), reason="needs ../shared")
def test_real_organisms_are_not_joined_and_their_copies_are_found() -> None:
    photographs = list(real_photographs(PHYTOPLANKTON))
    assert _joined(photographs) == 0
    copies = [("copy", copy_of(image, 0.5, 70)) for _, image in photographs[::5]]
    pairs = [
        [fingerprint(image), fingerprint(copy)] for (_, image), (_, copy) in zip(photographs[::5], copies, strict=True)
    ]
    assert all(list(near_photographs(pair)) for pair in pairs)
