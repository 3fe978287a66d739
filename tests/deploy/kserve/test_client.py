"""Lists of the Kubernetes API, read by the real client over HTTP."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.deploy.kserve.client import Cluster
from components.doctor.checks.rights import RIGHTS
from components.shared.errors import DeployError
from tests.deploy.kubeconfig import write_kubeconfig
from tests.http_server import Request, Response, http_server

ROLE = Path(__file__).parents[3] / "manifests" / "base" / "deployer-role.yaml"
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "service": ("forams",),
    "create_service": ({"metadata": {"name": "forams"}},),
    "patch_service": ("forams", {}, "1"),
    "preview_patch": ("forams", {}),
    "deployment": ("forams-predictor",),
    "pods": ("app=forams",),
    "replica_sets": ("app=forams",),
    "events": ("Pod", "forams-1"),
    "config_maps": ("a=b",),
    "config_map": ("forams-versions",),
    "create_config_map": ({"metadata": {"name": "forams-versions"}},),
    "patch_config_map": ("forams-versions", {}, "1"),
}


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


def test_the_role_and_doctor_know_exactly_the_rights_that_are_used(api: Api) -> None:
    assert {name for name in vars(Cluster) if not name.startswith("_")} == ARGUMENTS.keys()
    for name, arguments in ARGUMENTS.items():
        getattr(Cluster("lab"), name)(*arguments)
    used = {right_of(request) for request in api.requests}
    assert used == {(group, resource, verb) for (group, resource), verbs in RIGHTS.items() for verb in verbs}
    rules = next(yaml.safe_load_all(ROLE.read_text()))["rules"]
    granted = {(g, r, v) for rule in rules for g in rule["apiGroups"] for r in rule["resources"] for v in rule["verbs"]}
    assert used - granted == set()


def right_of(request: Request) -> tuple[str, str, str]:
    """Return API group, resource and verb of a request in a namespace, as the API server authorizes it."""
    path, _, place = request.path.strip("/").partition("/namespaces/lab/")
    _root, *group, _version = path.split("/")
    resource, *name = place.split("/")
    verbs = {"GET": "get" if name else "list", "POST": "create", "PATCH": "patch"}
    return "/".join(group), resource, verbs[request.method]
