"""Every command of README.md and docs/ is run or checked; see `tests/documents.py` for the kinds of commands."""

import json
import os
import re
import shlex
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
from pipelines.local.demo_traffic import PHASES
from pipelines.local.run import pipeline_call
from pipelines.run import parse_options
from tests.documents import DOCUMENTS, ROOT, all_commands, commands, commands_of, kind_of
from tests.make_programs import printed_arguments

PLACEHOLDERS = ("my-slice.png", "my-scan.nii.gz", "private.pem", "public.pem")
LINKED_DOCUMENTS = [*DOCUMENTS, ROOT / "CONTRIBUTING.md"]
PACKAGES = "components|docs|manifests|monitoring|pipelines|serving|tests"


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory, volumes: Path) -> dict[str, str]:
    """Return the environment of a user with an own folder of runs, own scans and an own port, and the preset smoke."""
    out = tmp_path_factory.mktemp("user")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "OUT": str(out), "PRESET": "smoke", "PORT": port, "PATH": path, "SCANS": str(volumes)}


def run_command(command: str, user: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command of a document with the user's scans, files and port."""
    line = command.replace("8080", user["PORT"]).replace("my-scans", user["SCANS"])
    for file in PLACEHOLDERS:
        line = line.replace(file, f"{user['OUT']}/{file}")
    return subprocess.run(
        ["bash", "-c", line], cwd=ROOT, env=user, capture_output=True, text=True, timeout=280, check=False
    )


@contextmanager
def background_command(command: str, user: dict[str, str], until: str) -> Iterator[list[str]]:
    """Start a command, yield its lines up to one that matches `until`, and stop it with Ctrl-C."""
    process = subprocess.Popen(
        ["bash", "-c", command], cwd=ROOT, env=user, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    lines: list[str] = []
    try:
        for line in process.stdout:
            lines.append(line)
            if re.search(until, line):
                break
        yield lines
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)


def test_there_is_a_test_for_every_command_of_the_documents() -> None:
    assert {command: documents for command, documents in all_commands().items() if not kind_of(command)} == {}


def test_the_readme_shows_the_commands_of_the_slow_tests() -> None:
    readme = {command for command, documents in all_commands().items() if "README.md" in documents}
    assert readme >= {"make run", "make run VOLUMES=my-scans", "make serve", "make monitor"}


@pytest.mark.parametrize("document", LINKED_DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_and_every_path_of_a_document_exists(document: Path) -> None:
    text = document.read_text()
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    paths = re.findall(rf"`((?:{PACKAGES})/[\w./-]+|[A-Z]+\.md)`", text)
    bad_links = [link for link in links if not (document.parent / link).exists()]
    assert bad_links + [path for path in paths if not (ROOT / path).exists()] == []


def test_the_first_session_of_a_user_succeeds(user: dict[str, str]) -> None:
    training = run_command("make run VOLUMES=my-scans", user)
    assert training.returncode == 0, training.stdout + training.stderr
    out = Path(user["OUT"])
    shutil.copy(next((out / "models" / "foraminifera" / "1" / "examples").glob("*.png")), out / "my-slice.png")
    shutil.copy(next(Path(user["SCANS"]).rglob("*.nii.gz")), out / "my-scan.nii.gz")
    with background_command("make serve", user, until="http://"):
        wait_for_server(int(user["PORT"]))
        for command in commands("served"):
            answer = run_command(command, user)
            assert answer.returncode == 0, command + answer.stdout + answer.stderr
            assert '"error":' not in answer.stdout, command + answer.stdout
        table = run_command("make ask", user).stdout
        assert table.count("%") == 3
        assert any(species in table for species in ("Fallotia", "Coskinolina", "Baculogypsina"))
        with background_command("make monitor", user, until="slices") as lines:
            monitor = re.search(r"127\.0\.0\.1:(\d+)\S*/metrics", "".join(lines))
            for command in commands("monitored"):
                assert monitor, lines
                answer = run_command(command.replace("9108", monitor[1]), user)
                assert answer.returncode == 0, command + answer.stdout + answer.stderr


def wait_for_server(port: int) -> None:
    """Wait until a server accepts connections and is ready."""
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


@pytest.mark.parametrize("command", commands("run"))
def test_a_command_without_a_server_succeeds(user: dict[str, str], command: str) -> None:
    result = run_command(command, user)
    assert result.returncode == 0, result.stdout + result.stderr
    assert all(Path(line).exists() for line in result.stdout.splitlines() if line.endswith(".yaml"))


def test_the_production_manifests_contain_the_monitor_and_patches(user: dict[str, str]) -> None:
    manifests = run_command("kubectl kustomize manifests/overlays/production", user)
    assert "kind: Deployment" in manifests.stdout
    assert 'taxonflow.dev/endpoint-patch: "true"' in manifests.stdout


def test_readme_leads_from_images_to_an_answer_in_five_commands() -> None:
    cluster = (ROOT / "README.md").read_text().partition("## Run it on a cluster")[2].partition("\n## ")[0]
    lines = cluster.partition("```sh\n")[2].partition("```")[0].splitlines()
    steps = [line for line in lines if not re.match(r"export |kubectl .* port-forward ", line)]
    expected_starts = ("make images push", "kubectl apply -k manifests/overlays/kind", "make doctor", "make submit")
    assert len(steps) == 5
    assert all(step.startswith(start) for step, start in zip(steps, (*expected_starts, "make ask URL="), strict=True))


def test_the_guide_has_the_five_commands_for_both_installations() -> None:
    guide = commands_of(ROOT / "docs" / "guides" / "cluster.md")
    for overlay in ("kind", "production"):
        start = guide.index(f"kubectl apply -k manifests/overlays/{overlay}")
        words = [command.split()[:2] for command in guide[start - 1 : start + 5]]
        assert [word[1] for word in words] == ["images", "apply", "doctor", "submit", "-n", "ask"]


@pytest.mark.parametrize("command", commands("submit"))
def test_make_submit_to_an_unknown_host_ends_without_a_traceback(user: dict[str, str], command: str) -> None:
    result = run_command(command, user)
    assert result.returncode == 2
    assert "kubeflow.example.org" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", commands("options"))
def test_the_options_of_make_run_are_valid(command: str, tmp_path: Path) -> None:
    _, arguments = command.split("make ")
    variables = dict(word.split("=", 1) for word in shlex.split(arguments) if "=" in word)
    words = printed_arguments("run", tmp_path, **{**variables, "OUT": str(tmp_path)}).splitlines()
    pipeline, parameters = pipeline_call(parse_options(words[words.index("pipelines.run") + 1 :]))
    assert pipeline in ("training", "phantom_training")
    assert parameters["backbones"]


@pytest.mark.parametrize("command", commands("dry run"))
def test_make_expands_the_command(command: str) -> None:
    assert dry_run(*shlex.split(command.split("make ")[1]))


@pytest.mark.parametrize("command", commands("syntax"))
def test_a_command_for_a_cluster_names_existing_files(command: str) -> None:
    subprocess.run(["bash", "-n", "-c", command], check=True)
    paths = re.findall(rf"(?<![\w/.])(?:{PACKAGES})/[\w./-]+", command)
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_make_phantoms_writes_specimens_and_a_contact_sheet(user: dict[str, str], tmp_path: Path) -> None:
    result = run_command("make phantoms SPECIMENS=1", {**user, "OUT": str(tmp_path)})
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "phantoms" / "contact_sheet.png").stat().st_size < 500_000
    assert (tmp_path / "phantoms" / "manifest.csv").read_text().startswith("path,species,specimen")


def test_make_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    output = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = set(re.search(r"\.PHONY: (.*)", makefile)[1].split()) if ".PHONY" in makefile else set()
    assert targets == set(re.findall(r"make (\S+)", output))


def dry_run(*arguments: str) -> str:
    """Return the last command that make would run; an outer make has no influence."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    command = ["make", "--dry-run", *arguments]
    output = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    return output.splitlines()[-1]


def test_make_ask_leaves_the_choice_of_model_and_slices_to_the_client(tmp_path: Path) -> None:
    for version in ("fish/1", "foraminifera/9", "foraminifera/10"):
        (tmp_path / "models" / version / "examples").mkdir(parents=True)
    examples = f"--examples={tmp_path}/models"
    words = printed_arguments("ask", tmp_path, OUT=str(tmp_path)).splitlines()
    assert words[-3:] == ["--model=", "--images=", examples]
    words = printed_arguments("ask", tmp_path, OUT=str(tmp_path), MODEL="fish", IMAGES="a.png b").splitlines()
    assert words[-3:] == ["--model=fish", "--images=a.png b", examples]


def test_make_submit_passes_every_setting() -> None:
    assert '--set "volumes=s3://scans" --set "seed=1"' in dry_run("submit", "SET=volumes=s3://scans seed=1")


OPTIONS = {
    "NAMESPACE": "--namespace",
    "ACCOUNT": "--service-account",
    "TOKEN_FILE": "--token-file",
    "CA": "--ca",
    "RESOURCES": "--resources",
    "MONITORED_MODELS": "--monitored-models",
    "PIPELINE": "--pipeline",
    "EVERY": "--every",
}


@pytest.mark.parametrize(
    ("target", "variables"),
    [
        ("submit", tuple(OPTIONS)),
        ("compile", ("RESOURCES", "MONITORED_MODELS")),
        ("doctor", ("NAMESPACE", "ACCOUNT", "TOKEN_FILE", "CA", "RESOURCES", "MONITORED_MODELS")),
        ("ask", ("CA",)),
    ],
)
def test_variables_of_a_cluster_reach_the_programs(target: str, variables: tuple[str, ...], tmp_path: Path) -> None:
    values = {name: f"a $b 'c {name}" for name in variables}
    words = printed_arguments(target, tmp_path, **values, PRESET="smoke").splitlines()
    assert {f"{OPTIONS[name]}={value}" for name, value in values.items()} <= set(words), words
    unset = printed_arguments(target, tmp_path, PRESET="smoke").splitlines()
    assert not {word.split("=")[0] for word in unset} & set(OPTIONS.values())


def test_make_ask_asks_the_endpoint_of_a_url(tmp_path: Path) -> None:
    words = printed_arguments("ask", tmp_path, URL="http://127.0.0.1:8081", PORT="9").splitlines()
    assert words[words.index("--url") + 1] == "http://127.0.0.1:8081"


@pytest.mark.parametrize("target", ["compile", "submit", "doctor", "test-cluster"])
def test_the_registry_and_the_tag_reach_the_programs(target: str, tmp_path: Path) -> None:
    program = "print(os.environ['TAXONFLOW_REGISTRY'], os.environ['TAXONFLOW_TAG'])"
    output = printed_arguments(target, tmp_path, program, REGISTRY="r.example.org", TAG="1.2")
    assert output == "r.example.org 1.2\n"


@pytest.fixture(scope="module")
def preset_environment() -> dict[str, str]:
    """Return the environment without variables that would change a preset."""
    return {name: value for name, value in os.environ.items() if name not in ("PRESET", "OUT")}


def deployed_run(command: str, out: Path, environment: dict[str, str]) -> dict[str, Any]:
    """Run a command of the documents, check that its model is deployed, and return the summary."""
    environment = {**environment, "OUT": str(out)}
    result = subprocess.run(command.split(), cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    summary: dict[str, Any] = json.loads((out / "latest" / "summary.json").read_text())
    assert (result.returncode, summary["outcome"]) == (0, "deployed"), result.stdout
    assert summary["ensemble"]["accuracy"] >= 0.95
    assert len(summary["dataset"]["classes"]) == 12
    assert min(summary["dataset"]["test_specimens"].values()) >= 3
    return summary


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_make_run_passes_the_gate_and_make_demo_fires_the_alerts(
    preset_environment: dict[str, str], tmp_path: Path
) -> None:
    deployed_run("make run", tmp_path, preset_environment)
    environment = {**preset_environment, "OUT": str(tmp_path), "COLUMNS": "200", "PYTHONUNBUFFERED": "1"}
    with background_command("make demo", environment, until="Press Ctrl-C") as lines:
        output = "".join(lines)
    assert "Traceback" not in output
    (folder,) = (tmp_path / "demo").iterdir()
    results = {int(path.stem[-6:]): WindowResult.read(path) for path in (folder / "monitoring").glob("window-*.json")}
    assert sorted(results) == list(range(1, sum(phase.windows for phase in PHASES) + 1))
    windows = re.findall(r"^window (\d+): .*: (no drift|DRIFT)", output, re.MULTILINE)
    assert [(int(number), verdict == "DRIFT") for number, verdict in windows] == [
        (number, bool(results[number].drifted)) for number in sorted(results)
    ]
    rows = [row.split("│") for phase in PHASES for row in lines if row.startswith(f"│ {phase.name}")]
    assert [row[2].strip() for row in rows] == ["alert" if phase.alert else "no alert" for phase in PHASES]
    assert [row[4].strip() for row in rows] == ["firing" if phase.alert else "silent" for phase in PHASES], output
    assert [row[5].strip() for row in rows] == ["as expected"] * len(PHASES), output
    assert len(list((folder / "monitoring" / "workspace").glob("*/snapshots/*.json"))) == len(results)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_imbalanced_sample_of_fishes_passes_the_gate(preset_environment: dict[str, str], tmp_path: Path) -> None:
    summary = deployed_run("make run PRESET=fish-sample", tmp_path, preset_environment)
    slices = summary["dataset"]["by_class"].values()
    assert max(slices) >= 10 * min(slices)


@pytest.mark.slow
def test_a_folder_of_photographs_ends_deployed(user: dict[str, str], tmp_path: Path) -> None:
    generate_photographs(tmp_path / "set", PhotoConfig(specimens_per_species=6, imbalance=1, size=64), workers=1)
    photos = {**user, "OUT": str(tmp_path / "runs")}
    result = run_command(f"make run PHOTOS={tmp_path / 'set' / 'photographs'}", photos)
    summary = json.loads((tmp_path / "runs" / "latest" / "summary.json").read_text())
    assert (result.returncode, summary["outcome"]) == (0, "deployed"), result.stdout
    assert summary["answer"]["difference"] <= 1e-5
    card = json.loads((Path(summary["model"]["path"]) / "model.json").read_text())
    assert (card["channels"], card["segmented"], card["image_size"]) == (3, False, 32)
