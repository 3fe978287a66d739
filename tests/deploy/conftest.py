"""A served model on disk, and a Kubernetes API server over HTTP with a controller that behaves like KServe's."""

import copy
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.shared.contracts import Example, GateVerdict, ModelCard

ISVC = "/apis/serving.kserve.io/v1beta1/namespaces/{namespace}/inferenceservices"
Answer = tuple[int, dict[str, Any]]


def write_served_model(folder: Path, passed: bool = True, name: str = "foraminifera", mark: str = "a") -> Path:
    version = folder / "1"
    (version / "variables").mkdir(parents=True)
    (version / "examples").mkdir()
    (version / "saved_model.pb").write_bytes(f"graph {mark}".encode())
    (version / "variables" / "variables.index").write_bytes(mark.encode() * 1000)
    (version / "reference.parquet").write_bytes(b"reference")
    (version / "examples" / "0.png").write_bytes(b"png")
    reasons = () if passed else ("accuracy 0.50 is below 0.95",)
    card = ModelCard(
        name=name,
        classes=("Alveolina", "Orbitoides"),
        channels=1,
        segmented=True,
        members=("cnn_small",),
        rule="mean",
        metrics={"accuracy": 0.97},
        thresholds={"confidence": 0.5},
        gate=GateVerdict(passed=passed, accuracy=0.97 if passed else 0.5, threshold=0.95, reasons=reasons),
        data_hash="0" * 64,
        code_version="0.1.0",
        examples=(Example(id="x/0", file="examples/0.png", species="Alveolina", scores=(0.9, 0.1)),),
    )
    card.write(version / "model.json")
    return folder


@pytest.fixture
def served(tmp_path: Path) -> Path:
    return write_served_model(tmp_path / "served")


@pytest.fixture
def make_served(tmp_path: Path) -> Callable[..., Path]:
    def make(label: str, **options: Any) -> Path:
        return write_served_model(tmp_path / label, mark=label, **options)

    return make


