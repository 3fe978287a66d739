"""The monitor on event files: evaluated windows, stored state, and errors that do not stop it."""

import shutil
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from components.shared.errors import ContractError
from components.shared.images.descriptors import DESCRIPTORS
from monitoring.config import MonitorConfig
from monitoring.drift.results import WORKSPACE
from monitoring.drift.status import DRIFT, ERROR_KINDS, INSUFFICIENT_DATA, NO_DRIFT, SUSTAINED_DRIFT
from monitoring.service.monitor import Monitor
from monitoring.service.state import STATE_FILE, MonitorState
from tests.monitoring.drift_traffic import FEATURES, append_events, events_of


@pytest.fixture
def log(config: MonitorConfig) -> Path:
    return config.events / "events-20261121T000000-0000.jsonl"


def errors(monitor: Monitor) -> dict[str, int]:
    return dict(monitor.status.errors)


def test_insufficient_data_is_a_separate_state(config: MonitorConfig, log: Path, clean: pd.DataFrame) -> None:
    monitor = Monitor(config)
    assert monitor.poll() == []
    append_events(log, events_of(clean.head(1)))
    assert monitor.poll() == []
    (model,) = monitor.status.models
    assert (model.state, model.pending_slices, model.pending_specimens) == (INSUFFICIENT_DATA, 1, 1)
    assert model.result is None


def test_clean_and_drifted_traffic_change_the_state(
    config: MonitorConfig,
    log: Path,
    clean: pd.DataFrame,
    drifted_slices: dict[str, pd.DataFrame],
) -> None:
    monitor, states = Monitor(config), []
    for predictions in (
        clean.head(64),
        drifted_slices["blur"].head(64),
        drifted_slices["blur"].iloc[64:128],
        clean.iloc[64:128],
    ):
        append_events(log, events_of(predictions))
        (result,) = monitor.poll()
        assert monitor.report_of(result).is_file()
        states.append(monitor.status.models[0].state)
    assert states == [NO_DRIFT, DRIFT, SUSTAINED_DRIFT, NO_DRIFT]


def test_a_restart_counts_each_event_once(config: MonitorConfig, log: Path, clean: pd.DataFrame) -> None:
    events = events_of(clean)
    uninterrupted = config.model_copy(update={"out": config.out.with_name("uninterrupted")})
    results = []
    for start in range(0, 200, 25):
        append_events(log, events[start : start + 25])
        results += Monitor(config).poll()
    whole = Monitor(uninterrupted).poll()
    assert len(whole) == 3
    assert results == whole
    assert Monitor(config).status.models[0].result == whole[-1]


