"""A Kubernetes API over a dictionary of objects, a Kubeflow Pipelines server and an image registry, at one address."""

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.http_server import Request, Response

Object = dict[str, Any]
PIPELINES = "/pipeline"


@dataclass
class ApiServer:
    """Objects and settings of the servers.

    Attributes:
        objects: Objects by their path in the API.
        kinds: Paths of the collections that exist without an object, such as /api/v1/nodes.
        denied: Paths that the account may not read; those below are denied too.
        user: Name of the account that asks.
        rights: Rights of the account, as `<verb> <resource>`.
        health: Health of Kubeflow Pipelines.
        tag: Version of Kubeflow Pipelines in the older interface; empty for none.
        token: Token that the Kubeflow Pipelines server wants; empty for none.
        profiles: Namespaces whose runs the server lists.
        images: Images of the registry, as `<repository>:<tag>`.
        registry_status: Status of the registry for any other image.
        requests: Methods and paths of the requests.
    """

    objects: dict[str, Object] = field(default_factory=dict)
    kinds: set[str] = field(default_factory=set)
    denied: set[str] = field(default_factory=set)
    user: str = "system:serviceaccount:kubeflow:pipeline-runner"
    rights: set[str] = field(default_factory=set)
    health: Object = field(default_factory=dict)
    tag: str = ""
    token: str = ""
    profiles: set[str] = field(default_factory=set)
    images: set[str] = field(default_factory=set)
    registry_status: int = 404
    requests: list[str] = field(default_factory=list)

    def add(self, collection: str, name: str, namespace: str = "", **fields: Any) -> Object:
        """Add an object and return it."""
        group, _, kind = collection.rpartition("/")
        path = f"{group}/namespaces/{namespace}/{kind}/{name}" if namespace else f"{collection}/{name}"
        metadata = {"name": name, **({"namespace": namespace} if namespace else {}), **fields.pop("metadata", {})}
        self.objects[path] = {"metadata": metadata, **fields}
        return self.objects[path]

    def respond(self, request: Request) -> Response:
        """Answer a request."""
        self.requests.append(f"{request.method} {request.target}")
        path = urlsplit(request.target).path
        if path.startswith(PIPELINES):
            return self._pipelines(path.removeprefix(PIPELINES), request)
        if path.startswith("/v2/"):
            repository, _, tag = path.removeprefix("/v2/").partition("/manifests/")
            return Response(200 if f"{repository}:{tag}" in self.images else self.registry_status)
        if request.headers.get("authorization") == "Bearer expired":
            return _status(401, "Unauthorized")
        if any(path == place or path.startswith(f"{place}/") for place in self.denied):
            return _status(403, "forbidden")
        if path.endswith("/selfsubjectreviews"):
            return Response.of_json({"status": {"userInfo": {"username": self.user}}}, 201)
        if path.endswith("accessreviews"):
            return self._review(json.loads(request.body))
        if path in self.objects:
            return Response.of_json(self.objects[path])
        items = self._items(path, parse_qs(urlsplit(request.target).query))
        return _status(404, "not found") if items is None else Response.of_json({"items": items, "metadata": {}})

    def _items(self, path: str, query: dict[str, list[str]]) -> list[Object] | None:
        """Return the items of a collection of a namespace or of all; None if there is no such kind."""
        group, _, kind = path.rpartition("/")
        places = [place for place in self.objects if place.rpartition("/")[0].rpartition("/")[2] == kind]
        near = [place for place in places if place.startswith(f"{path}/")]
        if "/namespaces/" not in path:
            near = [place for place in places if place.startswith(f"{group}/")]
        base = f"{group.partition('/namespaces/')[0]}/{kind}"
        if not places and base not in self.kinds:
            return None
        key, _, value = query.get("labelSelector", [""])[0].partition("=")
        name = query.get("fieldSelector", [""])[0].rpartition("metadata.name=")[2]
        items = [self.objects[place] for place in near if name in ("", place.rpartition("/")[2]) or "!=" in name]
        return [item for item in items if not key or (item["metadata"].get("labels") or {}).get(key) == value]

    def _review(self, body: Object) -> Response:
        attributes = body["spec"]["resourceAttributes"]
        is_allowed = f"{attributes['verb']} {attributes['resource']}" in self.rights
        return Response.of_json({"status": {"allowed": is_allowed}}, 201)

    def _pipelines(self, path: str, request: Request) -> Response:
        if self.token and request.headers.get("authorization") != f"Bearer {self.token}":
            return Response(302, headers={"Location": "/dex/auth"})
        if path == "/apis/v2beta1/healthz":
            return Response.of_json(self.health)
        if path == "/apis/v1beta1/healthz" and self.tag:
            return Response.of_json({"tag_name": self.tag})
        namespace = request.query.get("namespace", "")
        if path == "/apis/v2beta1/runs" and namespace in self.profiles:
            return Response.of_json({"runs": []})
        return Response.of_json({"error": "forbidden"}, 403)


def _status(code: int, message: str) -> Response:
    return Response.of_json({"kind": "Status", "code": code, "message": message}, code)
