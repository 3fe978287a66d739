"""Every command of the README, run as a reader would: in order, from the repository's root, on the smoke preset."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from components.phantoms.fishes.dataset import PhotoConfig, generate_photographs
from monitoring.drift.results import WindowResult
from pipelines.local.demo_traffic import ACTS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
RUN_BELOW = {
    "make run",
    "make serve",
    "make ask",
    'make ask IMAGES="my-slice.png"',
    'make ask IMAGES="my-scan.nii.gz"',
    "curl -s http://127.0.0.1:8080/v1/models/foraminifera",
    "make monitor",
    "make demo",
    'make submit HOST=https://kubeflow.example.org PIPELINE=drift EVERY="0 0 4 * * *"',
    "make run VOLUMES=my-scans",
    "make run PRESET=fish-sample",
    "make run PHOTOS=my-photos",
    "make compile",
    "make submit HOST=https://kubeflow.example.org PRESET=sample",
    "kubectl kustomize manifests/overlays/production",
}


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory, volumes: Path) -> dict[str, str]:
    """The environment of a reader whose runs, scans and port are their own."""
    out = tmp_path_factory.mktemp("reader")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "OUT": str(out), "PRESET": "smoke", "PORT": port, "PATH": path, "SCANS": str(volumes)}


def type_in(command: str, reader: dict[str, str]) -> subprocess.CompletedProcess[str]:
    line = command.replace("8080", reader["PORT"]).replace("my-scans", reader["SCANS"])
    for file in ("my-slice.png", "my-scan.nii.gz"):
        line = line.replace(file, f"{reader['OUT']}/{file}")
    return subprocess.run(
        ["bash", "-c", line], cwd=ROOT, env=reader, capture_output=True, text=True, timeout=280, check=False
    )


@contextmanager
def left_running(command: str, reader: dict[str, str], until: str) -> Iterator[list[str]]:
    """Types a command that goes on, yields what it printed until some words, and ends it with Ctrl-C."""
    process = subprocess.Popen(
        ["bash", "-c", command], cwd=ROOT, env=reader, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    lines: list[str] = []
    try:
        for line in process.stdout:
            lines.append(line)
            if until in line:
                break
        yield lines
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)


def test_every_command_is_known_to_these_tests() -> None:
    unknown = [command for command in COMMANDS if command not in RUN_BELOW and ":predict -d" not in command]
    assert unknown == []
    assert set(COMMANDS) >= RUN_BELOW


def test_every_link_resolves() -> None:
    linked = re.findall(r"\]\(([^)]+)\)", README)
    assert linked
    assert [path for path in linked if not (ROOT / path).exists()] == []
    named = re.findall(r"`((?:manifests|monitoring|components)/[\w./-]+|[A-Z]+\.md)`", README)
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_first_session_of_a_reader_works_to_the_end(reader: dict[str, str]) -> None:
    ran = type_in("make run VOLUMES=my-scans", reader)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    out = Path(reader["OUT"])
    shutil.copy(next((out / "models" / "foraminifera" / "1" / "examples").glob("*.png")), out / "my-slice.png")
    shutil.copy(next(Path(reader["SCANS"]).rglob("*.nii.gz")), out / "my-scan.nii.gz")
    with left_running("make serve", reader, until="http://"):
        wait_for_port(int(reader["PORT"]))
        for command in COMMANDS:
            if command.startswith(("make ask", "curl")):
                answered = type_in(command, reader)
                assert answered.returncode == 0, command + answered.stdout + answered.stderr
                assert '"error":' not in answered.stdout, command + answered.stdout
        table = type_in("make ask", reader).stdout
        assert table.count("%") == 3
        assert any(species in table for species in ("Fallotia", "Coskinolina", "Baculogypsina"))
    with left_running("make monitor", reader, until="too little data") as lines:
        assert "slices" in lines[-1]


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.3)
    subprocess.run(
        ["curl", "-sf", "--retry", "60", "--retry-delay", "1", "--retry-all-errors", f"http://127.0.0.1:{port}/readyz"],
        check=True, capture_output=True,
    )  # fmt: skip


def test_make_compile_writes_what_it_says(reader: dict[str, str]) -> None:
    compiled = type_in("make compile", reader)
    assert compiled.returncode == 0, compiled.stderr
    assert all(Path(line).exists() for line in compiled.stdout.splitlines() if line.endswith(".yaml"))


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith("make submit")])
def test_make_submit_to_a_host_that_is_not_there_ends_in_one_sentence(reader: dict[str, str], command: str) -> None:
    submitted = type_in(command, reader)
    assert submitted.returncode == 2
    assert "kubeflow.example.org" in submitted.stderr
    assert "Traceback" not in submitted.stderr


def test_the_production_manifests_build(reader: dict[str, str]) -> None:
    built = type_in("kubectl kustomize manifests/overlays/production", reader)
    assert built.returncode == 0, built.stderr
    assert "kind: InferenceService" in built.stdout


def test_make_phantoms_writes_specimens_and_their_contact_sheet(reader: dict[str, str], tmp_path: Path) -> None:
    made = type_in("make phantoms SPECIMENS=1", {**reader, "OUT": str(tmp_path)})
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "phantoms" / "contact_sheet.png").stat().st_size < 500_000
    assert (tmp_path / "phantoms" / "manifest.csv").read_text().startswith("path,species,specimen")


def test_make_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = set(re.search(r"\.PHONY: (.*)", makefile)[1].split()) if ".PHONY" in makefile else set()
    assert targets == set(re.findall(r"make (\S+)", listed))


def dry_run(*arguments: str) -> str:
    """The last command that make would give, whatever the make says that may have begun these tests."""
    alone = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    command = ["make", "--dry-run", *arguments]
    said = subprocess.run(command, cwd=ROOT, env=alone, capture_output=True, text=True, check=True).stdout
    return said.splitlines()[-1]


def test_make_ask_sends_slices_of_the_newest_version_of_the_model_that_is_named(tmp_path: Path) -> None:
    for version in ("fish/1", "foraminifera/9", "foraminifera/10"):
        (tmp_path / "models" / version / "examples").mkdir(parents=True)
    assert dry_run("ask", f"OUT={tmp_path}").endswith("/models/foraminifera/10/examples")
    fish = dry_run("ask", f"OUT={tmp_path}", "MODEL=fish")
    assert fish.endswith("/models/fish/1/examples")
    assert '--model "fish"' in fish
    assert dry_run("ask", "OUT=/nothing").endswith("/nothing/models")


def test_make_submit_hands_settings_on() -> None:
    assert '--set "volumes=s3://scans" --set "seed=1"' in dry_run("submit", "SET=volumes=s3://scans seed=1")


@pytest.fixture(scope="module")
def preset_environment() -> dict[str, str]:
    """The environment without what would change a preset."""
    return {name: value for name, value in os.environ.items() if name not in ("PRESET", "OUT")}


def deployed_run(command: str, out: Path, environment: dict[str, str]) -> dict[str, Any]:
    """Types a command of the README and returns the summary of its run, which is deployed."""
    assert command in COMMANDS
    environment = {**environment, "OUT": str(out)}
    ended = subprocess.run(command.split(), cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    summary: dict[str, Any] = json.loads((out / "latest" / "summary.json").read_text())
    assert (ended.returncode, summary["outcome"]) == (0, "deployed"), ended.stdout
    assert summary["ensemble"]["accuracy"] >= 0.95
    assert len(summary["dataset"]["classes"]) == 12
    assert min(summary["dataset"]["test_specimens"].values()) >= 3
    return summary


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_make_run_reaches_the_gate_and_make_demo_alerts_on_what_is_unlike_it(
    preset_environment: dict[str, str], tmp_path: Path
) -> None:
    deployed_run("make run", tmp_path, preset_environment)
    there = {**preset_environment, "OUT": str(tmp_path), "COLUMNS": "200", "PYTHONUNBUFFERED": "1"}
    with left_running("make demo", there, until="Ctrl-C ends everything") as lines:
        shown = "".join(lines)
    assert "Traceback" not in shown
    (folder,) = (tmp_path / "demo").iterdir()
    results = {int(path.stem[-6:]): WindowResult.read(path) for path in (folder / "monitoring").glob("window-*.json")}
    assert sorted(results) == list(range(1, sum(act.windows for act in ACTS) + 1))
    said = re.findall(r"^window (\d+): .*: (no drift|DRIFT)", shown, re.MULTILINE)
    assert [(int(number), words == "DRIFT") for number, words in said] == [
        (number, bool(results[number].drifted)) for number in sorted(results)
    ]
    rows = [row.split("│") for act in ACTS for row in lines if row.startswith(f"│ {act.name}")]
    assert [row[2].strip() for row in rows] == ["alert" if act.alert else "silence" for act in ACTS]
    assert [row[4].strip() for row in rows] == ["firing" if act.alert else "silent" for act in ACTS], shown
    assert [row[5].strip() for row in rows] == ["as expected"] * len(ACTS), shown
    assert len(list((folder / "monitoring" / "workspace").glob("*/snapshots/*.json"))) == len(results)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_sample_of_fishes_reaches_the_gate_with_eleven_times_more_of_the_most_frequent(
    preset_environment: dict[str, str], tmp_path: Path
) -> None:
    summary = deployed_run("make run PRESET=fish-sample", tmp_path, preset_environment)
    slices = summary["dataset"]["by_class"].values()
    assert max(slices) >= 10 * min(slices)


@pytest.mark.slow
def test_photographs_of_a_folder_end_deployed_and_answered(reader: dict[str, str], tmp_path: Path) -> None:
    generate_photographs(tmp_path / "set", PhotoConfig(specimens_per_species=6, imbalance=1, size=64), workers=1)
    photos = {**reader, "OUT": str(tmp_path / "runs")}
    ended = type_in(f"make run PHOTOS={tmp_path / 'set' / 'photographs'}", photos)
    summary = json.loads((tmp_path / "runs" / "latest" / "summary.json").read_text())
    assert (ended.returncode, summary["outcome"]) == (0, "deployed"), ended.stdout
    assert summary["answer"]["difference"] <= 1e-5
    card = json.loads((Path(summary["model"]["path"]) / "model.json").read_text())
    assert (card["channels"], card["segmented"], card["image_size"]) == (3, False, 32)
