"""The watch over event files: what is judged, what is remembered, what goes wrong without harm."""

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from components.shared.contracts import DriftEvent
from components.shared.errors import BadInputError, ContractError
from monitoring.config import MonitorConfig
from monitoring.monitor import Monitor
from monitoring.status import DRIFT, NO_DRIFT, SUSTAINED, TOO_LITTLE

Make = Callable[..., list[DriftEvent]]
Append = Callable[[Path, Iterable[DriftEvent]], None]


@pytest.fixture
def log(config: MonitorConfig) -> Path:
    return config.events / "events-20261121T000000-0000.jsonl"


def faults(monitor: Monitor) -> dict[str, int]:
    return dict(monitor.status.faults)


def test_too_little_data_is_a_state_of_its_own(
    config: MonitorConfig, log: Path, clean: pd.DataFrame, make_events: Make, append: Append
) -> None:
    monitor = Monitor(config)
    assert monitor.poll() == []
    append(log, make_events(clean.head(1)))
    assert monitor.poll() == []
    (model,) = monitor.status.models
    assert (model.state, model.pending_slices, model.pending_specimens) == (TOO_LITTLE, 1, 1)
    assert model.result is None


def test_clean_traffic_then_corrupted_traffic_goes_through_the_states(
    config: MonitorConfig,
    log: Path,
    clean: pd.DataFrame,
    corrupted: dict[str, pd.DataFrame],
    make_events: Make,
    append: Append,
) -> None:
    monitor, states = Monitor(config), []
    for answers in (clean.head(64), corrupted["blur"].head(64), corrupted["blur"].iloc[64:128], clean.iloc[64:128]):
        append(log, make_events(answers))
        (result,) = monitor.poll()
        assert monitor.report_of(result).is_file()
        states.append(monitor.status.models[0].state)
    assert states == [NO_DRIFT, DRIFT, SUSTAINED, NO_DRIFT]


def test_a_restart_counts_no_event_twice_and_loses_none(
    config: MonitorConfig, log: Path, clean: pd.DataFrame, make_events: Make, append: Append
) -> None:
    events = make_events(clean)
    undisturbed = config.model_copy(update={"out": config.out.with_name("undisturbed")})
    results = []
    for start in range(0, 200, 25):
        append(log, events[start : start + 25])
        results += Monitor(config).poll()
    whole = Monitor(undisturbed).poll()
    assert len(whole) == 3
    assert results == whole
    assert Monitor(config).status.models[0].result == whole[-1]


def test_windows_of_two_versions_that_answer_side_by_side_are_kept_apart(
    config: MonitorConfig, log: Path, clean: pd.DataFrame, make_events: Make, append: Append
) -> None:
    old, new = make_events(clean.head(80), version=1), make_events(clean.iloc[80:130], version=2)
    results = []
    for start in range(0, 80, 10):
        append(log, old[start : start + 10])
        append(log, new[start : start + 10])
        results += Monitor(config).poll()
    assert [(result.version, result.slices) for result in results] == [(1, 60)]
    monitor = Monitor(config)
    append(log, make_events(clean.iloc[130:160], version=2))
    (result,) = monitor.poll()
    assert (result.version, result.number) == (2, 1)
    assert result.slices >= 60
    assert monitor.status.models[0].version == 2


