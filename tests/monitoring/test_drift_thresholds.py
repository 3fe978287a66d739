"""Thresholds that know that slices of one specimen are alike."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from monitoring.drift.calibration import SMALLEST_THRESHOLD, calibrate, common_thresholds, draw
from monitoring.drift.detector import compare
from monitoring.drift.distances import PseudoWindows, jensen_shannon, normed_wasserstein
from monitoring.drift.features import CONTRASTS, DOMINANT, NAMES, STRANGE, TOGETHER
from monitoring.drift.reference import Profile
from monitoring.drift.window_features import Contrasts
from tests.monitoring.drift_traffic import FEATURES, SLICE_FEATURES, drift_score, events_of

WINDOW = (8,) * 10


@pytest.fixture(scope="module")
def features(profile: Profile) -> pd.DataFrame:
    return profile.features


@pytest.fixture(scope="module")
def drawn(features: pd.DataFrame) -> PseudoWindows:
    return draw(features["specimen"], WINDOW, 5, np.random.default_rng(0))


def test_a_pseudo_window_holds_whole_specimens_that_the_rest_lacks(
    features: pd.DataFrame, drawn: PseudoWindows
) -> None:
    for window, rest in zip(drawn.window, drawn.rest, strict=True):
        inside, outside = set(features["specimen"][window > 0]), set(features["specimen"][rest > 0])
        assert len(inside) == len(WINDOW)
        assert inside.isdisjoint(outside)
        assert inside | outside == set(features["specimen"])
    assert np.allclose(drawn.window.sum(axis=1), 1)
    assert np.allclose(drawn.rest.sum(axis=1), 1)


def test_a_small_reference_keeps_half_of_its_specimens_to_compare_with(features: pd.DataFrame) -> None:
    few = features["specimen"][features["specimen"].isin(features["specimen"].unique()[:8])]
    drawn = draw(few, (8,) * 50, 3, np.random.default_rng(0))
    assert few[drawn.window[0] > 0].nunique() == 4


def test_the_fast_scores_are_scipys(features: pd.DataFrame, drawn: PseudoWindows) -> None:
    sharpness, species = features["sharpness"].to_numpy(), features["species"].to_numpy(str)
    fast, shares = normed_wasserstein(sharpness, drawn), jensen_shannon(species, drawn)
    names = np.unique(species)
    for row, (window, rest) in enumerate(zip(drawn.window, drawn.rest, strict=True)):
        slow = wasserstein_distance(sharpness, sharpness, window, rest) / np.std(sharpness[rest > 0])
        assert fast[row] == pytest.approx(slow, rel=1e-9)
        slow = jensenshannon(*([side[species == name].sum() for name in names] for side in (window, rest)))
        assert shares[row] == pytest.approx(slow, rel=1e-9)


def test_the_fast_scores_are_evidentlys(features: pd.DataFrame) -> None:
    drawn = draw(features["specimen"], WINDOW, 1, np.random.default_rng(1))
    repeats = np.round(drawn.window[0] * sum(WINDOW)).astype(int)
    window, rest = features.loc[features.index.repeat(repeats)], features[drawn.rest[0] > 0]
    scores = evidently_scores(window, rest, SLICE_FEATURES)
    for name, score in scores.items():
        if name in NAMES:
            expected = jensen_shannon(features[name].to_numpy(str), drawn)[0]
        else:
            expected = normed_wasserstein(features[name].to_numpy(float), drawn)[0]
        assert score == pytest.approx(expected, rel=1e-6), name


def evidently_scores(window: pd.DataFrame, reference: pd.DataFrame, names: tuple[str, ...]) -> dict[str, float]:
    snapshot = compare(window, reference, dict.fromkeys(names, 0.1), "a test")
    scores = {m["config"]["column"]: m["value"] for m in snapshot.dict()["metrics"] if "column" in m["config"]}
    assert set(scores) == set(names)
    return scores


def test_the_fast_scores_of_the_window_as_a_whole_are_evidentlys(features: pd.DataFrame) -> None:
    """A window of traffic that holds the reference's own slices scores what the same pseudo-window does."""
    contrasts, drawn = Contrasts(features), draw(features["specimen"], WINDOW, 1, np.random.default_rng(1))
    repeats = np.round(drawn.window[0] * sum(WINDOW)).astype(int)
    window = features.loc[features.index.repeat(repeats)].reset_index(drop=True)
    whole = PseudoWindows(drawn.window, np.full_like(drawn.rest, 1 / len(features)))
    fast, columns = contrasts.resampled(whole), contrasts.columns(window)
    scores = evidently_scores(*columns, tuple(CONTRASTS))
    assert list(fast) == list(CONTRASTS)
    for name in (STRANGE, TOGETHER):
        assert scores[name] == pytest.approx(fast[name][0], rel=1e-6), name
    shares = window["species"].value_counts(normalize=True), features["species"].value_counts(normalize=True)
    most = (shares[0] - shares[1]).idxmax()
    pair = ([side[most], 1 - side[most]] for side in shares)
    assert scores[DOMINANT] == pytest.approx(jensenshannon(*pair), rel=1e-6)


