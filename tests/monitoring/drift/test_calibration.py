"""Drift thresholds that account for the similarity of slices of one specimen."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from monitoring.drift.calibration import SMALLEST_THRESHOLD, calibrate, draw_pseudo_windows, familywise_thresholds
from monitoring.drift.detector import drift_report
from monitoring.drift.distances import PseudoWindows, jensen_shannon, normed_wasserstein
from monitoring.drift.features import (
    CATEGORICAL_FEATURES,
    COMBINED_DESCRIPTORS,
    DOMINANT_SPECIES,
    OUTLIER_SPECIMENS,
    WINDOW_FEATURES,
)
from monitoring.drift.reference import ReferenceProfile
from monitoring.drift.window_features import WindowFeatures
from tests.monitoring.drift_traffic import FEATURES, SLICE_FEATURES, drift_score, events_of

WINDOW = (8,) * 10


@pytest.fixture(scope="module")
def features(profile: ReferenceProfile) -> pd.DataFrame:
    return profile.features


@pytest.fixture(scope="module")
def windows(features: pd.DataFrame) -> PseudoWindows:
    return draw_pseudo_windows(features["specimen"], WINDOW, 5, np.random.default_rng(0))


def test_a_pseudo_window_has_whole_specimens_missing_in_the_rest(
    features: pd.DataFrame, windows: PseudoWindows
) -> None:
    for window, rest in zip(windows.window, windows.rest, strict=True):
        inside, outside = set(features["specimen"][window > 0]), set(features["specimen"][rest > 0])
        assert len(inside) == len(WINDOW)
        assert inside.isdisjoint(outside)
        assert inside | outside == set(features["specimen"])
    assert np.allclose(windows.window.sum(axis=1), 1)
    assert np.allclose(windows.rest.sum(axis=1), 1)


def test_half_of_a_small_reference_is_left_to_compare_with(features: pd.DataFrame) -> None:
    few = features["specimen"][features["specimen"].isin(features["specimen"].unique()[:8])]
    windows = draw_pseudo_windows(few, (8,) * 50, 3, np.random.default_rng(0))
    assert few[windows.window[0] > 0].nunique() == 4


def test_scores_equal_those_of_scipy(features: pd.DataFrame, windows: PseudoWindows) -> None:
    sharpness, species = features["sharpness"].to_numpy(), features["species"].to_numpy(str)
    fast, shares = normed_wasserstein(sharpness, windows), jensen_shannon(species, windows)
    names = np.unique(species)
    for row, (window, rest) in enumerate(zip(windows.window, windows.rest, strict=True)):
        slow = wasserstein_distance(sharpness, sharpness, window, rest) / np.std(sharpness[rest > 0])
        assert fast[row] == pytest.approx(slow, rel=1e-9)
        slow = jensenshannon(*([side[species == name].sum() for name in names] for side in (window, rest)))
        assert shares[row] == pytest.approx(slow, rel=1e-9)


def test_scores_equal_those_of_evidently(features: pd.DataFrame) -> None:
    windows = draw_pseudo_windows(features["specimen"], WINDOW, 1, np.random.default_rng(1))
    repeats = np.round(windows.window[0] * sum(WINDOW)).astype(int)
    window, rest = features.loc[features.index.repeat(repeats)], features[windows.rest[0] > 0]
    scores = evidently_scores(window, rest, SLICE_FEATURES)
    for name, score in scores.items():
        if name in CATEGORICAL_FEATURES:
            own = jensen_shannon(features[name].to_numpy(str), windows)[0]
        else:
            own = normed_wasserstein(features[name].to_numpy(float), windows)[0]
        assert score == pytest.approx(own, rel=1e-6), name


def evidently_scores(window: pd.DataFrame, reference: pd.DataFrame, names: tuple[str, ...]) -> dict[str, float]:
    snapshot = drift_report(window, reference, dict.fromkeys(names, 0.1), "a test")
    scores = {m["config"]["column"]: m["value"] for m in snapshot.dict()["metrics"] if "column" in m["config"]}
    assert set(scores) == set(names)
    return scores


def test_scores_of_window_features_equal_those_of_evidently(features: pd.DataFrame) -> None:
    """Compare a window of the reference's own slices with the same pseudo-window."""
    window_features, windows = (
        WindowFeatures(features),
        draw_pseudo_windows(features["specimen"], WINDOW, 1, np.random.default_rng(1)),
    )
    repeats = np.round(windows.window[0] * sum(WINDOW)).astype(int)
    window = features.loc[features.index.repeat(repeats)].reset_index(drop=True)
    whole = PseudoWindows(windows.window, np.full_like(windows.rest, 1 / len(features)))
    fast, columns = window_features.resampled(whole), window_features.columns(window)
    scores = evidently_scores(*columns, tuple(WINDOW_FEATURES))
    assert list(fast) == list(WINDOW_FEATURES)
    for name in (OUTLIER_SPECIMENS, COMBINED_DESCRIPTORS):
        assert scores[name] == pytest.approx(fast[name][0], rel=1e-6), name
    shares = window["species"].value_counts(normalize=True), features["species"].value_counts(normalize=True)
    most = (shares[0] - shares[1]).idxmax()
    pair = ([side[most], 1 - side[most]] for side in shares)
    assert scores[DOMINANT_SPECIES] == pytest.approx(jensenshannon(*pair), rel=1e-6)


