"""Lists of the Kubernetes API, read by the real client over HTTP."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.deploy.kserve.client import Cluster
from components.shared.errors import DeployError
from tests.deploy.kubeconfig import write_kubeconfig
from tests.http_server import Request, Response, http_server


class Api:
    """API that answers every request with one page, and records the requests."""

    def __init__(self) -> None:
        self.page: dict[str, Any] = {"metadata": {}, "items": []}
        self.status = 200
        self.requests: list[Request] = []

    def respond(self, request: Request) -> Response:
        self.requests.append(request)
        return Response.of_json(self.page, self.status)


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    api = Api()
    with http_server(api.respond) as address:
        write_kubeconfig(tmp_path / "kubeconfig", address)
        yield api


def item(name: str, **fields: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, **fields}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("pods", "/api/v1/namespaces/lab/pods"),
        ("config_maps", "/api/v1/namespaces/lab/configmaps"),
        ("replica_sets", "/apis/apps/v1/namespaces/lab/replicasets"),
    ],
)
def test_objects_are_listed_by_their_labels(api: Api, method: str, path: str) -> None:
    api.page["items"] = [item("a"), item("b")]
    listed = getattr(Cluster("lab"), method)("app=forams")
    assert [entry["metadata"]["name"] for entry in listed] == ["a", "b"]
    assert (api.requests[0].path, api.requests[0].query["labelSelector"]) == (path, "app=forams")


def test_events_of_one_object_are_in_the_order_of_their_time(api: Api) -> None:
    reference = {"kind": "ReplicaSet", "name": "forams-1"}
    times = ("2026-11-27T22:30:00Z", "2026-11-27T22:29:00Z")
    api.page["items"] = [item(f"e{n}", involvedObject=reference, lastTimestamp=t) for n, t in enumerate(times)]
    events = Cluster("lab").events("ReplicaSet", "forams-1")
    assert [event["metadata"]["name"] for event in events] == ["e1", "e0"]
    assert api.requests[0].query["fieldSelector"] == "involvedObject.kind=ReplicaSet,involvedObject.name=forams-1"


def test_a_list_that_is_not_complete_is_an_error(api: Api) -> None:
    api.page["metadata"] = {"continue": "next page"}
    with pytest.raises(DeployError, match="too many objects with app=forams: expected at most 500"):
        Cluster("lab").pods("app=forams")


def test_a_list_without_permission_names_the_role(api: Api) -> None:
    api.status = 403
    with pytest.raises(DeployError, match=r"403.*Bind the role"):
        Cluster("lab").config_maps("a=b")
