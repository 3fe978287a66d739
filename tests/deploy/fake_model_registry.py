"""A Model Registry over HTTP: the paths and documents of its REST API that registering a version needs."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from tests.http_server import Request, Response

ROOT = "/api/model_registry/v1"
VALUE_FIELDS = {
    "MetadataStringValue": ("string_value", str),
    "MetadataDoubleValue": ("double_value", (int, float)),
    "MetadataIntValue": ("int_value", str),
}


class FakeModelRegistry:
    """Registered models, versions and artifacts in memory; ids are numbers as text."""

    def __init__(self) -> None:
        self.models: dict[str, dict[str, Any]] = {}
        self.versions: dict[str, dict[str, Any]] = {}
        self.artifacts: dict[str, dict[str, Any]] = {}
        self.requests: list[Request] = []
        self.fails_at: Callable[[Request], Response | None] = lambda _request: None
        self.on_write: Callable[[], None] = lambda: None

    def respond(self, request: Request) -> Response | None:
        self.requests.append(request)
        if failure := self.fails_at(request):
            return failure
        path = urlsplit(request.target).path
        if not path.startswith(f"{ROOT}/"):
            return error(404)
        kind, *rest = path.removeprefix(f"{ROOT}/").split("/")
        body = json.loads(request.body) if request.body else {}
        routes: dict[tuple[str, str, int], Callable[[], Response]] = {
            ("GET", "registered_model", 0): lambda: found(self.models, name=request.query.get("name")),
            ("GET", "registered_models", 0): lambda: page(self.models.values(), request),
            ("POST", "registered_models", 0): lambda: self._create(self.models, body),
            ("GET", "registered_models", 2): lambda: page(self._of(self.versions, "registeredModelId", rest), request),
            ("GET", "model_version", 0): lambda: found(
                self.versions, name=request.query.get("name"), registeredModelId=request.query.get("parentResourceId")
            ),
            ("POST", "model_versions", 0): lambda: self._create(self.versions, body),
            ("PATCH", "model_versions", 1): lambda: self._update(rest[0], body),
            ("POST", "model_versions", 2): lambda: self._create(self.artifacts, {**body, "modelVersionId": rest[0]}),
        }
        answer = routes.get((request.method, kind, len(rest)))
        response = answer() if answer else error(404)
        if kind == "model_versions" and request.method != "GET" and len(rest) < 2:
            self.on_write()
        return response

    def outcomes(self) -> dict[str, tuple[str, str]]:
        """Return outcome and state of each version by its name."""
        return {
            version["name"]: (self.properties(version["name"])["outcome"], version["state"])
            for version in self.versions.values()
        }

    def properties(self, name: str) -> dict[str, Any]:
        """Return the custom properties of a version; each must have the form of the API."""
        (version,) = (version for version in self.versions.values() if version["name"] == name)
        values = {}
        for key, value in version["customProperties"].items():
            field, kind = VALUE_FIELDS[value["metadataType"]]
            assert isinstance(value[field], kind)
            values[key] = value[field]
        return values

    def _create(self, objects: dict[str, dict[str, Any]], body: dict[str, Any]) -> Response:
        number = str(len(self.models) + len(self.versions) + len(self.artifacts) + 1)
        times = {"createTimeSinceEpoch": "1", "lastUpdateTimeSinceEpoch": "1"}
        objects[number] = {**body, "id": number, **times}
        return Response.of_json(objects[number], 201)

    def _update(self, number: str, body: dict[str, Any]) -> Response:
        self.versions[number] |= body
        return Response.of_json(self.versions[number])

    @staticmethod
    def _of(objects: dict[str, dict[str, Any]], field: str, rest: list[str]) -> list[dict[str, Any]]:
        return [entry for entry in objects.values() if entry[field] == rest[0]]


def found(objects: dict[str, dict[str, Any]], **fields: str | None) -> Response:
    for entry in objects.values():
        if all(entry.get(name) == value for name, value in fields.items()):
            return Response.of_json(entry)
    return error(404)


def page(objects: Any, request: Request) -> Response:
    """Return the page of two objects that a token names."""
    entries, start, size = list(objects), int(request.query.get("nextPageToken") or 0), 2
    token = str(start + size) if start + size < len(entries) else ""
    items = entries[start : start + size]
    return Response.of_json({"items": items, "nextPageToken": token, "pageSize": size, "size": len(items)})


def error(status: int) -> Response:
    return Response.of_json({"code": str(status), "message": "refused"}, status)