@pytest.mark.parametrize("specimens", [12, 42])
def test_mixes_drawn_at_random_are_no_dominant_species_however_small_the_reference(
    features: pd.DataFrame, specimens: int
) -> None:
    few = features[features["specimen"].isin(features["specimen"].unique()[:specimens])].reset_index(drop=True)
    drawn = draw(few["specimen"], (8,) * 6, 2000, np.random.default_rng(0))
    threshold = np.quantile(Contrasts(few).resampled(drawn)[DOMINANT], 0.98)
    rng, by_specimen = np.random.default_rng(1), [found for _, found in few.groupby("specimen")]
    usual = few["species"].value_counts(normalize=True)
    alarms = 0
    for _ in range(300):
        mix = pd.concat([by_specimen[number] for number in rng.integers(specimens, size=6)])["species"]
        shares = mix.value_counts(normalize=True)
        most = (shares - usual.reindex(shares.index)).idxmax()
        alarms += jensenshannon([shares[most], 1 - shares[most]], [usual[most], 1 - usual[most]]) > threshold
    assert alarms <= 15


def test_the_window_as_a_whole_shows_what_no_single_slice_does(features: pd.DataFrame) -> None:
    rng = np.random.default_rng(5)
    specimens = rng.choice(features["specimen"].unique(), 20, replace=False)
    window = features[features["specimen"].isin(specimens)].reset_index(drop=True)
    often = window["species"].value_counts().index[0]
    changed = window.assign(
        species=np.where(rng.random(len(window)) < 0.6, often, window["species"]),
        embedding_distance=window["embedding_distance"] * np.where(window["specimen"].isin(specimens[:5]), 9, 1),
        noise_level=window["noise_level"] + 0.4 * features["noise_level"].std(),
        sharpness=window["sharpness"] - 0.4 * features["sharpness"].std(),
    )
    contrasts = Contrasts(features)
    (found, reference), (usual, _) = contrasts.columns(changed), contrasts.columns(window)
    assert set(found[DOMINANT]) == {often, "the others"}
    assert found.loc[changed["specimen"].isin(specimens[:5]), STRANGE].eq("strange").all()
    assert usual[STRANGE].eq("strange").mean() < 0.2
    shift = (found[TOGETHER].mean() - reference[TOGETHER].mean()) / reference[TOGETHER].std()
    assert shift > 0.6


def test_the_same_seed_gives_the_same_thresholds_and_another_seed_nearly_the_same(features: pd.DataFrame) -> None:
    first, same, other = (calibrate(features, WINDOW, 0.01, 1000, seed) for seed in (0, 0, 1))
    assert first == same
    assert first != other
    for name, threshold in first.items():
        assert other[name] == pytest.approx(threshold, rel=0.4)


def test_more_specimens_make_lower_thresholds(features: pd.DataFrame) -> None:
    few, many = (calibrate(features, (8,) * count, 0.01, 500, 0) for count in (4, 16))
    assert all(many[name] <= few[name] for name in FEATURES)
    assert sum(many.values()) < 0.8 * sum(few.values())


def test_a_feature_that_never_varies_gets_evidentlys_threshold(features: pd.DataFrame) -> None:
    assert calibrate(features.assign(unknown="known"), WINDOW, 0.01, 200, 0)["unknown"] == SMALLEST_THRESHOLD


def test_thresholds_are_reached_by_no_more_rows_than_asked_however_many_scores_are_equal() -> None:
    rng = np.random.default_rng(0)
    fine, counts = rng.normal(1, 0.1, (2000, 5)), rng.binomial(12, 0.05, (2000, 3)) / 12
    scores = np.column_stack([fine, counts])
    thresholds = common_thresholds(scores, 0.01)
    alarms = (scores >= thresholds).any(axis=1).mean()
    assert 0.005 <= alarms <= 0.01
    shares = (scores >= thresholds).mean(axis=0)
    assert shares.max() <= 0.004
    assert (shares[:5] > 0).all()
    assert (scores[:100] < common_thresholds(scores[:100], 0.01)).all()


def clean_windows(profile: Profile, clean: pd.DataFrame, count: int) -> Iterator[pd.DataFrame]:
    rng = np.random.default_rng(2)
    for _ in range(count):
        chosen = rng.choice(clean["specimen"].unique(), len(WINDOW), replace=False)
        yield profile.traffic_features(events_of(clean[clean["specimen"].isin(chosen)]))


def test_clean_windows_of_new_specimens_raise_hardly_any_false_alarm_where_usual_thresholds_nearly_always_do(
    profile: Profile, features: pd.DataFrame, clean: pd.DataFrame
) -> None:
    thresholds, contrasts = calibrate(features, WINDOW, 0.01, 1000, 0), Contrasts(features)
    alarms = usual = 0
    for traffic in clean_windows(profile, clean, 40):
        found, beside = contrasts.columns(traffic)
        window, reference = traffic.join(found), features.join(beside)
        scores = {name: drift_score(reference[name], window[name]) for name in FEATURES}
        alarms += any(scores[name] >= thresholds[name] for name in FEATURES)
        usual += any(scores[name] >= SMALLEST_THRESHOLD for name in FEATURES)
    assert alarms <= 2
    assert usual >= 38