def merged(target: Any, patch: Any) -> Any:
    """Applies a JSON merge patch (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


class FakeCluster:
    """InferenceServices and predictor Deployments in memory.

    As in KServe's Standard mode, the status keeps the old Ready until the new Deployment is complete, and
    observedGeneration is that of the transformer's Deployment, which a new model does not change.
    """

    def __init__(self, complaints_of_crd: Callable[[dict[str, Any]], list[str]]) -> None:
        self.complaints_of_crd = complaints_of_crd
        self.services: dict[tuple[str, str], dict[str, Any]] = {}
        self.deployments: dict[tuple[str, str], dict[str, Any]] = {}
        self.requests: list[tuple[str, str, Any]] = []
        self.unloadable: set[str] = set()
        self.wrong_answers: set[str] = set()
        self.asked: list[dict[str, Any]] = []
        self.address = ""
        self.polls_until_ready = 2
        self.conflicts = 0
        self.answer_instead: Callable[[str, str], Answer | None] = lambda _method, _path: None
        self._lock = threading.Lock()
        self._resource_version = 100

    def handle(self, method: str, path: str, content_type: str, body: Any) -> Answer:
        with self._lock:
            self.requests.append((method, path, body))
            forced = self.answer_instead(method, path)
            if forced is not None:
                return forced
            if path.endswith(":predict"):
                return self._predict(path, body)
            parts = path.strip("/").split("/")
            if parts[:3] == ["apis", "apps", "v1"]:
                return self._deployment(parts[4], parts[6])
            if method == "PATCH" and content_type != "application/merge-patch+json":
                return 415, {"message": f"unsupported media type {content_type}"}
            actions = {"GET": self._get, "POST": self._create, "PATCH": self._patch}
            return actions[method](parts[4], parts[6] if len(parts) > 6 else "", body)

    def _predict(self, path: str, body: Any) -> Answer:
        """Answers as the model of `write_served_model` does, wrongly for models of `wrong_answers`."""
        self.asked.extend(body["instances"])
        (key,) = [key for key in self.services if path == f"/v1/models/{key[1]}:predict"]
        uri = self.services[key]["spec"]["predictor"]["model"]["storageUri"]
        scores = [0.1, 0.9] if uri in self.wrong_answers else [0.9, 0.1]
        return 200, {"predictions": [{"scores": scores} for _ in body["instances"]]}

    def written(self) -> list[tuple[str, str]]:
        return [(method, path) for method, path, _ in self.requests if method != "GET" and "/apis/" in path]

    def _get(self, namespace: str, name: str, _body: Any) -> Answer:
        service = self.services.get((namespace, name))
        return (200, service) if service else (404, {"message": "not found"})

    def _create(self, namespace: str, _name: str, body: Any) -> Answer:
        key = (namespace, body["metadata"]["name"])
        if key in self.services:
            return 409, {"message": "already exists"}
        return self._store(key, {**body, "metadata": {**body["metadata"], "namespace": namespace, "generation": 0}})

    def _patch(self, namespace: str, name: str, body: Any) -> Answer:
        current = self.services.get((namespace, name))
        if current is None:
            return 404, {"message": "not found"}
        wanted = body["metadata"].get("resourceVersion")
        if self.conflicts > 0 or wanted not in (None, current["metadata"]["resourceVersion"]):
            self.conflicts -= 1
            return 409, {"message": "the object has been modified"}
        return self._store((namespace, name), merged(current, body))

    def _store(self, key: tuple[str, str], service: dict[str, Any]) -> Answer:
        complaints = self.complaints_of_crd(service)
        if complaints:
            return 422, {"message": "; ".join(complaints)}
        self._resource_version += 1
        service["metadata"]["resourceVersion"] = str(self._resource_version)
        service["metadata"]["generation"] += 1
        self.services[key] = copy.deepcopy(service)
        self._start_rollout(key)
        return 200, self.services[key]

    def _start_rollout(self, key: tuple[str, str]) -> None:
        service = self.services[key]
        predictor = service["spec"]["predictor"]
        old = self.deployments.get(key, {"metadata": {"generation": 0}, "status": {}})
        self.deployments[key] = {
            "metadata": {"name": f"{key[1]}-predictor", "generation": old["metadata"]["generation"] + 1},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": {"app": key[1]}},
                "template": {"metadata": {"annotations": predictor.get("annotations", {})}, "spec": {"containers": []}},
            },
            "status": {**old["status"], "updatedReplicas": 0},
            "polls": 0,
        }
        if predictor["model"].get("storageUri") in self.unloadable:
            service.setdefault("status", {})
            service["status"]["conditions"] = [
                {"type": "PredictorReady", "status": "False", "message": "back-off restarting the container"},
                {"type": "Ready", "status": "False", "reason": "PredictorNotReady"},
            ]
            failure = {"reason": "ModelLoadFailed", "message": "no such bucket"}
            service["status"]["modelStatus"] = {"transitionStatus": "BlockedByFailedLoad", "lastFailureInfo": failure}

    def _deployment(self, namespace: str, name: str) -> Answer:
        key = (namespace, name.removesuffix("-predictor"))
        deployment = self.deployments.get(key)
        if deployment is None:
            return 404, {"message": "not found"}
        deployment["polls"] += 1
        uri = self.services[key]["spec"]["predictor"]["model"].get("storageUri")
        if deployment["polls"] >= self.polls_until_ready and uri not in self.unloadable:
            self._finish_rollout(key, deployment)
        return 200, {field: value for field, value in deployment.items() if field != "polls"}

    def _finish_rollout(self, key: tuple[str, str], deployment: dict[str, Any]) -> None:
        counts = dict.fromkeys(("replicas", "updatedReplicas", "availableReplicas", "readyReplicas"), 1)
        deployment["status"] = {"observedGeneration": deployment["metadata"]["generation"], **counts}
        ready = [{"type": kind, "status": "True"} for kind in ("PredictorReady", "TransformerReady", "Ready")]
        url = f"http://{key[1]}-{key[0]}.example.org"
        self.services[key]["status"] = {"observedGeneration": 1, "conditions": ready, "url": url}
        self.services[key]["status"]["address"] = {"url": f"{self.address}/v1/models/{key[1]}:predict"}


def make_handler(cluster: FakeCluster) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            status, document = cluster.handle(self.command, self.path, self.headers.get("Content-Type", ""), body)
            content = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = _answer  # noqa: N815 names that http.server looks for

        def log_message(self, *_arguments: Any) -> None:
            pass

    return Handler


def write_kubeconfig(path: Path, server: str) -> None:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "fake", "cluster": {"server": server}}],
        "users": [{"name": "step", "user": {}}],
        "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "step"}}],
        "current-context": "fake",
    }
    path.write_text(yaml.safe_dump(config))


@pytest.fixture
def cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, complaints_of_crd: Callable[[dict[str, Any]], list[str]]
) -> Iterator[FakeCluster]:
    fake = FakeCluster(complaints_of_crd)
    server = ThreadingHTTPServer(("127.0.0.1", 0), make_handler(fake))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    fake.address = f"http://127.0.0.1:{server.server_port}"
    write_kubeconfig(tmp_path / "kubeconfig", fake.address)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    yield fake
    server.shutdown()
    server.server_close()


@pytest.fixture
def unreachable_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_kubeconfig(tmp_path / "kubeconfig", "http://127.0.0.1:9")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
