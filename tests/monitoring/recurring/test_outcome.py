"""The outcome of a drift check states the drift and what follows."""

from pathlib import Path

import pytest
from kfp import dsl

from monitoring.component import outcome
from monitoring.drift.status import STATES
from monitoring.recurring.outcome import drift_sentence


def test_every_state_of_the_monitor_has_a_sentence() -> None:
    sentences = {drift_sentence(state, retrain=False) for state in STATES}
    assert len(sentences) == len(STATES)
    assert all(sentence.endswith(".") and "_" not in sentence for sentence in sentences)


@pytest.mark.parametrize(("retrain", "words"), [(True, "This run trains a new model"), (False, "Slices to label are")])
def test_the_outcome_states_the_drift_and_what_follows(retrain: bool, words: str, tmp_path: Path) -> None:
    check = dsl.Dataset(uri=str(tmp_path / "check"), metadata={"state": "sustained_drift", "version": 3.0})
    metrics, summary = dsl.Metrics(uri=str(tmp_path / "metrics")), dsl.Markdown(uri=str(tmp_path / "outcome.md"))
    outcome.python_func(check=check, name="forams", retrain=retrain, metrics=metrics, summary=summary)
    text = Path(summary.path).read_text()
    assert text.startswith("# forams: Drift is sustained.")
    assert words in text
    assert "| checked version | 3 |" in text
    assert metrics.metadata == {"checked_version": 3, "drift_sustained": 1.0}
