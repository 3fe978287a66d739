"""Start command of the predictor's pods, run by a real shell on real folders."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.deploy.kserve.inference_service import inference_service, requested_model
from components.deploy.kserve.start_command import START_COMMAND
from components.deploy.verified_model import verify_model
from components.shared.signing import sign_folder

SERVER_ARGUMENTS = "--model_name=forams --rest_api_port=8080\n"
KEY = ("lab", "forams")


def run_start_command(models: Path, digest: str) -> subprocess.CompletedProcess[str]:
    """Run the start command with `echo` as the server."""
    shell, option, script, _ = START_COMMAND
    command = [shell, option, script.replace("/mnt/models", str(models)), "/bin/echo", *SERVER_ARGUMENTS.split()]
    return subprocess.run(command, env={**os.environ, "MODEL_DIGEST": digest}, capture_output=True, text=True)


def start_server(program: str) -> subprocess.Popen[str]:
    """Run the start command with a Python program as the server, until the program has printed a line."""
    shell, option, script, _ = START_COMMAND
    process = subprocess.Popen(
        [shell, option, script, sys.executable, "-uc", program],
        env={**os.environ, "MODEL_DIGEST": ""},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "started\n"
    return process


def digest_of(artifact: Path) -> str:
    return verify_model(artifact, "pvc://runs/a", "foraminifera").digest


def flip_a_bit(artifact: Path) -> None:
    content = bytearray((artifact / "1" / "variables" / "variables.index").read_bytes())
    content[len(content) // 2] ^= 1
    (artifact / "1" / "variables" / "variables.index").write_bytes(content)


def add_a_file(artifact: Path) -> None:
    (artifact / "1" / "assets.extra").mkdir()
    (artifact / "1" / "assets.extra" / "with a space").write_text("added")


def link_a_file(artifact: Path) -> None:
    (artifact / "1" / "added.pb").symlink_to("saved_model.pb")


def add_a_version(artifact: Path) -> None:
    (artifact / "0002").mkdir()


def test_a_verified_model_is_served_with_the_runtimes_arguments(artifact: Path) -> None:
    (artifact / "1" / "variables" / "Z \u00e9.index").write_text("a name that locales sort otherwise")
    (artifact / "1" / "variables" / "variables" / "deeper").mkdir(parents=True)
    (artifact / "1" / "variables" / "variables" / "deeper" / "x").write_text("x")
    sign_folder(artifact / "1", None)
    process = run_start_command(artifact, digest_of(artifact))
    assert (process.returncode, process.stdout, process.stderr) == (0, SERVER_ARGUMENTS, "")


@pytest.mark.parametrize(
    ("tamper", "reason"),
    [
        (flip_a_bit, "differs from the model"),
        (add_a_file, "differs from the model"),
        (link_a_file, "differs from the model"),
        (
            lambda artifact: (artifact / "1" / "saved_model.pb").unlink(),
            "differs from the model",
        ),
        (lambda artifact: (artifact / "1").rename(artifact / "2"), "1"),
        (add_a_version, "unverified version"),
    ],
    ids=["flipped", "added", "linked", "missing", "moved", "another version"],
)
def test_a_model_changed_after_its_verification_is_not_served(
    artifact: Path, tamper: Callable[[Path], Any], reason: str
) -> None:
    digest = digest_of(artifact)
    tamper(artifact)
    process = run_start_command(artifact, digest)
    assert process.returncode != 0
    assert process.stdout == ""
    assert reason in process.stderr


STARTED = "import os, signal, sys, time; "
WITHOUT_HANDLERS = f"{STARTED}print('started'); time.sleep(30)"
WITH_A_HANDLER = (
    f"{STARTED}stop = lambda *_: (signal.signal(signal.SIGTERM, signal.SIG_IGN), time.sleep(0.3), print('ended'), "
    "sys.exit(7)); signal.signal(signal.SIGTERM, stop); "
    "print('started'); time.sleep(30)"
)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(("program", "status", "output"), [(WITHOUT_HANDLERS, 143, ""), (WITH_A_HANDLER, 7, "ended\n")])
def test_process_1_ends_the_server_and_returns_its_status(number: int, program: str, status: int, output: str) -> None:
    process = start_server(program)
    process.send_signal(number)
    assert (process.communicate(timeout=10)[0], process.returncode) == (output, status)


def test_further_signals_do_not_lose_the_status_of_the_server() -> None:
    process = start_server(WITH_A_HANDLER)
    for _ in range(5):
        process.send_signal(signal.SIGTERM)
    assert (process.wait(timeout=10), process.communicate()[0]) == (7, "ended\n")


@pytest.mark.parametrize("status", [0, 3, 127])
def test_a_server_that_ends_by_itself_ends_process_1_too(status: int) -> None:
    process = start_server(f"{STARTED}print('started'); sys.exit({status})")
    assert process.wait(timeout=10) == status


def test_the_start_command_stays_process_1() -> None:
    process = start_server(f"{STARTED}print('started'); print(os.getppid()); time.sleep(30)")
    assert process.stdout
    assert int(process.stdout.readline()) == process.pid
    process.terminate()
    process.communicate(timeout=10)


@pytest.mark.skipif(
    subprocess.run(["unshare", "--pid", "--fork", "true"], capture_output=True).returncode != 0,
    reason="needs the right to create a PID namespace",
)
def test_process_1_of_a_pid_namespace_ends_on_sigterm() -> None:
    namespace = ["unshare", "--pid", "--fork", "--kill-child"]
    shell, option, script, _ = START_COMMAND
    command = [*namespace, shell, option, script, sys.executable, "-uc", WITHOUT_HANDLERS]
    process = subprocess.Popen(command, env={**os.environ, "MODEL_DIGEST": ""}, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "started\n"
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(child), signal.SIGTERM)
    assert process.wait(timeout=10) == 143
    process.stdout.close()


def test_a_model_without_a_digest_starts_at_once(tmp_path: Path) -> None:
    assert run_start_command(tmp_path, "").stdout == SERVER_ARGUMENTS


def test_the_command_has_no_placeholder_of_kubernetes_or_kserve() -> None:
    assert inference_service("forams")["spec"]["predictor"]["model"]["command"] == list(START_COMMAND)
    assert not any(sign in "".join(START_COMMAND) for sign in ("$(", "$$", "{{", "}}"))


def test_pods_have_the_digests_of_the_current_and_previous_model(
    make_artifact: Callable[..., Path], cluster: Any, deploy: Any
) -> None:
    digests = []
    for label in ("a", "b"):
        artifact = make_artifact(label)
        deploy(artifact, f"pvc://runs/{label}")
        digests.append(digest_of(artifact))
    annotations = cluster.services[KEY]["spec"]["predictor"]["annotations"]
    assert [annotations[f"taxonflow.dev/{name}-digest"] for name in ("previous-model", "model")] == digests
    stable = requested_model(cluster.services[KEY])
    assert stable
    assert stable.digest == digests[1] != digests[0]


def test_a_canarys_pods_have_the_digest_of_the_canary(
    make_artifact: Callable[..., Path], cluster: Any, deploy: Any
) -> None:
    deploy(make_artifact("a"), "pvc://runs/a")
    digests: list[str] = []

    def note(_method: str, _path: str) -> None:
        for entry in cluster.services[KEY]["spec"].get("canary") or []:
            digests.append(entry["predictor"]["annotations"]["taxonflow.dev/model-digest"])

    cluster.answer_instead = note
    canary = make_artifact("b")
    deploy(canary, "pvc://runs/b")
    assert set(digests) == {digest_of(canary)}