@pytest.mark.parametrize("specimens", [12, 42])
def test_random_species_mixes_have_no_dominant_species(features: pd.DataFrame, specimens: int) -> None:
    few = features[features["specimen"].isin(features["specimen"].unique()[:specimens])].reset_index(drop=True)
    windows = draw_pseudo_windows(few["specimen"], (8,) * 6, 2000, np.random.default_rng(0))
    threshold = np.quantile(WindowFeatures(few).resampled(windows)[DOMINANT_SPECIES], 0.98)
    rng, by_specimen = np.random.default_rng(1), [table for _, table in few.groupby("specimen")]
    usual = few["species"].value_counts(normalize=True)
    alarms = 0
    for _ in range(300):
        mix = pd.concat([by_specimen[number] for number in rng.integers(specimens, size=6)])["species"]
        shares = mix.value_counts(normalize=True)
        most = (shares - usual.reindex(shares.index)).idxmax()
        alarms += jensenshannon([shares[most], 1 - shares[most]], [usual[most], 1 - usual[most]]) > threshold
    assert alarms <= 15


def test_window_features_show_differences_of_whole_windows(features: pd.DataFrame) -> None:
    rng = np.random.default_rng(5)
    specimens = rng.choice(features["specimen"].unique(), 20, replace=False)
    window = features[features["specimen"].isin(specimens)].reset_index(drop=True)
    dominant = window["species"].value_counts().index[0]
    drift = window.assign(
        species=np.where(rng.random(len(window)) < 0.6, dominant, window["species"]),
        embedding_distance=window["embedding_distance"] * np.where(window["specimen"].isin(specimens[:5]), 9, 1),
        noise_level=window["noise_level"] + 0.4 * features["noise_level"].std(),
        sharpness=window["sharpness"] - 0.4 * features["sharpness"].std(),
    )
    window_features = WindowFeatures(features)
    (current, reference), (typical, _) = window_features.columns(drift), window_features.columns(window)
    assert set(current[DOMINANT_SPECIES]) == {dominant, "other"}
    assert current.loc[drift["specimen"].isin(specimens[:5]), OUTLIER_SPECIMENS].eq("outlier").all()
    assert typical[OUTLIER_SPECIMENS].eq("outlier").mean() < 0.2
    shift = (current[COMBINED_DESCRIPTORS].mean() - reference[COMBINED_DESCRIPTORS].mean()) / reference[
        COMBINED_DESCRIPTORS
    ].std()
    assert shift > 0.6


def test_thresholds_are_deterministic_and_vary_little_with_the_seed(features: pd.DataFrame) -> None:
    first, same, other = (calibrate(features, WINDOW, 0.01, 1000, seed) for seed in (0, 0, 1))
    assert first == same
    assert first != other
    for name, threshold in first.items():
        assert other[name] == pytest.approx(threshold, rel=0.4)


def test_more_specimens_lower_the_thresholds(features: pd.DataFrame) -> None:
    few, many = (calibrate(features, (8,) * count, 0.01, 500, 0) for count in (4, 16))
    assert all(many[name] <= few[name] for name in FEATURES)
    assert sum(many.values()) < 0.8 * sum(few.values())


def test_a_constant_feature_gets_the_default_threshold(features: pd.DataFrame) -> None:
    assert calibrate(features.assign(unknown="known"), WINDOW, 0.01, 200, 0)["unknown"] == SMALLEST_THRESHOLD


def test_thresholds_keep_the_false_alarm_rate_with_tied_scores() -> None:
    rng = np.random.default_rng(0)
    fine, counts = rng.normal(1, 0.1, (2000, 5)), rng.binomial(12, 0.05, (2000, 3)) / 12
    scores = np.column_stack([fine, counts])
    thresholds = familywise_thresholds(scores, 0.01)
    alarms = (scores >= thresholds).any(axis=1).mean()
    assert 0.005 <= alarms <= 0.01
    shares = (scores >= thresholds).mean(axis=0)
    assert shares.max() <= 0.004
    assert (shares[:5] > 0).all()
    assert (scores[:100] < familywise_thresholds(scores[:100], 0.01)).all()


def clean_windows(profile: ReferenceProfile, clean: pd.DataFrame, count: int) -> Iterator[pd.DataFrame]:
    rng = np.random.default_rng(2)
    for _ in range(count):
        specimens = rng.choice(clean["specimen"].unique(), len(WINDOW), replace=False)
        yield profile.traffic_features(events_of(clean[clean["specimen"].isin(specimens)]))


def test_clean_windows_rarely_drift_but_usually_do_by_default_thresholds(
    profile: ReferenceProfile, features: pd.DataFrame, clean: pd.DataFrame
) -> None:
    thresholds, window_features = calibrate(features, WINDOW, 0.01, 1000, 0), WindowFeatures(features)
    alarms = default_alarms = 0
    for traffic in clean_windows(profile, clean, 40):
        columns, reference_columns = window_features.columns(traffic)
        window, reference = traffic.join(columns), features.join(reference_columns)
        scores = {name: drift_score(reference[name], window[name]) for name in FEATURES}
        alarms += any(scores[name] >= thresholds[name] for name in FEATURES)
        default_alarms += any(scores[name] >= SMALLEST_THRESHOLD for name in FEATURES)
    assert alarms <= 2
    assert default_alarms >= 38
