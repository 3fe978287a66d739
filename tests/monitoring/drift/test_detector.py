"""Window verdicts: clean traffic has no drift, traffic with artefacts has, by Evidently's scores."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from components.shared.images.descriptors import DESCRIPTORS
from monitoring.config import MonitorConfig
from monitoring.drift.detector import WindowVerdict, evaluate_window
from monitoring.drift.reference import ReferenceProfile
from monitoring.drift.results import read_result
from tests.monitoring.drift_traffic import FEATURES, events_of, window_of

Evaluate = Callable[[pd.DataFrame], WindowVerdict]


@pytest.fixture
def evaluate(profile: ReferenceProfile, config: MonitorConfig) -> Evaluate:
    return partial(evaluate_predictions, profile=profile, config=config)


def evaluate_predictions(predictions: pd.DataFrame, profile: ReferenceProfile, config: MonitorConfig) -> WindowVerdict:
    return evaluate_window(window_of(events_of(predictions)), profile, config)


def test_new_specimens_without_artefacts_are_no_drift(evaluate: Evaluate, clean: pd.DataFrame) -> None:
    result = evaluate(clean.head(96)).result
    assert result.drifted == ()
    assert (result.slices, result.specimens) == (96, 12)
    assert [feature.feature for feature in result.features] == list(FEATURES)


@pytest.mark.parametrize(
    ("artefact", "feature"), [("noise", "noise_level"), ("blur", "sharpness"), ("contrast", "intensity_contrast")]
)
def test_an_artefact_is_drift_of_its_descriptor(
    evaluate: Evaluate, drifted_slices: dict[str, pd.DataFrame], artefact: str, feature: str
) -> None:
    result = evaluate(drifted_slices[artefact].head(96)).result
    assert feature in [each.feature for each in result.drifted]


def test_one_dominant_species_is_drift_of_the_species_mix(evaluate: Evaluate, clean: pd.DataFrame) -> None:
    easiest = (clean["species"] == clean["truth"]).groupby(clean["truth"]).mean().idxmax()
    one = clean[clean["truth"] == easiest]
    result = evaluate(one).result
    assert "species" in [each.feature for each in result.drifted]
    assert max(result.species_ratios.values()) > 0.5
    assert sum(result.species_ratios.values()) == pytest.approx(1.0)


def test_events_without_embeddings_are_compared_on_other_features(evaluate: Evaluate, clean: pd.DataFrame) -> None:
    result = evaluate(clean.head(96).assign(embedding=[[] for _ in range(96)])).result
    without = {"embedding_distance", "neighbour_distance", "outlier_specimens"}
    assert {feature.feature for feature in result.features} == set(FEATURES) - without


def test_a_window_of_black_slices_is_drift(evaluate: Evaluate, clean: pd.DataFrame) -> None:
    black = clean.head(96).assign(**dict.fromkeys(DESCRIPTORS, 0.0), confidence=1.0, species="Alveolina", unknown=False)
    result = evaluate(black).result
    assert {"sharpness", "intensity_mean", "species"} <= {feature.feature for feature in result.drifted}


@pytest.mark.parametrize("content", ["{", '{"schema": "taxonflow.drift-window/1"}'], ids=["damaged", "earlier schema"])
def test_an_unreadable_result_is_treated_as_missing(tmp_path: Path, content: str) -> None:
    (tmp_path / "window-forams-v1-000001.json").write_text(content)
    assert read_result(tmp_path, "forams-v1-000001") is None
