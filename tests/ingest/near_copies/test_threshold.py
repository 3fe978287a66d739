"""Threshold of near-copies: set from scans of different species, at most one of 1,000 of which is nearer."""

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.ingest.near_copies.threshold import distance_of_copies


def _pairs(points: Sequence[float] | np.ndarray, limit: float = 0.2) -> Iterator[tuple[int, int, float]]:
    distances = np.abs(np.subtract.outer(points, points))
    for one, other in np.argwhere(np.triu(distances <= limit, 1)).tolist():
        yield one, other, float(distances[one, other])


def _threshold(points: Sequence[float] | np.ndarray, species: Sequence[str]) -> float:
    return distance_of_copies([str(point) for point in points], species, _pairs(points))


def test_few_pairs_of_different_species_do_not_change_the_distance() -> None:
    points = np.arange(63) * 1e-6
    assert _threshold(points[:62], ["a"] * 31 + ["b"] * 31) == np.inf
    assert _threshold(points[:63], ["a"] * 31 + ["b"] * 32) == np.inf
    assert _threshold(np.arange(64) * 1e-6, ["a"] * 32 + ["b"] * 32) < 2e-6


@pytest.mark.parametrize(("count", "expected"), [(998, 0.1), (1000, 0.1), (2000, 0.15), (2002, 0.15)])
def test_one_scan_of_1000_may_have_a_nearer_one_of_another_species(count: int, expected: float) -> None:
    # Two scans are 0.1 apart and two others 0.15; all the others are far from each other.
    points = np.array([0.0, 0.1, 5.0, 5.15, *(10.0 + np.arange(count - 4))])
    threshold = _threshold(points, ["a", "b"] * (count // 2))
    assert threshold == pytest.approx(expected)


def test_exact_copies_with_contradictory_species_are_left_out() -> None:
    points = [0.0, 0.0, 0.01, *(10.0 + np.arange(97))]
    assert _threshold(points, ["a", "b"] * 50) == np.inf


def test_pairs_of_contradictory_copies_do_not_count() -> None:
    points = [0.0, 0.0, 1.0, 1.1, *(10.0 + np.arange(60))]
    assert _threshold(points, ["a", "b"] * 32) == np.inf
    assert _threshold([-9.0, *points[1:]], ["a", "b"] * 32) == pytest.approx(0.1)


@settings(max_examples=10, deadline=None, database=None)
@given(seed=st.integers(0, 10_000), count=st.sampled_from([100, 999, 1000, 1999, 2000]), spread=st.floats(10, 1e6))
def test_at_most_a_thousandth_is_nearer_to_another_species(seed: int, count: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    points, species = rng.uniform(0, spread, count), rng.integers(0, 4, count).astype(str)
    threshold = _threshold(points, list(species))
    distances = np.abs(points[:, None] - points[None])
    nearest = np.where(species[:, None] != species[None], distances, np.inf).min(axis=1)
    below = nearest < min(threshold, np.nextafter(0.2, 1))
    assert below.sum() <= count / 1000