def test_answers_of_a_model_without_a_reference_are_counted_and_the_others_are_watched(
    config: MonitorConfig,
    log: Path,
    clean: pd.DataFrame,
    make_events: Make,
    append: Append,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monitor = Monitor(config)
    strangers = [event.model_copy(update={"model": "../forams"}) for event in make_events(clean.head(3))]
    append(log, [*strangers, *make_events(clean.head(2), version=9), *make_events(clean.head(4))])
    monitor.poll()
    assert faults(monitor)["no_reference"] == 5
    assert [(model.model, model.pending_slices) for model in monitor.status.models] == [("forams", 4)]
    assert capsys.readouterr().err.count("are not watched") == 2


def test_corrupt_lines_are_counted_and_said_and_the_rest_is_judged(
    config: MonitorConfig,
    log: Path,
    clean: pd.DataFrame,
    make_events: Make,
    append: Append,
    capsys: pytest.CaptureFixture[str],
) -> None:
    append(log, make_events(clean.head(30)))
    with log.open("a") as file:
        file.write("{half a li\n")
    append(log, make_events(clean.iloc[30:64]))
    monitor = Monitor(config)
    assert len(monitor.poll()) == 1
    assert faults(monitor)["corrupt_line"] == 1
    assert "1 damaged lines of" in capsys.readouterr().err


def test_a_disk_that_cannot_be_written_does_not_stop_the_watch(
    config: MonitorConfig, log: Path, clean: pd.DataFrame, make_events: Make, append: Append
) -> None:
    config.out.write_text("a file where the folder should be")
    append(log, make_events(clean.head(64)))
    monitor = Monitor(config)
    (result,) = monitor.poll()
    assert result.slices >= 60
    assert faults(monitor)["disk"] > 0
    assert monitor.status.models[0].state == NO_DRIFT


def test_a_clock_that_goes_back_is_counted_and_said_and_changes_no_window(
    config: MonitorConfig,
    log: Path,
    clean: pd.DataFrame,
    make_events: Make,
    append: Append,
    capsys: pytest.CaptureFixture[str],
) -> None:
    append(log, make_events(clean.head(30), start=2e9))
    append(log, make_events(clean.iloc[30:64], start=1e9))
    monitor = Monitor(config)
    (result,) = monitor.poll()
    assert (result.begin, result.end) == (1e9, 2e9 + 29)
    assert faults(monitor)["clock_back"] == 1
    assert capsys.readouterr().err.count("went back by 1000000029 s") == 1
    assert faults(Monitor(config))["clock_back"] == 0


def test_answers_that_overtake_one_another_are_no_clock_that_goes_back(
    config: MonitorConfig, log: Path, clean: pd.DataFrame, make_events: Make, append: Append
) -> None:
    events = make_events(clean.head(30))
    append(log, [events[number ^ 1] for number in range(30)])
    monitor = Monitor(config)
    monitor.poll()
    assert faults(monitor)["clock_back"] == 0


def test_a_version_with_a_reference_of_another_schema_is_said_and_watched_once_it_is_mended(
    config: MonitorConfig,
    log: Path,
    tmp_path: Path,
    repository: Path,
    clean: pd.DataFrame,
    make_events: Make,
    append: Append,
    capsys: pytest.CaptureFixture[str],
) -> None:
    models = tmp_path / "models"
    shutil.copytree(repository, models)
    monitor = Monitor(config.model_copy(update={"repository": models}))
    shutil.copytree(models / "forams" / "2", models / "forams" / "3")
    path = models / "forams" / "3" / "reference.parquet"
    pq.write_table(pq.read_table(path).replace_schema_metadata({"schema": "taxonflow.reference/9"}), path)
    for _ in range(2):
        append(log, make_events(clean.head(2), version=3))
        append(log, make_events(clean.head(3), version=2))
        monitor.poll()
    assert faults(monitor)["no_reference"] == 4
    assert (monitor.status.models[0].version, monitor.status.models[0].pending_slices) == (2, 6)
    assert capsys.readouterr().err.count("has schema 'taxonflow.reference/9'") == 1
    shutil.copyfile(models / "forams" / "2" / "reference.parquet", path)
    append(log, make_events(clean.head(2), version=3))
    monitor.poll()
    assert (monitor.status.models[0].version, monitor.status.models[0].pending_slices) == (3, 2)


def test_without_a_served_model_the_monitor_says_what_to_do(config: MonitorConfig, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"holds no served model: expected .* make run"):
        Monitor(config.model_copy(update={"repository": tmp_path / "nowhere"}))


@pytest.mark.parametrize("damage", ["missing", "junk", "another table", "few specimens"])
def test_a_reference_that_cannot_be_used_is_refused_in_a_sentence(
    config: MonitorConfig, tmp_path: Path, repository: Path, damage: str
) -> None:
    folder = tmp_path / "models" / "forams" / "1"
    shutil.copytree(repository / "forams" / "1", folder)
    path = folder / "reference.parquet"
    if damage == "missing":
        path.unlink()
    elif damage == "junk":
        path.write_bytes(b"PAR1 junk")
    elif damage == "another table":
        pd.DataFrame({"a": [1]}).to_parquet(path)
    else:
        _keep_few_specimens(path)
    with pytest.raises(ContractError, match=r"reference\.parquet"):
        Monitor(config.model_copy(update={"repository": tmp_path / "models"}))


def _keep_few_specimens(path: Path) -> None:
    from components.shared.reference import read_reference, write_reference

    slices = read_reference(path)
    write_reference(path, slices[slices["specimen"].isin(slices["specimen"].unique()[:3])])
