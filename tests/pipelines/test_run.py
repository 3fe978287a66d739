"""`make run`, whole: real volumes in, a served answer out; and every other way that it can end."""

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
SHARED = Path(__file__).parents[3] / "shared"


def command(volumes: Path | None, out: Path, **options: object) -> list[str]:
    given = {"preset": "smoke", "volumes": volumes or "", "out": out, **options}
    return [sys.executable, "-m", "pipelines.run", *(f"--{key}={value}" for key, value in given.items())]


def run(volumes: Path | None, out: Path, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(volumes, out, **options), capture_output=True, text=True, timeout=280, check=False)


def summary_of(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / "latest" / "summary.json").read_text()))


@pytest.fixture(scope="module")
def deployed(volumes: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    out = tmp_path_factory.mktemp("runs")
    return run(volumes, out), out


def test_a_run_ends_deployed_with_a_whole_summary(
    deployed: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    ended, out = deployed
    summary = summary_of(out)
    assert (ended.returncode, summary["outcome"]) == (0, "deployed"), ended.stdout
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


def test_what_is_printed_tells_progress_result_and_what_to_do_next(
    deployed: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    ended, _ = deployed
    for part in ("ingest 1 of 2", "9/9", "train cnn_small", "Deployed", "ensemble", "over HTTP", "make serve"):
        assert part in ended.stdout
    for noise in ("Traceback", "oneDNN", "absl", "KFP Executor", "Warning"):
        assert noise not in ended.stdout + ended.stderr


def test_the_answer_left_a_drift_event(deployed: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    _, out = deployed
    lines = [line for path in (out / "events").glob("events-*.jsonl") for line in path.read_text().splitlines()]
    assert [json.loads(line)["model"] for line in lines] == [NAME]


def test_a_model_below_the_threshold_is_refused_and_the_old_one_goes_on_being_served(
    deployed: tuple[subprocess.CompletedProcess[str], Path], volumes: Path
) -> None:
    _, out = deployed
    known = next((out / "models" / NAME / "1" / "examples").glob("*.png")).read_bytes()
    port = free_port()
    folders = (f"--repository={out / 'models'}", f"--events={out / 'events'}")
    serve = [sys.executable, "-m", "serving", *folders, f"--port={port}"]
    server = subprocess.Popen(serve, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        client = Client(f"http://127.0.0.1:{port}", timeout_s=30)
        client.wait_until_ready(NAME, 120)
        before = client.predict(NAME, [known])[0]
        ended = run(volumes, out, threshold=1.0, seed=5, backbones="cnn_small")
        summary = summary_of(out)
        assert (ended.returncode, summary["outcome"]) == (3, "refused"), ended.stdout
        assert "1.0000 slice accuracy required" in ended.stdout.replace("\n", " ")
        assert summary["model"] is None
        assert client.predict(NAME, [known])[0] == before
    finally:
        server.terminate()
        server.wait(30)
    assert [path.name for path in (out / "models" / NAME).glob("[0-9]*")] == ["1"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_too_few_specimens_end_in_one_sentence_and_exit_code_two(volumes: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(volumes, tmp_path / "own"))
    rows = (own / "manifest.csv").read_text().splitlines()
    damaged = next(row.split(",")[0] for row in rows if "Fallotia" in row)
    (own / damaged).write_bytes(b"")
    kept = [row for row in rows if "Fallotia" not in row or damaged in row or row.endswith(("-001", "-002"))]
    (own / "manifest.csv").write_text("\n".join(kept))
    ended = run(own, tmp_path / "runs")
    summary = summary_of(tmp_path / "runs")
    assert (ended.returncode, summary["outcome"]) == (2, "bad_input"), ended.stdout
    assert "Fallotia" in summary["message"]
    assert f"refused {damaged}" in ended.stdout.replace("\n", " ")
    assert "Traceback" not in ended.stdout + ended.stderr
    assert not (tmp_path / "runs" / "models").exists()


def test_a_bad_volume_is_refused_by_name_and_the_rest_goes_on(volumes: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(volumes, tmp_path / "own"))
    rows = (own / "manifest.csv").read_text().splitlines()
    nib.save(nib.Nifti1Image(np.full((8, 8, 8), np.nan, np.float32), np.eye(4)), own / "nan.nii.gz")
    (own / "manifest.csv").write_text("\n".join([*rows, "nan.nii.gz,Fallotia,hollow", "gone.nii.gz,Fallotia,gone"]))
    ended = run(own, tmp_path / "runs", backbones="cnn_small")
    refused = {item["path"]: item["reason"] for item in summary_of(tmp_path / "runs")["dataset"]["refused"]}
    assert ended.returncode == 0, ended.stdout
    assert set(refused) == {"nan.nii.gz", "gone.nii.gz"}
    assert all(refused.values())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"preset": "nothing"}, "preset 'nothing'"),
        ({"preset": "fossil"}, "VOLUMES"),
        ({"threshold": "2"}, "THRESHOLD=2"),
        ({"volumes": "/nowhere"}, "/nowhere"),
        ({"volumes": "ftp://lab/set"}, "ftp://"),
        ({"backbones": "resnet_500"}, "resnet_500"),
        ({"seed": "-1"}, "seed -1: expected a whole number from 0"),
    ],
)
def test_an_order_that_cannot_be_carried_out_is_bad_input(
    options: dict[str, str], words: str, volumes: Path, tmp_path: Path
) -> None:
    given = {"volumes": volumes if "backbones" in options else None, **options}
    ended = run(given.pop("volumes"), tmp_path / "runs", **given)
    assert (ended.returncode, summary_of(tmp_path / "runs")["outcome"]) == (2, "bad_input"), ended.stdout
    assert words in ended.stdout.replace("\n", " ")
    assert "Traceback" not in ended.stdout + ended.stderr


@pytest.mark.parametrize("how", [signal.SIGTERM, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)])
def test_a_run_that_was_ended_in_the_middle_leaves_no_process_and_does_not_trip_the_next(
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
    """Lists the command lines of live processes that name a folder."""
    lines = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = process.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(out) in line and process.parent.name != str(os.getpid()):
            lines.append(line)
    return lines


def test_a_second_run_in_the_same_folder_waits_its_turn(tmp_path: Path) -> None:
    out = tmp_path / "runs"
    out.mkdir()
    with (out / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ended = run(None, out)
    assert ended.returncode == 2
    assert "another run uses" in ended.stdout


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="the real volumes are not beside the repository")
def test_real_scans_go_through_the_whole_pipeline(tmp_path: Path) -> None:
    ended = run(SHARED / "real_volumes" / "manifest.csv", tmp_path / "runs")
    summary = summary_of(tmp_path / "runs")
    assert summary["outcome"] in ("deployed", "refused"), ended.stdout
    assert set(summary["dataset"]["by_class"]) == {"bone", "cement", "fibers", "fly", "shell"}
    assert min(summary["dataset"]["by_class"].values()) > 0
    assert summary["synthetic"] is False
