"""A server that speaks the endpoints of Kubeflow Pipelines v2beta1 that kfp's client uses, as version 2.17 does."""

import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tests.http_server import Request, Response, http_server

API = "/apis/v2beta1"


@dataclass
class Recorded:
    method: str
    path: str
    query: dict[str, str]
    body: bytes
    authorization: str | None


@dataclass
class FakeKubeflow:
    """Pipelines, versions, experiments and runs in memory."""

    url: str = ""
    path: str = "/pipeline"
    has_profiles: bool = False
    elsewhere: tuple[int, str, str] = (404, "text/plain", "no such page")
    requests: list[Recorded] = field(default_factory=list)
    pipelines: list[dict[str, Any]] = field(default_factory=list)
    versions: list[dict[str, Any]] = field(default_factory=list)
    experiments: list[dict[str, Any]] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    recurring: list[dict[str, Any]] = field(default_factory=list)
    counter: int = 0
    instead: dict[str, tuple[int, str, str]] = field(default_factory=dict)

    def uploads(self) -> list[Recorded]:
        return [request for request in self.requests if "/upload" in request.path]

    def handle(self, request: Recorded) -> tuple[int, str, str]:
        self.requests.append(request)
        if not request.path.startswith(f"{self.path}{API}"):
            return self.elsewhere
        path = request.path.removeprefix(f"{self.path}{API}")
        if path in self.instead:
            return self.instead[path]
        routes: dict[tuple[str, str], Callable[[Recorded], dict[str, Any]]] = {
            ("GET", "/healthz"): lambda _: {"multi_user": self.has_profiles},
            ("GET", "/pipelines"): lambda r: {"pipelines": in_namespace(named(self.pipelines, r), r)},
            ("POST", "/pipelines/upload"): self.upload,
            ("POST", "/pipelines/upload_version"): self.upload_version,
            ("GET", "/experiments"): lambda r: {"experiments": named(self.experiments, r)},
            ("POST", "/experiments"): lambda r: self.keep(self.experiments, "experiment", json.loads(r.body)),
            ("GET", "/recurringruns"): lambda r: {"recurringRuns": named(self.recurring, r)},
            ("POST", "/recurringruns"): lambda r: self.keep(self.recurring, "recurring_run", json.loads(r.body)),
            ("POST", "/runs"): lambda r: self.keep(self.runs, "run", json.loads(r.body)),
        }
        if path.endswith("/versions"):
            return 200, "application/json", json.dumps({"pipeline_versions": named(self.versions, request)})
        if request.method == "DELETE" and path.startswith("/recurringruns/"):
            self.recurring = [item for item in self.recurring if item["recurring_run_id"] != path.split("/")[-1]]
            return 200, "application/json", "{}"
        if (path, request.method) == ("/pipelines/upload", "POST") and in_namespace(
            self.pipelines_named(request), request
        ):
            return 409, "application/json", json.dumps({"error": f"{request.query['name']} already exists"})
        if path == "/experiments" and self.has_profiles != bool(namespace_of(request)):
            return 400, "application/json", json.dumps({"error": "a namespace, in multi-user mode only"})
        action = routes.get((request.method, path))
        if action is None:
            return 404, "application/json", json.dumps({"error": f"no {request.method} {path}"})
        return 200, "application/json", json.dumps(action(request))

    def keep(self, where: list[dict[str, Any]], kind: str, item: dict[str, Any]) -> dict[str, Any]:
        self.counter += 1
        where.append({**item, f"{kind}_id": f"{kind}-{self.counter if kind == 'recurring_run' else len(where) + 1}"})
        return where[-1]

    def upload(self, request: Recorded) -> dict[str, Any]:
        fields = {"display_name": request.query["name"], "namespace": namespace_of(request)}
        return self.keep(self.pipelines, "pipeline", {**fields, "description": request.query.get("description", "")})

    def pipelines_named(self, request: Recorded) -> list[dict[str, Any]]:
        return [item for item in self.pipelines if item["display_name"] == request.query["name"]]

    def upload_version(self, request: Recorded) -> dict[str, Any]:
        item = {"display_name": request.query["name"], "pipeline_id": request.query["pipelineid"]}
        item["description"] = request.query.get("description", "")
        return self.keep(self.versions, "pipeline_version", item)


def named(items: list[dict[str, Any]], request: Recorded) -> list[dict[str, Any]]:
    """Return the items that match the filter on display_name."""
    predicates = json.loads(request.query["filter"])["predicates"]
    (name,) = [p.get("stringValue", p.get("string_value")) for p in predicates]
    return [item for item in items if item["display_name"] == name]


def namespace_of(request: Recorded) -> str:
    """Return the namespace of a request; in multi-user mode the empty one is that of the shared pipelines."""
    body = json.loads(request.body) if request.body.startswith(b"{") else {}
    return str(request.query.get("namespace") or body.get("namespace") or "")


def in_namespace(items: list[dict[str, Any]], request: Recorded) -> list[dict[str, Any]]:
    return [item for item in items if item["namespace"] == namespace_of(request)]


def respond(kubeflow: FakeKubeflow, request: Request) -> Response:
    authorization = request.headers.get("authorization")
    recorded = Recorded(request.method, request.path, request.query, request.body, authorization)
    status, content_type, text = kubeflow.handle(recorded)
    location = {"Location": text} if status in (301, 302) else {}
    return Response(status, text.encode(), {"Content-Type": content_type, **location})


@contextmanager
def running_kubeflow(context: ssl.SSLContext | None = None) -> Iterator[FakeKubeflow]:
    """Run a server for the block, with TLS if there is a context."""
    fake = FakeKubeflow()
    with http_server(partial(respond, fake), context) as address:
        fake.url = f"{address}{fake.path}"
        yield fake
