"""`make run` from volumes to a served answer, and every other outcome."""

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from serving.client import Client

NAME = "foraminifera"
SHARED = Path(__file__).parents[4] / "shared"


def command(volumes: Path | None, out: Path, **options: object) -> list[str]:
    values = {"preset": "smoke", "volumes": volumes or "", "out": out, **options}
    return [sys.executable, "-m", "pipelines.run", *(f"--{key}={value}" for key, value in values.items())]


def run(volumes: Path | None, out: Path, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(volumes, out, **options), capture_output=True, text=True, timeout=280, check=False)


def summary_of(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / "latest" / "summary.json").read_text()))


@pytest.fixture(scope="module")
def deployed_run(
    volumes: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[subprocess.CompletedProcess[str], Path]:
    out = tmp_path_factory.mktemp("runs")
    return run(volumes, out), out


def test_a_run_ends_deployed_with_a_complete_summary(
    deployed_run: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    result, out = deployed_run
    summary = summary_of(out)
    assert (result.returncode, summary["outcome"]) == (0, "deployed"), result.stdout
    assert summary["gate"]["passed"] is True
    assert set(summary["backbones"]) == {"cnn_small", "resnet_small"}
    assert {"rule", "accuracy", "accuracy_interval", "macro_f1", "top3", "auc", "ece", "specimen_accuracy"} <= set(
        summary["ensemble"]
    )
    assert summary["ensemble"]["unknown_auroc"] is None
    assert summary["model"] == {"name": NAME, "version": 1, "path": str(out / "models" / NAME / "1")}
    assert summary["dataset"]["slices"] == 120
    assert summary["dataset"]["specimens"] == 18
    assert list(summary["seconds"]) == ["ingest", "segment", "train", "evaluate", "deploy", "serve"]
    assert summary["answer"]["difference"] <= 1e-5


def test_the_output_has_progress_results_and_next_commands(
    deployed_run: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    result, _ = deployed_run
    for part in ("ingest 1 of 2", "9/9", "train cnn_small", "Deployed", "ensemble", "over HTTP", "make serve"):
        assert part in result.stdout
    for noise in ("Traceback", "oneDNN", "absl", "KFP Executor", "Warning"):
        assert noise not in result.stdout + result.stderr


def test_the_first_request_writes_a_drift_event(deployed_run: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    _, out = deployed_run
    lines = [line for path in (out / "events").glob("events-*.jsonl") for line in path.read_text().splitlines()]
    assert [json.loads(line)["model"] for line in lines] == [NAME]


def test_a_model_below_the_threshold_leaves_the_old_one_served(
    deployed_run: tuple[subprocess.CompletedProcess[str], Path], volumes: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(deployed_run[1], tmp_path / "runs", symlinks=True))
    slice_png = next((out / "models" / NAME / "1" / "examples").glob("*.png")).read_bytes()
    port = free_port()
    folders = (f"--repository={out / 'models'}", f"--events={out / 'events'}")
    serve = [sys.executable, "-m", "serving", *folders, f"--port={port}"]
    server = subprocess.Popen(serve, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        client = Client(f"http://127.0.0.1:{port}", timeout_s=30)
        client.wait_until_ready(NAME, 120)
        before = client.predict(NAME, [slice_png])[0]
        result = run(volumes, out, threshold=1.0, seed=5, backbones="cnn_small")
        summary = summary_of(out)
        assert (result.returncode, summary["outcome"]) == (3, "refused"), result.stdout
        assert "1.0000 is required" in result.stdout.replace("\n", " ")
        assert summary["model"] is None
        assert client.predict(NAME, [slice_png])[0] == before
    finally:
        server.terminate()
        server.wait(30)
    assert [path.name for path in (out / "models" / NAME).glob("[0-9]*")] == ["1"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_too_few_specimens_end_with_one_sentence_and_exit_code_two(volumes: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(volumes, tmp_path / "own"))
    rows = (own / "manifest.csv").read_text().splitlines()
    damaged_path = next(row.split(",")[0] for row in rows if "Fallotia" in row)
    (own / damaged_path).write_bytes(b"")
    rows_left = [row for row in rows if "Fallotia" not in row or damaged_path in row or row.endswith(("-001", "-002"))]
    (own / "manifest.csv").write_text("\n".join(rows_left))
    result = run(own, tmp_path / "runs", **{"rare-species": "refuse"})
    summary = summary_of(tmp_path / "runs")
    assert (result.returncode, summary["outcome"]) == (2, "bad_input"), result.stdout
    assert "Fallotia" in summary["message"]
    assert f"refused {damaged_path}" in result.stdout.replace("\n", " ")
    assert "Traceback" not in result.stdout + result.stderr
    assert not (tmp_path / "runs" / "models").exists()


@pytest.mark.slow
def test_a_bad_volume_is_listed_and_the_others_are_used(volumes: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(volumes, tmp_path / "own"))
    rows = (own / "manifest.csv").read_text().splitlines()
    nib.save(nib.Nifti1Image(np.full((8, 8, 8), np.nan, np.float32), np.eye(4)), own / "nan.nii.gz")
    (own / "manifest.csv").write_text("\n".join([*rows, "nan.nii.gz,Fallotia,hollow", "gone.nii.gz,Fallotia,gone"]))
    result = run(own, tmp_path / "runs", backbones="cnn_small")
    reasons = {item["path"]: item["reason"] for item in summary_of(tmp_path / "runs")["dataset"]["refused"]}
    assert result.returncode == 0, result.stdout
    assert set(reasons) == {"nan.nii.gz", "gone.nii.gz"}
    assert all(reasons.values())


@pytest.mark.parametrize("how", [signal.SIGTERM, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)])
def test_a_terminated_run_leaves_no_process_and_the_next_run_works(
    how: signal.Signals, volumes: Path, tmp_path: Path
) -> None:
    out = tmp_path / "runs"
    process = subprocess.Popen(command(volumes, out), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    next(line for line in process.stdout if line.startswith("train"))
    process.send_signal(how)
    process.wait(30)
    deadline = time.monotonic() + 20
    while running_under(out) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert running_under(out) == []
    assert not (out / "models").exists()
    if how is signal.SIGTERM:
        assert (process.returncode, summary_of(out)["outcome"]) == (1, "failed")
    else:
        assert run(volumes, out, backbones="cnn_small").returncode == 0
        assert summary_of(out)["model"]["version"] == 1


def running_under(out: Path) -> list[str]:
    """Return the command lines of live processes that contain a folder."""
    lines = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = process.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(out) in line and process.parent.name != str(os.getpid()):
            lines.append(line)
    return lines


def test_a_second_run_in_the_same_folder_is_rejected(tmp_path: Path) -> None:
    out = tmp_path / "runs"
    out.mkdir()
    with (out / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = run(None, out)
    assert result.returncode == 2
    assert "another run uses" in result.stdout


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="the real volumes are not beside the repository")
def test_real_scans_pass_through_the_whole_pipeline(tmp_path: Path) -> None:
    result = run(SHARED / "real_volumes" / "manifest.csv", tmp_path / "runs")
    summary = summary_of(tmp_path / "runs")
    assert summary["outcome"] in ("deployed", "refused"), result.stdout
    assert set(summary["dataset"]["by_class"]) == {"bone", "cement", "fibers", "fly", "shell"}
    assert min(summary["dataset"]["by_class"].values()) > 0
    assert summary["synthetic"] is False
