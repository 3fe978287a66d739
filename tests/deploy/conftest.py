"""Fixtures: a served model on disk, and the fake cluster that it is deployed to."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from components.deploy.canary.settings import CanarySettings, CanaryTrial, Retries
from components.deploy.kserve.report import RolloutResult
from components.deploy.kserve.target import roll_out
from components.deploy.verified_model import verify_model
from components.shared.contracts import Example, GateVerdict, ModelCard
from components.shared.model_repository import CARD_FILE
from components.shared.signing import sign_folder
from tests.deploy.fake_cluster import FakeCluster, respond
from tests.deploy.kubeconfig import write_kubeconfig
from tests.deploy.revisions import OLD
from tests.http_server import http_server
from tests.model_cards import model_score


def write_artifact(
    folder: Path,
    gate_passed: bool = True,
    name: str = "foraminifera",
    mark: str = "a",
    examples: int = 1,
    scores: Sequence[float] = (0.9, 0.1),
    image: bytes = b"png",
    **card_fields: Any,
) -> Path:
    version = folder / "1"
    (version / "variables").mkdir(parents=True)
    (version / "examples").mkdir()
    (version / "saved_model.pb").write_bytes(f"graph {mark}".encode())
    (version / "variables" / "variables.index").write_bytes(mark.encode() * 1000)
    (version / "reference.parquet").write_bytes(b"reference")
    for number in range(examples):
        (version / "examples" / f"{number}.png").write_bytes(image)
    reasons = () if gate_passed else ("accuracy 0.50 is below 0.95",)
    card = ModelCard(
        name=name,
        members=("cnn_small",),
        rule="mean",
        metrics=model_score(0.97),
        thresholds={"confidence": 0.5},
        gate=GateVerdict(passed=gate_passed, accuracy=0.97 if gate_passed else 0.5, threshold=0.95, reasons=reasons),
        data_hash="0" * 64,
        code_version="0.1.0",
        examples=tuple(
            Example(id=f"x/{number}", file=f"examples/{number}.png", species="Alveolina", scores=tuple(scores))
            for number in range(examples)
        ),
        **{"classes": ("Alveolina", "Orbitoides"), "channels": 1, "segmented": True, **card_fields},
    )
    card.write(version / CARD_FILE)
    sign_folder(version, None)
    return folder


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """Folder of a served model, the parent of its version folder."""
    return write_artifact(tmp_path / "artifact")


@pytest.fixture
def make_artifact(tmp_path: Path) -> Callable[..., Path]:
    def make(label: str, **options: Any) -> Path:
        return write_artifact(tmp_path / label, mark=label, **options)

    return make


@contextmanager
def serve_cluster(fake: FakeCluster, kubeconfig: Path) -> Iterator[None]:
    """Serve a fake cluster over HTTP."""
    with http_server(partial(respond, fake)) as fake.address:
        write_kubeconfig(kubeconfig, fake.address)
        yield


@pytest.fixture
def cluster(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    complaints_of_crd: Callable[[dict[str, Any]], list[str]],
) -> Iterator[FakeCluster]:
    """FakeCluster, or the class in an indirect parameter."""
    fake = getattr(request, "param", FakeCluster)(complaints_of_crd)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    with serve_cluster(fake, tmp_path / "kubeconfig"):
        yield fake


@pytest.fixture
def unreachable_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_kubeconfig(tmp_path / "kubeconfig", "http://127.0.0.1:9")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))


@pytest.fixture
def deploy(cluster: FakeCluster) -> Callable[..., RolloutResult]:
    """Function that deploys an artifact to kserve://lab/forams with few pairs and short pauses."""

    def to_cluster(
        artifact: Path, uri: str, timeout: float = 3.0, data: Path | None = None, **settings: Any
    ) -> RolloutResult:
        predictor = f"{cluster.address}/{{namespace}}/{{service}}"
        canary = CanarySettings(**{"pairs": 20, "slower": 1000, "predictor": predictor, **settings})
        model = verify_model(artifact, uri, "foraminifera")
        return roll_out(model, urlsplit("kserve://lab/forams"), CanaryTrial(canary, data, Retries(timeout, 0.002, 0.6)))

    return to_cluster


@pytest.fixture
def served_artifact(artifact: Path, cluster: Any, deploy: Any) -> Path:
    """Artifact that the cluster serves under the URI OLD; the recorded requests are empty."""
    deploy(artifact, OLD)
    for requests in (cluster.requests, cluster.asked, cluster.asked_directly, cluster.users):
        requests.clear()
    return artifact
