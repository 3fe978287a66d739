"""The drawing of a fish."""

import numpy as np
import pytest

from components.phantoms.fishes.drawing import paint, sample_individual
from components.phantoms.fishes.forms import ALL_FISHES


@pytest.mark.parametrize("species", ALL_FISHES)
def test_every_fish_is_inside_its_canvas(species: str) -> None:
    for seed in range(3):
        is_covered = paint(sample_individual(ALL_FISHES[species], np.random.default_rng(seed)))[..., 3] > 0
        rows, columns = np.flatnonzero(is_covered.any(axis=1)), np.flatnonzero(is_covered.any(axis=0))
        assert 0 < rows[0] < rows[-1] < is_covered.shape[0] - 1
        assert 0 < columns[0] < columns[-1] < is_covered.shape[1] - 1
