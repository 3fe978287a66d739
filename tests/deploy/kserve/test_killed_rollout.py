"""Rollouts in Standard mode that are killed at any write and run again: one stable revision remains."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.deploy.kserve.report import RolledBackError
from components.shared.errors import DeployError
from tests.deploy.revisions import KEY, NEW, OLD, check_one_stable_revision, patches, promotions

DEPLOY = """
import sys
from pathlib import Path
from urllib.parse import urlsplit
from components.deploy.canary.settings import CanarySettings, CanaryTrial, Retries
from components.deploy.kserve.target import roll_out
from components.deploy.verified_model import verify_model
model = verify_model(Path(sys.argv[1]), sys.argv[2], "foraminifera")
settings = CanarySettings(pairs=20, slower=1000, predictor=sys.argv[3] + "/{namespace}/{service}")
roll_out(model, urlsplit("kserve://lab/forams"), CanaryTrial(settings, None, Retries(60.0, 0.01)))
"""


class PowerCut:
    """Failure that disconnects the step from the cluster at one of its writes, like a kill between two writes."""

    def __init__(self, write: int, moment: str) -> None:
        self.write, self.moment, self.writes, self.cut = write, moment, 0, False

    def __call__(self, method: str, path: str) -> str:
        if self.cut:
            return "before"
        if method == "GET" or path.endswith(":predict"):
            return ""
        self.writes += 1
        self.cut = self.writes == self.write
        return self.moment if self.cut else ""


def kill_and_run_again(cluster: Any, roll_out: Callable[[], Any], write: int, moment: str) -> bool:
    """Kill a rollout at a write and run it again; return whether it ended before the write."""
    cut = PowerCut(write, moment)
    cluster.lose_connection = cut
    try:
        roll_out()
    except DeployError:
        assert cut.cut or cluster.wrong_answers or cluster.failing
    cluster.lose_connection = lambda _method, _path: ""
    try:
        roll_out()
    except RolledBackError:
        assert cluster.wrong_answers or cluster.failing
    return not cut.cut


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("fate", ["promoted", "idle canary rolled back", "serving canary rolled back"])
def test_a_rollout_killed_at_any_write_leaves_one_stable_revision(
    artifact: Path, cluster: Any, deploy: Any, moment: str, fate: str
) -> None:
    deploy(artifact, OLD)
    cluster.wrong_answers.update({NEW} if "idle" in fate else ())
    cluster.failing.update({NEW: 0.7} if "serving" in fate else {})
    service, complete, write = cluster.services[KEY], False, 0
    while not complete:
        write += 1
        cluster.restore(service, NEW)
        complete = kill_and_run_again(cluster, lambda: deploy(artifact, NEW, pairs=60), write, moment)
        check_one_stable_revision(cluster, NEW if fate == "promoted" else OLD)
        assert promotions(cluster) == (fate == "promoted"), write
    assert write == {"promoted": 5, "idle canary rolled back": 4, "serving canary rolled back": 5}[fate]


@pytest.mark.parametrize("patch", [1, 2, 3])
def test_a_process_killed_after_a_patch_is_resumed(
    served_artifact: Path, cluster: Any, deploy: Any, patch: int
) -> None:
    process = subprocess.Popen([sys.executable, "-c", DEPLOY, str(served_artifact), NEW, cluster.address])
    cluster.lose_connection = lambda _method, _path: "before" if len(patches(cluster)) > patch else ""
    deadline = time.monotonic() + 60
    while len(patches(cluster)) < patch:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.001)
    process.kill()
    process.wait()
    cluster.lose_connection = lambda _method, _path: ""
    assert deploy(served_artifact, NEW).version == 2
    assert promotions(cluster) == 1
    check_one_stable_revision(cluster, NEW)
