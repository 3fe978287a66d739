"""A served model on disk, and the fake cluster that it is deployed to."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from components.deploy.canary.settings import CanarySettings
from components.deploy.kserve.report import RolledOut
from components.deploy.kserve.rollout import Patience
from components.deploy.kserve.target import roll_out
from components.deploy.verified_model import open_publication
from components.shared.contracts import Example, GateVerdict, ModelCard
from components.shared.signing import sign_folder
from tests.deploy.fake_cluster import FakeCluster, make_handler, write_kubeconfig
from tests.deploy.revisions import OLD
from tests.model_cards import model_score


def write_served_model(
    folder: Path, passed: bool = True, name: str = "foraminifera", mark: str = "a", examples: int = 1
) -> Path:
    version = folder / "1"
    (version / "variables").mkdir(parents=True)
    (version / "examples").mkdir()
    (version / "saved_model.pb").write_bytes(f"graph {mark}".encode())
    (version / "variables" / "variables.index").write_bytes(mark.encode() * 1000)
    (version / "reference.parquet").write_bytes(b"reference")
    for number in range(examples):
        (version / "examples" / f"{number}.png").write_bytes(b"png")
    reasons = () if passed else ("accuracy 0.50 is below 0.95",)
    card = ModelCard(
        name=name,
        classes=("Alveolina", "Orbitoides"),
        channels=1,
        segmented=True,
        members=("cnn_small",),
        rule="mean",
        metrics=model_score(0.97),
        thresholds={"confidence": 0.5},
        gate=GateVerdict(passed=passed, accuracy=0.97 if passed else 0.5, threshold=0.95, reasons=reasons),
        data_hash="0" * 64,
        code_version="0.1.0",
        examples=tuple(
            Example(id=f"x/{number}", file=f"examples/{number}.png", species="Alveolina", scores=(0.9, 0.1))
            for number in range(examples)
        ),
    )
    card.write(version / "model.json")
    sign_folder(version, None)
    return folder


@pytest.fixture
def served(tmp_path: Path) -> Path:
    return write_served_model(tmp_path / "served")


@pytest.fixture
def make_served(tmp_path: Path) -> Callable[..., Path]:
    def make(label: str, **options: Any) -> Path:
        return write_served_model(tmp_path / label, mark=label, **options)

    return make


@contextmanager
def answering(fake: FakeCluster, kubeconfig: Path) -> Iterator[None]:
    """Lets a fake cluster answer over HTTP for the block."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), make_handler(fake))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    fake.address = f"http://127.0.0.1:{server.server_port}"
    write_kubeconfig(kubeconfig, fake.address)
    yield
    server.shutdown()
    server.server_close()


@pytest.fixture
def cluster(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    complaints_of_crd: Callable[[dict[str, Any]], list[str]],
) -> Iterator[FakeCluster]:
    """A cluster of FakeCluster's kind, or of the kind that an indirect parameter names."""
    fake = getattr(request, "param", FakeCluster)(complaints_of_crd)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    with answering(fake, tmp_path / "kubeconfig"):
        yield fake


@pytest.fixture
def unreachable_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_kubeconfig(tmp_path / "kubeconfig", "http://127.0.0.1:9")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))


@pytest.fixture
def deploy(cluster: FakeCluster) -> Callable[..., RolledOut]:
    """Returns a function that rolls a model out to kserve://lab/forams with few pairs and short pauses."""

    def to_cluster(served: Path, uri: str, timeout: float = 3.0, data: Path | None = None, **changes: Any) -> RolledOut:
        predictors = f"{cluster.address}/{{namespace}}/{{service}}"
        settings = CanarySettings(**{"pairs": 20, "slower": 1000, "predictor": predictors, **changes})
        publication = open_publication(served, uri, "foraminifera")
        return roll_out(publication, urlsplit("kserve://lab/forams"), settings, data, Patience(timeout, 0.002))

    return to_cluster


@pytest.fixture
def first(served: Path, cluster: Any, deploy: Any) -> Path:
    """Serves the old model and forgets how."""
    deploy(served, OLD)
    for seen in (cluster.requests, cluster.asked, cluster.asked_directly, cluster.users):
        seen.clear()
    return served
