"""The recurring check on stored events."""

from pathlib import Path

import pandas as pd
import pytest

from components.shared.errors import BadConfigError, BadInputError
from monitoring.config import MonitorConfig
from monitoring.drift.status import INSUFFICIENT_DATA, SUSTAINED_DRIFT
from monitoring.recurring.check import check, check_config, read_drifted, scores, write_check
from tests.monitoring.drift_traffic import MODEL, append_events, events_of


def test_consecutive_drifted_windows_are_sustained_drift(
    config: MonitorConfig, clean: pd.DataFrame, drifted_slices: dict[str, pd.DataFrame]
) -> None:
    blur = events_of(drifted_slices["blur"].head(128))
    append_events(config.events / "events-1.jsonl", [*events_of(clean.head(64)), *blur])
    result = check(MODEL, 3, config)
    assert (result.state, result.consecutive_drifted, len(result.verdicts)) == (SUSTAINED_DRIFT, 2, 3)
    assert scores(result)["consecutive_drifted_windows"] == 2
    write_check(result, config.out)
    assert read_drifted(config.out) == list(result.drifted_events)
    assert result.drifted_events == (*result.windows[1].events, *result.windows[2].events)


def test_a_model_without_events_has_insufficient_data(config: MonitorConfig) -> None:
    result = check(MODEL, 2, config)
    assert (result.version, result.state, result.pending_slices) == (2, INSUFFICIENT_DATA, 0)


def test_an_unknown_model_is_refused_by_name(config: MonitorConfig) -> None:
    with pytest.raises(BadInputError, match="'other'"):
        check("other", 2, config)


@pytest.mark.parametrize("windows", [1, 101])
def test_a_number_of_windows_out_of_range_is_refused(config: MonitorConfig, windows: int) -> None:
    with pytest.raises(BadConfigError, match=f"windows {windows}"):
        check(MODEL, windows, config)


def test_an_invalid_parameter_is_refused_by_name(config: MonitorConfig) -> None:
    with pytest.raises(BadConfigError, match="window_slices"):
        check_config(events=str(config.events), repository=str(config.repository), window_slices=0)


def test_the_check_reads_its_models_from_an_object_store(
    config: MonitorConfig, clean: pd.DataFrame, tmp_path: Path
) -> None:
    parameters = {"events": str(config.events), "window_slices": 60, "window_specimens": 8}
    append_events(config.events / "events-1.jsonl", events_of(clean.head(20)))
    remote_config = check_config(repository=f"file://{config.repository}", **parameters)
    result = check(MODEL, 2, remote_config)
    assert (result.version, result.pending_slices) == (1, 20)
    with pytest.raises(BadInputError, match=r"file://\S+/nowhere contains no served model"):
        check_config(repository=f"file://{tmp_path}/nowhere", **parameters)
