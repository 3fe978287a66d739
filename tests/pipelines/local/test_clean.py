"""`make clean` removes the files of runs and leaves those of the user."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving.conftest import card_of

ROOT = Path(__file__).parents[3]
RUN = "20260101-000000"
PIPELINE = f"{RUN}/pipeline/taxonflow-training-2026-01-01-00-00-00-000000"
OWN = {
    ".lock": "",
    f"{RUN}/summary.json": '{\n "schema": "taxonflow.summary/1"}',
    f"{RUN}/run.log": "",
    f"{PIPELINE}/ingest/slices/train-00000.tfrecord": "x",
    "20260101-000001/run.log": "",
    "20260101-000001/pipeline/taxonflow-training-2026-01-01-00-00-01-000000/ingest/log": "",
    "models/forams/.publishing": "",
    "models/forams/1/saved_model.pb": "x",
    "models/forams/1/variables/variables.index": "x",
    "events/events-20260101T000000-67c22619-0000.jsonl": '{"schema":"taxonflow.drift-event/2"}',
    "monitoring/state.json": '{"schema": "taxonflow.monitor-state/2"}',
    "monitoring/workspace/1/snapshots/1.json": "{}",
    f"demo/{RUN}/server.log": "",
    f"demo/{RUN}/events/events-1.jsonl": '{"schema":"taxonflow.drift-event/2"}',
    "phantoms/manifest.csv": "path,species,specimen",
    "phantoms/unseen.csv": "path,species,specimen",
    "phantoms/volumes/Alveolina/alveolina-001.nii.gz": "x",
}
USERS = (
    "thesis.tex",
    "models/mesh.stl",
    "models/resnet/1/model.json",
    "models/resnet/1/saved_model.pb",
    "models/forams/1/notes.txt",
    "events/excursion.ics",
    "events/events-2026.jsonl",
    "monitoring/water.csv",
    "demo/talk.key",
    "phantoms/volumes/Alveolina/field-7.nii.gz",
    "compiled/taxonflow-notes.yaml",
    f"{RUN}/notes.txt",
    "20250101-101010/run.log",
    "20250101-101010/summary.json",
    "benchmarks.json",
)


def clean(out: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipelines.local.clean", f"--out={out}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def write(out: Path, name: str, text: str) -> None:
    (out / name).parent.mkdir(parents=True, exist_ok=True)
    (out / name).write_text(text)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    for name, text in OWN.items():
        write(folder, name, text)
    card_of("forams").write(folder / "models" / "forams" / "1" / "model.json")
    (folder / "latest").symlink_to(RUN)
    return folder


def test_the_files_of_runs_are_removed_with_their_folder(out: Path, tmp_path: Path) -> None:
    result = clean(out, tmp_path)
    assert (result.returncode, result.stdout, out.exists()) == (0, "", False)


def test_files_of_the_user_remain_inside_and_beside_those_of_runs(out: Path, tmp_path: Path) -> None:
    for name in USERS:
        write(out, name, "[]")
    (tmp_path / "scans").mkdir()
    write(tmp_path / "scans", "one.nii", "x")
    (out / "demo" / "scans").symlink_to(tmp_path / "scans")
    result = clean(out, tmp_path)
    remaining = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_symlink() or path.is_file()}
    assert (result.returncode, remaining) == (0, {*USERS, "demo/scans"})
    assert "benchmarks.json" in result.stdout
    assert (tmp_path / "scans" / "one.nii").exists()


@pytest.mark.parametrize("name", ["models", "events", "demo", "phantoms", "monitoring", "compiled"])
def test_a_folder_of_the_user_with_the_name_of_one_of_runs_remains(name: str, tmp_path: Path) -> None:
    write(tmp_path / "out", f"{name}/a/1/b.txt", "text")
    write(tmp_path / "out", f"{name}/manifest.csv", "path,species,specimen")
    result = clean(tmp_path / "out", tmp_path)
    assert f"{name}/a/1/b.txt" in result.stdout
    assert (tmp_path / "out" / name / "manifest.csv").exists()
