"""A roll-out in Standard mode that is killed and run again: whatever the moment, one stable revision is left."""

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
from components.deploy.canary.settings import CanarySettings
from urllib.parse import urlsplit
from components.deploy.kserve.target import roll_out
from components.deploy.verified_model import open_publication
from components.deploy.kserve.rollout import Patience
publication = open_publication(Path(sys.argv[1]), sys.argv[2], "foraminifera")
settings = CanarySettings(pairs=20, slower=1000, predictor=sys.argv[3] + "/{namespace}/{service}")
roll_out(publication, urlsplit("kserve://lab/forams"), settings, None, Patience(60.0, 0.01))
"""


class PowerCut:
    """Cuts the step off the cluster for good at one of its writes; a kill between two writes leaves nothing else."""

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


def cut_and_run_again(cluster: Any, roll_out: Callable[[], Any], write: int, moment: str) -> bool:
    """Kills a roll-out at a write and runs it again; returns whether it ended before the write."""
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
@pytest.mark.parametrize("fate", ["promoted", "rolled back in the dark", "rolled back by the judge"])
def test_killed_at_any_write_and_run_again_there_is_one_stable_revision(
    served: Path, cluster: Any, deploy: Any, moment: str, fate: str
) -> None:
    deploy(served, OLD)
    cluster.wrong_answers.update({NEW} if "dark" in fate else ())
    cluster.failing.update({NEW: 0.7} if "judge" in fate else {})
    begin, ended, write = cluster.services[KEY], False, 0
    while not ended:
        write += 1
        cluster.restore(begin, NEW)
        ended = cut_and_run_again(cluster, lambda: deploy(served, NEW, pairs=60), write, moment)
        check_one_stable_revision(cluster, NEW if fate == "promoted" else OLD)
        assert promotions(cluster) == (fate == "promoted"), write
    assert write == {"promoted": 5, "rolled back in the dark": 4, "rolled back by the judge": 5}[fate]


@pytest.mark.parametrize("patch", [1, 2, 3])
def test_killed_for_real_after_a_patch_and_run_again_it_goes_on(
    first: Path, cluster: Any, deploy: Any, patch: int
) -> None:
    process = subprocess.Popen([sys.executable, "-c", DEPLOY, str(first), NEW, cluster.address])
    cluster.lose_connection = lambda _method, _path: "before" if len(patches(cluster)) > patch else ""
    until = time.monotonic() + 60
    while len(patches(cluster)) < patch:
        assert time.monotonic() < until
        assert process.poll() is None
        time.sleep(0.001)
    process.kill()
    process.wait()
    cluster.lose_connection = lambda _method, _path: ""
    assert deploy(first, NEW).version == 2
    assert promotions(cluster) == 1
    check_one_stable_revision(cluster, NEW)
