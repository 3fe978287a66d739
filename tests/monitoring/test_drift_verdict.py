"""The verdict: clean traffic passes, corrupted traffic does not, by Evidently's own scores."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from components.shared.images.descriptors import DESCRIPTORS
from monitoring.config import MonitorConfig
from monitoring.drift.detector import Judgement, judge
from monitoring.drift.reference import Profile
from monitoring.drift.results import read_result
from monitoring.service.window_store import write_window
from tests.monitoring.drift_traffic import FEATURES, events_of, window_of

Judge = Callable[[pd.DataFrame], Judgement]


@pytest.fixture
def verdict(profile: Profile, config: MonitorConfig) -> Judge:
    return partial(judge_answers, profile=profile, config=config)


def judge_answers(answers: pd.DataFrame, profile: Profile, config: MonitorConfig) -> Judgement:
    return judge(window_of(events_of(answers)), profile, config)


def test_new_specimens_scanned_as_usual_are_no_drift(verdict: Judge, clean: pd.DataFrame) -> None:
    result = verdict(clean.head(96)).result
    assert result.drifted == ()
    assert (result.slices, result.specimens) == (96, 12)
    assert [feature.feature for feature in result.features] == list(FEATURES)


@pytest.mark.parametrize(
    ("artefact", "feature"), [("noise", "noise_level"), ("blur", "sharpness"), ("contrast", "intensity_contrast")]
)
def test_an_artefact_is_drift_and_shows_in_its_descriptor(
    verdict: Judge, corrupted: dict[str, pd.DataFrame], artefact: str, feature: str
) -> None:
    result = verdict(corrupted[artefact].head(96)).result
    assert feature in [each.feature for each in result.drifted]


def test_one_dominant_species_is_drift_of_the_predictions(verdict: Judge, clean: pd.DataFrame) -> None:
    best_known = (clean["species"] == clean["truth"]).groupby(clean["truth"]).mean().idxmax()
    one = clean[clean["truth"] == best_known]
    result = verdict(one).result
    assert "species" in [each.feature for each in result.drifted]
    assert max(result.species_shares.values()) > 0.5
    assert sum(result.species_shares.values()) == pytest.approx(1.0)


def test_events_without_embeddings_are_compared_by_everything_else(verdict: Judge, clean: pd.DataFrame) -> None:
    result = verdict(clean.head(96).assign(embedding=[[] for _ in range(96)])).result
    without = {"embedding_distance", "neighbour_distance", "strange_specimens"}
    assert {feature.feature for feature in result.features} == set(FEATURES) - without


def test_a_window_of_black_slices_is_drift_not_an_accident(verdict: Judge, clean: pd.DataFrame) -> None:
    black = clean.head(96).assign(**dict.fromkeys(DESCRIPTORS, 0.0), confidence=1.0, species="Alveolina", unknown=False)
    result = verdict(black).result
    assert {"sharpness", "intensity_mean", "species"} <= {feature.feature for feature in result.drifted}


def test_the_report_is_one_file_that_needs_no_network(
    verdict: Judge, clean: pd.DataFrame, config: MonitorConfig
) -> None:
    judgement = verdict(clean.head(96))
    path = write_window(judgement, config)
    page = path.read_text()
    assert re.findall(r'<(?:script|link|img|iframe)[^>]+(?:src|href)="?https?:', page) == []
    assert all(feature in page for feature in FEATURES)
    assert (config.out / "latest.html").read_text() == page
    assert read_result(config.out, judgement.result.name) == judgement.result


def test_old_reports_make_room(verdict: Judge, clean: pd.DataFrame, config: MonitorConfig) -> None:
    judgement = verdict(clean.head(96))
    few = config.model_copy(update={"kept_reports": 2, "kept_windows": 3})
    for number in range(1, 5):
        numbered = judgement.result.model_copy(update={"number": number})
        write_window(Judgement(numbered, judgement.snapshot), few)
    assert sorted(path.name for path in config.out.glob("report-*")) == [
        "report-forams-v1-000003.html",
        "report-forams-v1-000004.html",
    ]
    assert len(list(config.out.glob("window-*"))) == 3


def test_a_damaged_result_is_taken_as_gone(tmp_path: Path) -> None:
    (tmp_path / "window-forams-v1-000001.json").write_text("{")
    assert read_result(tmp_path, "forams-v1-000001") is None
