"""Promotions while old pods still answer, in real time: served if the new model is right, rolled back if it is wrong.

Each rollout has its own API server, model servers, TCP proxy and user; those of a combination run at once.
"""

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from components.deploy.canary.settings import CanarySettings, CanaryTrial, Retries
from components.deploy.kserve.client import Cluster
from components.deploy.kserve.report import RolledBackError
from components.deploy.kserve.target import roll_out_in
from components.deploy.records import DeployRecords
from components.deploy.verified_model import verify_model
from tests.benchmarks.measurement import Measurement
from tests.deploy.conftest import serve_cluster, write_artifact
from tests.deploy.draining import draining
from tests.deploy.fake_cluster import FakeCluster
from tests.deploy.revisions import NEW, OLD

REPETITIONS = 20
LIFETIMES_S = (0.0, 10.0, 60.0)
GRACE_PERIOD_S = 60
OLD_ID, NEW_ID = "1" * 64, "2" * 64
RIGHT, WRONG = [0.9, 0.1], [0.1, 0.9]
_KUBECONFIG_LOCK = threading.Lock()


@dataclass(frozen=True)
class Case:
    """Conditions of a rollout.

    Attributes:
        is_right: Whether the new model answers as in its evaluation; the old one never does.
        lifetime_s: Seconds for which an old pod answers on open connections.
        keeps_connections: Whether the transformer keeps its connections to the predictor.
    """

    is_right: bool
    lifetime_s: float
    keeps_connections: bool

    def __str__(self) -> str:
        connections = "kept" if self.keeps_connections else "new"
        return f"{'right' if self.is_right else 'wrong'}, old pods {self.lifetime_s:g} s, {connections} connections"


def roll_out_twice(case: Case, folder: Path) -> tuple[bool, float]:
    """Roll out an old and a new model; return whether the end is right, and the seconds of the second rollout."""
    cluster = FakeCluster(lambda _: [])
    cluster.grace_period_s = GRACE_PERIOD_S
    served = {OLD: (OLD_ID, WRONG), NEW: (NEW_ID, RIGHT if case.is_right else WRONG)}
    folder.mkdir(parents=True)
    with (
        serve_cluster(cluster, folder / "kubeconfig"),
        draining(cluster, served, case.lifetime_s, case.keeps_connections, pause_s=0.5),
    ):
        with _KUBECONFIG_LOCK:
            os.environ["KUBECONFIG"] = str(folder / "kubeconfig")
            lab = Cluster("lab")
        settings = CanarySettings(pairs=20, slower=1000, predictor=f"{cluster.address}/{{namespace}}/{{service}}")
        trial = CanaryTrial(settings, None, Retries(timeout=600.0, pause=1.0))
        old, new = (
            verify_model(
                write_artifact(folder / uri[-1], mark=uri[-1], model_id=model_id, scores=scores), uri, "foraminifera"
            )
            for uri, model_id, scores in ((OLD, OLD_ID, WRONG), (NEW, NEW_ID, RIGHT))
        )
        roll_out_in(lab, "forams", old, trial, DeployRecords())
        start = time.monotonic()
        try:
            is_served = roll_out_in(lab, "forams", new, trial, DeployRecords()).version == 2
        except RolledBackError:
            is_served = False
        seconds = time.monotonic() - start
    uri = cluster.services["lab", "forams"]["spec"]["predictor"]["model"]["storageUri"]
    return is_served == case.is_right and uri == (NEW if case.is_right else OLD), seconds


def _promotions(scratch: Path) -> Iterator[Measurement]:
    for is_right, lifetime_s, keeps_connections in product((True, False), LIFETIMES_S, (True, False)):
        case = Case(is_right, lifetime_s, keeps_connections)
        folders = [scratch / f"{case}" / str(number) for number in range(REPETITIONS)]
        with ThreadPoolExecutor(REPETITIONS) as pool:
            results = list(pool.map(roll_out_twice, [case] * REPETITIONS, folders))
        ends = sum(is_expected for is_expected, _ in results)
        longest = max(seconds for _, seconds in results)
        expected = "served" if is_right else "rolled back"
        yield Measurement(
            f"rollout {case}", ends, f"of {REPETITIONS} {expected}, at most {longest:.0f} s", bar=f"{REPETITIONS}"
        )


BENCHMARKS = {"rollout-promotions": _promotions}
