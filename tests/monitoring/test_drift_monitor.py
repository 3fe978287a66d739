"""The watch over event files: what is judged, what is remembered, what goes wrong without harm."""

import shutil
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from components.shared.errors import BadInputError, ContractError
from components.shared.images.descriptors import DESCRIPTORS
from monitoring.config import MonitorConfig
from monitoring.drift.results import WORKSPACE
from monitoring.drift.status import DRIFT, FAULTS, NO_DRIFT, SUSTAINED, TOO_LITTLE
from monitoring.service.monitor import Monitor
from tests.monitoring.drift_traffic import FEATURES, append_events, events_of


@pytest.fixture
def log(config: MonitorConfig) -> Path:
    return config.events / "events-20261121T000000-0000.jsonl"


def faults(monitor: Monitor) -> dict[str, int]:
    return dict(monitor.status.faults)


def test_too_little_data_is_a_state_of_its_own(config: MonitorConfig, log: Path, clean: pd.DataFrame) -> None:
    monitor = Monitor(config)
    assert monitor.poll() == []
    append_events(log, events_of(clean.head(1)))
    assert monitor.poll() == []
    (model,) = monitor.status.models
    assert (model.state, model.pending_slices, model.pending_specimens) == (TOO_LITTLE, 1, 1)
    assert model.result is None


def test_clean_traffic_then_corrupted_traffic_goes_through_the_states(
    config: MonitorConfig,
    log: Path,
    clean: pd.DataFrame,
    corrupted: dict[str, pd.DataFrame],
) -> None:
    monitor, states = Monitor(config), []
    for answers in (clean.head(64), corrupted["blur"].head(64), corrupted["blur"].iloc[64:128], clean.iloc[64:128]):
        append_events(log, events_of(answers))
        (result,) = monitor.poll()
        assert monitor.report_of(result).is_file()
        states.append(monitor.status.models[0].state)
    assert states == [NO_DRIFT, DRIFT, SUSTAINED, NO_DRIFT]


def test_a_restart_counts_no_event_twice_and_loses_none(config: MonitorConfig, log: Path, clean: pd.DataFrame) -> None:
    events = events_of(clean)
    undisturbed = config.model_copy(update={"out": config.out.with_name("undisturbed")})
    results = []
    for start in range(0, 200, 25):
        append_events(log, events[start : start + 25])
        results += Monitor(config).poll()
    whole = Monitor(undisturbed).poll()
    assert len(whole) == 3
    assert results == whole
    assert Monitor(config).status.models[0].result == whole[-1]


def test_windows_of_two_versions_that_answer_side_by_side_are_kept_apart(
    config: MonitorConfig, log: Path, clean: pd.DataFrame
) -> None:
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