def test_a_state_of_an_earlier_schema_is_reported_and_replaced(
    config: MonitorConfig, log: Path, clean: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    append_events(log, events_of(clean.head(64)))
    results = Monitor(config).poll()
    state = config.out / STATE_FILE
    state.write_text(state.read_text().replace(MonitorState.SCHEMA, "taxonflow.monitor-state/1"))
    monitor = Monitor(config)
    assert f"{state} has an earlier schema than {MonitorState.SCHEMA}" in capsys.readouterr().err
    assert monitor.poll() == results
    assert MonitorState.read(state).streams[0].completed_windows == 1


def test_a_damaged_state_is_refused_by_name(config: MonitorConfig) -> None:
    config.out.mkdir(parents=True)
    (config.out / STATE_FILE).write_text("{")
    with pytest.raises(ContractError, match=STATE_FILE):
        Monitor(config)


def test_concurrent_versions_have_separate_windows(config: MonitorConfig, log: Path, clean: pd.DataFrame) -> None:
    old, new = events_of(clean.head(80), version=1), events_of(clean.iloc[80:130], version=2)
    results = []
    for start in range(0, 80, 10):
        append_events(log, old[start : start + 10])
        append_events(log, new[start : start + 10])
        results += Monitor(config).poll()
    assert [(result.version, result.slices) for result in results] == [(1, 60)]
    monitor = Monitor(config)
    append_events(log, events_of(clean.iloc[130:160], version=2))
    (result,) = monitor.poll()
    assert (result.version, result.number) == (2, 1)
    assert result.slices >= 60
    assert monitor.status.models[0].version == 2


def test_events_without_a_reference_are_counted_and_others_monitored(
    config: MonitorConfig,
    log: Path,
    clean: pd.DataFrame,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monitor = Monitor(config)
    unknown_model = [event.model_copy(update={"model": "../forams"}) for event in events_of(clean.head(3))]
    append_events(log, [*unknown_model, *events_of(clean.head(2), version=9), *events_of(clean.head(4))])
    monitor.poll()
    assert errors(monitor)["missing_reference"] == 5
    assert [(model.model, model.pending_slices) for model in monitor.status.models] == [("forams", 4)]
    assert capsys.readouterr().err.count("is not monitored") == 2


def test_corrupt_lines_are_reported_and_other_lines_are_used(
    config: MonitorConfig,
    log: Path,
    clean: pd.DataFrame,
    capsys: pytest.CaptureFixture[str],
) -> None:
    append_events(log, events_of(clean.head(30)))
    with log.open("a") as file:
        file.write("{half a li\n")
    append_events(log, events_of(clean.iloc[30:64]))
    monitor = Monitor(config)
    assert len(monitor.poll()) == 1
    assert errors(monitor)["corrupt_line"] == 1
    assert "skipped 1 damaged line" in capsys.readouterr().err


@pytest.fixture
def without_texture(config: MonitorConfig, tmp_path: Path, repository: Path) -> MonitorConfig:
    """Create a repository whose reference lacks the descriptor `texture`."""
    shutil.copytree(repository, tmp_path / "models")
    for path in (tmp_path / "models").rglob("reference.parquet"):
        table = pq.read_table(path)
        pq.write_table(table.drop_columns("texture").replace_schema_metadata(table.schema.metadata), path)
    return config.model_copy(update={"repository": tmp_path / "models"})


def test_a_descriptor_missing_in_the_reference_is_ignored(
    without_texture: MonitorConfig, log: Path, clean: pd.DataFrame
) -> None:
    append_events(log, events_of(clean.head(64)))
    monitor = Monitor(without_texture)
    (result,) = monitor.poll()
    assert [each.feature for each in result.features] == [name for name in FEATURES if name != "texture"]
    assert set(errors(monitor).values()) == {0}


@pytest.mark.parametrize("missing_names", [("texture",), DESCRIPTORS], ids=["one", "all"])
def test_descriptors_missing_in_events_are_reported_and_not_tested(
    config: MonitorConfig,
    log: Path,
    clean: pd.DataFrame,
    missing_names: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    events = events_of(clean.head(64))
    for number, event in enumerate(events[:5]):
        others = {name: value for name, value in event.descriptors.items() if name not in missing_names}
        events[number] = event.model_copy(update={"descriptors": {**others, "of another version": 1.0, "species": 2.0}})
    append_events(log, events)
    monitor = Monitor(config)
    (result,) = monitor.poll()
    assert {each.feature for each in result.features} == set(FEATURES) - set(missing_names)
    assert result.drifted == ()
    assert errors(monitor) == {**dict.fromkeys(ERROR_KINDS, 0), "missing_descriptor": 5}
    assert capsys.readouterr().err.count("events of forams/1 lack ") == 1


def test_an_unwritable_disk_does_not_stop_the_monitor(config: MonitorConfig, log: Path, clean: pd.DataFrame) -> None:
    config.out.write_text("a file where the folder should be")
    append_events(log, events_of(clean.head(64)))
    monitor = Monitor(config)
    (result,) = monitor.poll()
    assert result.slices >= 60
    assert errors(monitor)["disk_write"] > 0
    assert monitor.status.models[0].state == NO_DRIFT


def test_a_damaged_workspace_does_not_stop_the_monitor(config: MonitorConfig, log: Path, clean: pd.DataFrame) -> None:
    monitor = Monitor(config)
    append_events(log, events_of(clean.head(64)))
    monitor.poll()
    for file in (config.out / WORKSPACE).glob("*/metadata.json"):  # as after a full disk
        file.write_text(file.read_text()[:20])
    append_events(log, events_of(clean.iloc[64:128]))
    (result,) = monitor.poll()
    assert monitor.report_of(result).is_file()
    assert errors(monitor)["disk_write"] == 1


def test_a_clock_that_moves_backwards_is_reported_once(
    config: MonitorConfig,
    log: Path,
    clean: pd.DataFrame,
    capsys: pytest.CaptureFixture[str],
) -> None:
    append_events(log, events_of(clean.head(30), start=2e9))
    append_events(log, events_of(clean.iloc[30:64], start=1e9))
    monitor = Monitor(config)
    (result,) = monitor.poll()
    assert (result.start, result.end) == (1e9, 2e9 + 29)
    assert errors(monitor)["clock_backwards"] == 1
    assert capsys.readouterr().err.count("moved back by 1000000029 s") == 1
    assert errors(Monitor(config))["clock_backwards"] == 0


def test_events_slightly_out_of_order_are_no_clock_error(config: MonitorConfig, log: Path, clean: pd.DataFrame) -> None:
    events = events_of(clean.head(30))
    append_events(log, [events[number ^ 1] for number in range(30)])
    monitor = Monitor(config)
    monitor.poll()
    assert errors(monitor)["clock_backwards"] == 0


def test_a_version_is_monitored_once_its_reference_is_corrected(
    config: MonitorConfig,
    log: Path,
    tmp_path: Path,
    repository: Path,
    clean: pd.DataFrame,
    capsys: pytest.CaptureFixture[str],
) -> None:
    models = tmp_path / "models"
    shutil.copytree(repository, models)
    monitor = Monitor(config.model_copy(update={"repository": models}))
    shutil.copytree(models / "forams" / "2", models / "forams" / "3")
    path = models / "forams" / "3" / "reference.parquet"
    pq.write_table(pq.read_table(path).replace_schema_metadata({"schema": "taxonflow.reference/9"}), path)
    for _ in range(2):
        append_events(log, events_of(clean.head(2), version=3))
        append_events(log, events_of(clean.head(3), version=2))
        monitor.poll()
    assert errors(monitor)["missing_reference"] == 4
    assert (monitor.status.models[0].version, monitor.status.models[0].pending_slices) == (2, 6)
    assert capsys.readouterr().err.count("has schema 'taxonflow.reference/9'") == 1
    shutil.copyfile(models / "forams" / "2" / "reference.parquet", path)
    append_events(log, events_of(clean.head(2), version=3))
    monitor.poll()
    assert (monitor.status.models[0].version, monitor.status.models[0].pending_slices) == (3, 2)


@pytest.mark.parametrize("damage", ["missing", "junk", "another table", "few specimens"])
def test_a_monitor_with_an_unusable_reference_waits_and_names_it(
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
    monitor = Monitor(config.model_copy(update={"repository": tmp_path / "models"}))
    assert "reference.parquet" in monitor.status.waiting_reason
    shutil.copyfile(repository / "forams" / "1" / "reference.parquet", path)
    monitor.poll()
    assert ([model.version for model in monitor.status.models], monitor.status.waiting_reason) == ([1], "")


def _keep_few_specimens(path: Path) -> None:
    from components.shared.reference_profile import read_reference, write_reference

    slices = read_reference(path)
    write_reference(path, slices[slices["specimen"].isin(slices["specimen"].unique()[:3])])
