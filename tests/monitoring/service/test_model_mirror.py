"""A repository in an object store: the monitor keeps bounded copies of its newest versions."""

import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from components.shared.errors import BadConfigError, ContractError
from components.shared.model_repository import find_models
from monitoring.__main__ import main
from monitoring.config import MonitorConfig
from monitoring.service import model_mirror
from monitoring.service.model_mirror import MAX_VERSIONS, REFRESH_S, ModelMirror, is_address
from monitoring.service.monitor import Monitor
from tests.monitoring.drift_traffic import MODEL, append_events, events_of
from tests.object_store import WEED, ObjectStore
from tests.waiting import wait_until

ROOT = Path(__file__).parents[3]


class Clock:
    """A clock that a test moves."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def publish(remote: Path, source: Path, version: int = 1) -> None:
    folder = remote / MODEL / str(version)
    folder.mkdir(parents=True)
    for name in ("reference.parquet", "model.json"):
        shutil.copyfile(source / MODEL / "1" / name, folder / name)


def mirror_of(remote: Path, folder: Path) -> tuple[ModelMirror, Clock]:
    clock = Clock()
    return ModelMirror(f"file://{remote}", folder, clock), clock


def test_only_an_address_with_a_scheme_is_copied() -> None:
    assert [is_address(name) for name in ("s3://bucket/models", "gs://b", "/var/models", "runs/models")] == [
        True, True, False, False,
    ]  # fmt: skip


def test_a_version_is_copied_once_it_is_complete(tmp_path: Path, repository: Path) -> None:
    remote, copies = tmp_path / "remote", tmp_path / "copies"
    mirror, clock = mirror_of(remote, copies)
    mirror.refresh()
    assert find_models(copies) == {}
    publish(remote, repository)
    (remote / MODEL / "1" / "model.json").rename(remote / "model.json")
    clock.seconds += REFRESH_S
    mirror.refresh()
    assert not copies.exists()
    (remote / "model.json").rename(remote / MODEL / "1" / "model.json")
    mirror.refresh()
    assert find_models(copies) == {}, "the store is asked at most every REFRESH_S"
    clock.seconds += REFRESH_S
    mirror.refresh()
    assert find_models(copies) == {MODEL: [1]}
    assert sorted(path.name for path in (copies / MODEL / "1").iterdir()) == ["model.json", "reference.parquet"]


def test_only_the_newest_versions_are_kept(tmp_path: Path, repository: Path) -> None:
    remote, copies = tmp_path / "remote", tmp_path / "copies"
    mirror, clock = mirror_of(remote, copies)
    for version in (1, 2):
        publish(remote, repository, version)
    mirror.refresh()
    for version in range(3, MAX_VERSIONS + 2):
        publish(remote, repository, version)
    clock.seconds += REFRESH_S
    mirror.refresh()
    assert find_models(copies) == {MODEL: list(range(2, MAX_VERSIONS + 2))}


def test_other_names_in_the_store_are_ignored(tmp_path: Path, repository: Path) -> None:
    remote, copies = tmp_path / "remote", tmp_path / "copies"
    publish(remote, repository)
    for name in (f"{MODEL}/..2", f"{MODEL}/latest", f"{MODEL}/0", ".hidden/1"):
        shutil.copytree(remote / MODEL / "1", remote / name)
    mirror_of(remote, copies)[0].refresh()
    assert [path.relative_to(copies).as_posix() for path in copies.glob("*/*")] == [f"{MODEL}/1"]


def test_a_file_that_is_too_large_is_refused_by_name(
    tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(tmp_path / "remote", repository)
    monkeypatch.setitem(model_mirror.MAX_BYTES, "model.json", 10)
    with pytest.raises(ContractError, match=r"model\.json has \d+ bytes"):
        mirror_of(tmp_path / "remote", tmp_path / "copies")[0].refresh()
    assert find_models(tmp_path / "copies") == {}


def test_an_unknown_kind_of_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadConfigError, match="nowhere://bucket"):
        ModelMirror("nowhere://bucket/models", tmp_path)
    arguments = ["--events", str(tmp_path), "--out", str(tmp_path), "--repository", "nowhere://bucket/models"]
    assert main([*arguments, "--once"]) == 2


@pytest.fixture
def remote_config(config: MonitorConfig) -> MonitorConfig:
    """Configure a monitor with copies of a repository at an address that nothing listens on."""
    copies = {"repository": config.out / "models", "repository_url": "s3://lab/models"}
    return config.model_copy(update=copies)


def test_a_store_that_cannot_be_reached_does_not_end_the_monitor(
    remote_config: MonitorConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "lab")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-the-lab")
    monitor = Monitor(remote_config)
    monitor.poll()
    assert monitor.status.errors["repository"] == 1
    assert "s3://lab/models cannot be read" in monitor.status.waiting_reason
    output = capsys.readouterr().err
    assert output.count("s3://lab/models cannot be read") == 1
    assert "secret-of-the-lab" not in output


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """Start an object store with the bucket `lab`, whose address and keys are in the environment."""
    (tmp_path / "weed").mkdir()
    store = ObjectStore(tmp_path / "weed")
    store.start()
    settings = {"ENDPOINT_URL": store.endpoint, "ACCESS_KEY_ID": "lab", "SECRET_ACCESS_KEY": store.secret}
    for name, value in {**settings, "REGION": "us-east-1", "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    store.files().mkdir("lab")
    yield store
    store.kill()


@pytest.mark.slow
@pytest.mark.skipif(not WEED.exists(), reason="SeaweedFS is not installed")
def test_a_process_monitors_a_model_that_appears_in_an_object_store(
    store: ObjectStore, remote_config: MonitorConfig, repository: Path, clean: pd.DataFrame
) -> None:
    append_events(remote_config.events / "events-1.jsonl", events_of(clean.head(20)))
    folders = ["--events", str(remote_config.events), "--out", str(remote_config.out), "--port", "0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "monitoring", *folders, "--repository", "s3://lab/models"],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        (address,) = re.findall(r"metrics: (http://\S+/metrics)", lines[0])
        assert "s3://lab/models contains no served model" in lines[2]
        for name in ("reference.parquet", "model.json"):
            store.files().put_file(str(repository / MODEL / "1" / name), f"lab/models/{MODEL}/1/{name}")
        wait_until(lambda: "taxonflow_drift_models 1.0" in metrics(address), timeout_s=REFRESH_S + 60, pause_s=0.5)
        assert 'taxonflow_drift_pending_slices{model="forams"} 20.0' in metrics(address)
        store.kill()
        assert 'taxonflow_drift_errors_total{kind="repository"} 0.0' in metrics(address)
        wait_until(lambda: 'kind="repository"} 1.0' in metrics(address), timeout_s=REFRESH_S + 90, pause_s=0.5)
        assert "taxonflow_drift_models 1.0" in metrics(address)
    finally:
        process.kill()
        process.wait()


def metrics(address: str) -> str:
    with urllib.request.urlopen(address, timeout=10) as response:
        return str(response.read().decode())
