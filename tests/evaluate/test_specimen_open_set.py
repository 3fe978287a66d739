"""The flag of a specimen: few known specimens of any number of slices are flagged, and most unknown ones."""

from collections.abc import Sequence

import numpy as np
import pytest

from components.evaluate.specimen_open_set import (
    SlicesOfSpecimens,
    SpecimenResult,
    SpecimenSelection,
    conformal_quantile,
    fit_specimen_threshold,
)
from components.shared.contracts.specimen_threshold import UNKNOWN_SHARE

SLICE_THRESHOLD = 1.9


def slices_of(specimens: int, sizes: Sequence[int], seed: int, shift: float = 0.0) -> SlicesOfSpecimens:
    """Return scores with an effect of the specimen and heavy tails of the slices, shifted for unknown species."""
    rng = np.random.default_rng(seed)
    groups = [shift + 0.3 * rng.normal() + rng.standard_t(4, sizes[one % len(sizes)]) for one in range(specimens)]
    names = np.repeat([f"specimen-{one:05d}" for one in range(specimens)], [len(group) for group in groups])
    return SlicesOfSpecimens(np.concatenate(groups), names)


def selection_of(specimens: int = 48, sizes: Sequence[int] = (30,), seed: int = 0) -> SpecimenSelection:
    known, unknown = slices_of(specimens, sizes, seed), slices_of(specimens, (8,), seed + 1000, 1.5)
    return fit_specimen_threshold([known], unknown, SLICE_THRESHOLD)


@pytest.fixture(scope="module")
def selections() -> list[SpecimenSelection]:
    return [selection_of(seed=seed) for seed in range(8)]


@pytest.mark.parametrize("slices", [1, 2, 3, 7, 30, 100])
def test_known_specimens_of_any_number_of_slices_are_rarely_flagged(
    slices: int, selections: list[SpecimenSelection]
) -> None:
    known = slices_of(400, (slices,), 7)
    assert np.mean([(selection.score(known) > 0).mean() for selection in selections]) <= UNKNOWN_SHARE


def test_unknown_specimens_of_more_slices_are_flagged_more_often(selections: list[SpecimenSelection]) -> None:
    shares = [
        np.mean([(selection.score(slices_of(200, (slices,), 9, 2.0)) > 0).mean() for selection in selections])
        for slices in (1, 4, 30)
    ]
    assert shares == sorted(shares)
    assert shares[-1] > 0.95


def test_one_slice_is_flagged_as_a_specimen_only_if_it_is_as_a_slice(selections: list[SpecimenSelection]) -> None:
    scores = np.linspace(-3, 6, 200)
    for selection in selections:
        assert all(score > SLICE_THRESHOLD for score in scores if selection.threshold.score([score]) > 0)


def test_the_simplest_aggregation_is_selected_of_those_that_separate_alike() -> None:
    ties = fit_specimen_threshold([slices_of(30, (8,), 0)], slices_of(30, (8,), 1, 50.0), SLICE_THRESHOLD)
    assert sum(area == 1 for area in ties.separation.values()) > 1
    assert ties.threshold.aggregation == "mean"


def test_a_few_strange_slices_need_another_aggregation_than_the_mean() -> None:
    known, unknown = slices_of(60, (16,), 0), slices_of(60, (16,), 1)
    scores = np.where(np.arange(len(unknown.scores)) % 16 < 3, unknown.scores + 4, unknown.scores - 0.9)
    selection = fit_specimen_threshold([known], SlicesOfSpecimens(scores, unknown.specimens), SLICE_THRESHOLD)
    assert selection.threshold.aggregation in ("upper_quarter", "share_above")
    assert selection.separation["upper_quarter"] > selection.separation["mean"] + 0.1


def test_too_few_specimens_promise_no_more_than_they_can() -> None:
    few, enough = selection_of(5).threshold, selection_of(19).threshold
    assert (few.specimens, few.flagged_known) == (5, pytest.approx(1 / 6))
    assert (enough.specimens, enough.flagged_known) == (19, UNKNOWN_SHARE)
    assert selection_of(1, (1,)).threshold.flagged_known == 0.5


def test_thresholds_end_where_half_of_the_specimens_have_fewer_slices() -> None:
    assert selection_of(40, (1,)).threshold.slices == (1,)
    assert selection_of(40, (30, 3)).threshold.slices == (1, 2, 4, 8, 16)
    assert selection_of(40, (30, 3, 3)).threshold.slices == (1, 2)


def test_another_known_view_raises_the_thresholds() -> None:
    known, unknown = slices_of(48, (8,), 0), slices_of(48, (8,), 1, 3.0)
    grey = SlicesOfSpecimens(known.scores + 0.5, known.specimens)
    alone = fit_specimen_threshold([known], unknown, SLICE_THRESHOLD).threshold
    both = fit_specimen_threshold([known, grey], unknown, SLICE_THRESHOLD).threshold
    assert (both.slices, both.specimens) == (alone.slices, alone.specimens)
    assert both.thresholds[-1] > alone.thresholds[-1]


def test_the_quantile_counts_a_further_specimen_as_the_highest() -> None:
    values = np.random.default_rng(0).permutation(48)[:, None].astype(np.float64)
    assert conformal_quantile(values) == 46.0  # rank 47 of 49
    assert conformal_quantile(values[:10]) == values[:10].max()


def test_validation_specimens_are_measured_without_their_own_thresholds() -> None:
    shares, own_shares = [], []
    for seed in range(4):
        validation = slices_of(24, (4,), seed)
        selection = fit_specimen_threshold([validation], slices_of(24, (4,), seed + 50, 3.0), SLICE_THRESHOLD)
        shares.append((selection.cross_fit(validation) > 0).mean())
        own_shares.append((selection.score(validation) > 0).mean())
    assert np.mean(own_shares) < np.mean(shares) <= 2 * UNKNOWN_SHARE


def test_fitting_twice_gives_the_same_thresholds() -> None:
    assert selection_of() == selection_of()


def test_results_count_specimens_by_unseen_species() -> None:
    selection = selection_of()
    known, unseen = slices_of(100, (30,), 5), slices_of(40, (30,), 6, 1.5)
    result = SpecimenResult(selection.threshold, selection.score(known))
    assert result.scores()["unknown_specimen_auroc"] is None
    species = np.where(unseen.specimens < "specimen-00010", "Uvula", "Vulva")
    result = result.with_unseen(unseen, species)
    scores = result.scores()
    assert scores["unknown_specimens"] == 40
    assert scores["unknown_specimen_auroc"] == pytest.approx(1.0, abs=0.01)
    assert {name: count for name, (count, _) in result.by_species().items()} == {"Uvula": 10, "Vulva": 30}
    flagged = sum(count * share for count, share in result.by_species().values())
    assert flagged / 40 == pytest.approx(scores["unknown_specimens_flagged_unseen"])