def test_answers_of_a_model_without_a_reference_are_counted_and_the_others_are_watched(
    config: MonitorConfig,
    log: Path,
    clean: pd.DataFrame,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monitor = Monitor(config)
    strangers = [event.model_copy(update={"model": "../forams"}) for event in events_of(clean.head(3))]
    append_events(log, [*strangers, *events_of(clean.head(2), version=9), *events_of(clean.head(4))])
    monitor.poll()
    assert faults(monitor)["no_reference"] == 5
    assert [(model.model, model.pending_slices) for model in monitor.status.models] == [("forams", 4)]
    assert capsys.readouterr().err.count("are not watched") == 2


def test_corrupt_lines_are_counted_and_said_and_the_rest_is_judged(
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
    assert faults(monitor)["corrupt_line"] == 1
    assert "left out 1 damaged line of" in capsys.readouterr().err


@pytest.fixture
def without_texture(config: MonitorConfig, tmp_path: Path, repository: Path) -> MonitorConfig:
    """A repository whose model was evaluated when there was no descriptor `texture`."""
    shutil.copytree(repository, tmp_path / "models")
    for path in (tmp_path / "models").rglob("reference.parquet"):
        table = pq.read_table(path)
        pq.write_table(table.drop_columns("texture").replace_schema_metadata(table.schema.metadata), path)
    return config.model_copy(update={"repository": tmp_path / "models"})


def test_a_descriptor_that_the_models_reference_lacks_is_not_watched_and_harms_nothing(
    without_texture: MonitorConfig, log: Path, clean: pd.DataFrame
) -> None:
    append_events(log, events_of(clean.head(64)))
    monitor = Monitor(without_texture)
    (result,) = monitor.poll()
    assert [each.feature for each in result.features] == [name for name in FEATURES if name != "texture"]
    assert set(faults(monitor).values()) == {0}


@pytest.mark.parametrize("lacking", [("texture",), DESCRIPTORS], ids=["one", "all"])
def test_descriptors_that_the_server_does_not_measure_are_counted_and_said_and_the_rest_is_judged(
    config: MonitorConfig,
    log: Path,
    clean: pd.DataFrame,
    lacking: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    events = events_of(clean.head(64))
    for number, event in enumerate(events[:5]):
        kept = {name: value for name, value in event.descriptors.items() if name not in lacking}
        events[number] = event.model_copy(update={"descriptors": {**kept, "of another version": 1.0, "species": 2.0}})
    append_events(log, events)
    monitor = Monitor(config)
    (result,) = monitor.poll()
    assert {each.feature for each in result.features} == set(FEATURES) - set(lacking)
    assert result.drifted == ()
    assert faults(monitor) == {**dict.fromkeys(FAULTS, 0), "missing_descriptor": 5}
    assert capsys.readouterr().err.count("answers of forams/1 lack ") == 1


def test_a_disk_that_cannot_be_written_does_not_stop_the_watch(
    config: MonitorConfig, log: Path, clean: pd.DataFrame
) -> None:
    config.out.write_text("a file where the folder should be")
    append_events(log, events_of(clean.head(64)))
    monitor = Monitor(config)
    (result,) = monitor.poll()
    assert result.slices >= 60
    assert faults(monitor)["disk"] > 0
    assert monitor.status.models[0].state == NO_DRIFT


def test_a_damaged_workspace_costs_its_pictures_and_not_the_watch(
    config: MonitorConfig, log: Path, clean: pd.DataFrame
) -> None:
    monitor = Monitor(config)
    append_events(log, events_of(clean.head(64)))
    monitor.poll()
    for file in (config.out / WORKSPACE).glob("*/metadata.json"):  # as a full disk leaves what is written over
        file.write_text(file.read_text()[:20])
    append_events(log, events_of(clean.iloc[64:128]))
    (result,) = monitor.poll()
    assert monitor.report_of(result).is_file()
    assert faults(monitor)["disk"] == 1


def test_a_clock_that_goes_back_is_counted_and_said_and_changes_no_window(
    config: MonitorConfig,
    log: Path,
    clean: pd.DataFrame,
    capsys: pytest.CaptureFixture[str],
) -> None:
    append_events(log, events_of(clean.head(30), start=2e9))
    append_events(log, events_of(clean.iloc[30:64], start=1e9))
    monitor = Monitor(config)
    (result,) = monitor.poll()
    assert (result.begin, result.end) == (1e9, 2e9 + 29)
    assert faults(monitor)["clock_back"] == 1
    assert capsys.readouterr().err.count("went back by 1000000029 s") == 1
    assert faults(Monitor(config))["clock_back"] == 0


def test_answers_that_overtake_one_another_are_no_clock_that_goes_back(
    config: MonitorConfig, log: Path, clean: pd.DataFrame
) -> None:
    events = events_of(clean.head(30))
    append_events(log, [events[number ^ 1] for number in range(30)])
    monitor = Monitor(config)
    monitor.poll()
    assert faults(monitor)["clock_back"] == 0


def test_a_version_with_a_reference_of_another_schema_is_said_and_watched_once_it_is_mended(
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
    assert faults(monitor)["no_reference"] == 4
    assert (monitor.status.models[0].version, monitor.status.models[0].pending_slices) == (2, 6)
    assert capsys.readouterr().err.count("has schema 'taxonflow.reference/9'") == 1
    shutil.copyfile(models / "forams" / "2" / "reference.parquet", path)
    append_events(log, events_of(clean.head(2), version=3))
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
    from components.shared.reference_profile import read_reference, write_reference

    slices = read_reference(path)
    write_reference(path, slices[slices["specimen"].isin(slices["specimen"].unique()[:3])])
