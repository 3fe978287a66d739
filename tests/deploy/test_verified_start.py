"""What TensorFlow Serving's pods do before they load a model, run by a real shell on real folders."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.deploy.kserve.inference_service import inference_service, served_model
from components.deploy.kserve.verified_start import START_COMMAND
from components.deploy.verified_model import open_publication
from components.shared.signing import sign_folder

STARTED = "--model_name=forams --rest_api_port=8080\n"
KEY = ("lab", "forams")


def started(models: Path, digest: str) -> subprocess.CompletedProcess[str]:
    """Runs the pods' command with `echo` as the server."""
    shell, option, script, _ = START_COMMAND
    command = [shell, option, script.replace("/mnt/models", str(models)), "/bin/echo", *STARTED.split()]
    return subprocess.run(command, env={**os.environ, "MODEL_DIGEST": digest}, capture_output=True, text=True)


def digest_of(served: Path) -> str:
    return open_publication(served, "s3://runs/a", "foraminifera").digest


def flip_a_bit(served: Path) -> None:
    content = bytearray((served / "1" / "variables" / "variables.index").read_bytes())
    content[len(content) // 2] ^= 1
    (served / "1" / "variables" / "variables.index").write_bytes(content)


def add_a_file(served: Path) -> None:
    (served / "1" / "assets.extra").mkdir()
    (served / "1" / "assets.extra" / "with a space").write_text("added")


def link_a_file(served: Path) -> None:
    (served / "1" / "added.pb").symlink_to("saved_model.pb")


def add_a_version(served: Path) -> None:
    (served / "0002").mkdir()


def test_the_model_that_was_verified_is_served_with_the_arguments_of_the_runtime(served: Path) -> None:
    (served / "1" / "variables" / "Z \u00e9.index").write_text("a name that locales sort otherwise")
    (served / "1" / "variables" / "variables" / "deeper").mkdir(parents=True)
    (served / "1" / "variables" / "variables" / "deeper" / "x").write_text("x")
    sign_folder(served / "1", None)
    found = started(served, digest_of(served))
    assert (found.returncode, found.stdout, found.stderr) == (0, STARTED, "")


@pytest.mark.parametrize(
    ("tamper", "reason"),
    [
        (flip_a_bit, "is not what the deploy step verified"),
        (add_a_file, "is not what the deploy step verified"),
        (link_a_file, "is not what the deploy step verified"),
        (lambda served: (served / "1" / "saved_model.pb").unlink(), "is not what the deploy step verified"),
        (lambda served: (served / "1").rename(served / "2"), "1"),
        (add_a_version, "beside"),
    ],
    ids=["flipped", "added", "linked", "missing", "moved", "another version"],
)
def test_what_was_changed_after_the_deploy_step_verified_it_is_not_served(
    served: Path, tamper: Callable[[Path], Any], reason: str
) -> None:
    digest = digest_of(served)
    tamper(served)
    found = started(served, digest)
    assert found.returncode != 0
    assert found.stdout == ""
    assert reason in found.stderr


def test_a_model_that_was_set_by_hand_has_no_digest_and_starts_at_once(tmp_path: Path) -> None:
    assert started(tmp_path, "").stdout == STARTED


def test_nothing_in_the_command_is_replaced_by_kubernetes_or_kserve() -> None:
    assert inference_service("forams")["spec"]["predictor"]["model"]["command"] == list(START_COMMAND)
    assert not any(sign in "".join(START_COMMAND) for sign in ("$(", "$$", "{{", "}}"))


def test_pods_are_told_the_digest_of_their_model_and_of_the_one_before(
    make_served: Callable[..., Path], cluster: Any, deploy: Any
) -> None:
    digests = []
    for label in ("a", "b"):
        made = make_served(label)
        deploy(made, f"s3://runs/{label}")
        digests.append(digest_of(made))
    told = cluster.services[KEY]["spec"]["predictor"]["annotations"]
    assert [told[f"taxonflow.dev/{name}-digest"] for name in ("previous-model", "model")] == digests
    stable = served_model(cluster.services[KEY])
    assert stable
    assert stable.digest == digests[1] != digests[0]


def test_a_canarys_pods_are_told_the_digest_of_the_canary(
    make_served: Callable[..., Path], cluster: Any, deploy: Any
) -> None:
    deploy(make_served("a"), "s3://runs/a")
    seen: list[str] = []

    def note(_method: str, _path: str) -> None:
        for entry in cluster.services[KEY]["spec"].get("canary") or []:
            seen.append(entry["predictor"]["annotations"]["taxonflow.dev/model-digest"])

    cluster.answer_instead = note
    canary = make_served("b")
    deploy(canary, "s3://runs/b")
    assert set(seen) == {digest_of(canary)}
