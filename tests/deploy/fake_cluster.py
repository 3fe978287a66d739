"""Fake Kubernetes API server over HTTP with a controller that behaves like KServe's in Standard mode."""

import copy
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from tests.http_server import Request, Response

Answer = tuple[int, dict[str, Any]]


def merge(target: Any, patch: Any) -> Any:
    """Return a document after a JSON merge patch (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


class FakeCluster:
    """InferenceServices, their Deployments and ConfigMaps in memory, with a user request after each API request.

    As in KServe's Standard mode, the Ready condition remains True until the new Deployment is complete, and
    observedGeneration is that of the transformer's Deployment, which a new model does not change. Old pods serve
    until the new Deployment is complete; a Deployment that is no longer requested is deleted at once.
    """

    def __init__(self, complaints_of_crd: Callable[[dict[str, Any]], list[str]]) -> None:
        self.complaints_of_crd = complaints_of_crd
        self.services: dict[tuple[str, str], dict[str, Any]] = {}
        self.deployments: dict[tuple[str, str], dict[str, Any]] = {}
        self.config_maps: dict[tuple[str, str], dict[str, Any]] = {}
        self.requests: list[tuple[str, str, Any]] = []
        self.unloadable: set[str] = set()
        self.wrong_answers: set[str] = set()
        self.disagreeing: dict[str, float] = {}
        self.failing: dict[str, float] = {}
        self.slow: dict[str, float] = {}
        self.asked: list[dict[str, Any]] = []
        self.asked_directly: list[tuple[str, dict[str, Any]]] = []
        self.users: list[str | None] = []
        self.address = ""
        self.transformer_address = ""
        self.model_ids: dict[str, str] = {}
        self.on_complete: Callable[[str, str], None] = lambda _deployment, _uri: None
        self.polls_until_ready = 2
        self.grace_period_s = 0
        self.prunes_canary = False
        self.refusal = ""
        self.objects: dict[str, list[dict[str, Any]]] = {}
        self.conflicts = 0
        self.stable_replicas: list[int] = []
        self.seen_ready: set[tuple[str, str]] = set()
        self.answer_instead: Callable[[str, str], Answer | None] = lambda _method, _path: None
        self.lose_connection: Callable[[str, str], str] = lambda _method, _path: ""
        self._lock = threading.Lock()
        self._resource_version = 100
        self._counts: Counter[str] = Counter()

    def handle(self, method: str, path: str, content_type: str, body: Any) -> Answer | None:
        """Return the answer to a request, or None to drop the connection."""
        with self._lock:
            self.requests.append((method, path, body))
            loss = self.lose_connection("GET" if "dryRun" in path else method, path)
            answer = None if loss == "before" else self._handle(method, path, content_type, body)
            self._send_user_request()
        time.sleep(0.0 if answer is None else answer[1].pop("seconds", 0.0))
        return None if loss else copy.deepcopy(answer)

    def _handle(self, method: str, path: str, content_type: str, body: Any) -> Answer:
        override = self.answer_instead(method, path)
        if override is not None:
            return override
        if path.endswith(":predict"):
            return self._predict(path, body)
        place, _, query = path.partition("?")
        parts = place.strip("/").split("/")
        if method == "GET" and query:
            return self._list(parts[-1], parse_qs(query))
        if method == "PATCH" and "merge-patch+json" not in content_type:
            return 415, {"message": f"unsupported media type {content_type}"}
        if parts[:3] == ["apis", "apps", "v1"]:
            return self._deployment(parts[4], parts[6])
        if parts[:2] == ["api", "v1"]:
            return self._config_map(method, parts[3], parts[5] if len(parts) > 5 else "", body)
        actions = {"GET": self._get, "POST": self._create, "PATCH": self._patch}
        if query == "dryRun=All":
            return self._preview(parts[4], parts[6], body)
        return actions[method](parts[4], parts[6] if len(parts) > 6 else "", body)

    def _list(self, resource: str, query: dict[str, list[str]]) -> Answer:
        """Return the objects with labels, or the events of an object."""
        labels = dict(term.split("=") for term in query.get("labelSelector", [""])[0].split(",") if term)
        fields = dict(term.split("=") for term in query.get("fieldSelector", [""])[0].split(",") if term)
        items = [
            each
            for each in self.objects.get(resource, [])
            if labels.items() <= each["metadata"].get("labels", {}).items()
            and all(each["involvedObject"][field.partition(".")[2]] == value for field, value in fields.items())
        ]
        return 200, {"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items}

    def restore(self, service: dict[str, Any], forget: str) -> None:
        """Reset the state to a ready service, without registry entries that contain `forget`."""
        key = (service["metadata"]["namespace"], service["metadata"]["name"])
        self.services[key] = copy.deepcopy(service)
        self._number(self.services[key])
        self._reconcile(key)
        for place, deployment in self.deployments.items():
            self._complete(place, deployment)
        for registry in self.config_maps.values():
            registry["data"] = {number: text for number, text in registry["data"].items() if forget not in text}
        self.requests.clear()
        self.users.clear()

    def written(self) -> list[tuple[str, str]]:
        writes = [(method, path) for method, path, _ in self.requests if method != "GET" and "/apis/" in path]
        return [write for write in writes if "dryRun" not in write[1]]

    def canary(self, key: tuple[str, str]) -> dict[str, Any] | None:
        entries = self.services[key]["spec"].get("canary") or [None]
        return entries[0]

    def _predict(self, path: str, body: Any) -> Answer:
        """Answer as the model of `write_artifact` does, apart from the configured failures."""
        place, _, name = path.removesuffix(":predict").rpartition("/v1/models/")
        if place:
            namespace, deployment = place.strip("/").split("/")
            uri = self._pods(namespace, deployment)
            self.asked_directly.extend((deployment, instance) for instance in body["instances"])
        else:
            ((namespace, _),) = [key for key in self.services if key[1] == name]
            uri = self._pods(namespace, f"{name}-predictor")
            self.asked.extend(body["instances"])
        if uri is None:
            return 503, {"error": "no pod answers"}
        if self._due(f"{uri} fails", self.failing.get(uri, 0.0)):
            return 500, {"error": "out of memory"}
        answers = [self._prediction(uri, place == "") for _ in body["instances"]]
        return 200, {"predictions": answers, "seconds": self.slow.get(uri, 0.0)}

    def _prediction(self, uri: str, through_transformer: bool) -> dict[str, Any]:
        scores = [0.1, 0.9] if uri in self.wrong_answers else [0.9, 0.1]
        share = 0.0 if through_transformer else self.disagreeing.get(uri, 0.0)
        species = "Orbitoides" if self._due(f"{uri} disagrees", share) else "Alveolina"
        model = {"model": self.model_ids[uri]} if uri in self.model_ids else {}
        return {"scores": scores, "species": species, **model}

    def _due(self, event: str, share: float) -> bool:
        """Return True in this share of the calls, evenly spread."""
        self._counts[event] += 1
        return int(self._counts[event] * share) > int((self._counts[event] - 1) * share)

    def _pods(self, namespace: str, deployment: str) -> str | None:
        """Return the URI of the model that a Deployment's pods serve, or None."""
        return self.deployments.get((namespace, deployment), {}).get("serving")

    def _send_user_request(self) -> None:
        """Record the model that answers a user, or None; a canary with a share answers all users here."""
        for namespace, name in self.services:
            if (namespace, name) not in self.seen_ready:
                continue
            options = self.deployments.get((namespace, f"{name}-transformer"), {}).get("running", [])
            hosts = [options[place + 1] for place, word in enumerate(options) if word == "--canary_host"]
            canary = self._pods(namespace, hosts[0].split(".")[0]) if hosts else None
            self.users.append(canary or self._pods(namespace, f"{name}-predictor"))

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
        if self._conflicts_with(current, body):
            return 409, {"message": "the object has been modified"}
        return self._store((namespace, name), merge(current, body))

    def _preview(self, namespace: str, name: str, body: Any) -> Answer:
        service = merge(self.services[namespace, name], body)
        return 200, {**service, "spec": self._without_unknown_fields(service["spec"])}

    def _without_unknown_fields(self, spec: dict[str, Any]) -> dict[str, Any]:
        return {field: value for field, value in spec.items() if not (field == "canary" and self.prunes_canary)}

    def _conflicts_with(self, current: dict[str, Any], body: Any) -> bool:
        resource_version = body["metadata"].get("resourceVersion")
        if self.conflicts > 0 or resource_version not in (None, current["metadata"]["resourceVersion"]):
            self.conflicts -= 1
            return True
        return False

    def _store(self, key: tuple[str, str], service: dict[str, Any]) -> Answer:
        violations = self.complaints_of_crd(service)
        if violations:
            return 422, {"message": "; ".join(violations)}
        service = {**service, "spec": self._without_unknown_fields(service["spec"])}
        self._number(service)
        service["metadata"]["generation"] += 1
        self.services[key] = copy.deepcopy(service)
        self._reconcile(key)
        return 200, self.services[key]

    def _number(self, document: dict[str, Any]) -> None:
        self._resource_version += 1
        document["metadata"]["resourceVersion"] = str(self._resource_version)

    def _config_map(self, method: str, namespace: str, name: str, body: Any) -> Answer:
        key = (namespace, name or body["metadata"]["name"])
        current = self.config_maps.get(key)
        if method == "POST":
            if current is not None:
                return 409, {"message": "already exists"}
            self.config_maps[key] = body
        elif current is None:
            return 404, {"message": "not found"}
        elif method == "PATCH":
            if self._conflicts_with(current, body):
                return 409, {"message": "the object has been modified"}
            self.config_maps[key] = merge(current, body)
        if method != "GET":
            self._number(self.config_maps[key])
        return 200, self.config_maps[key]

    def _reconcile(self, key: tuple[str, str]) -> None:
        """Update the Deployments of the predictors and the transformer."""
        namespace, name = key
        spec = self.services[key]["spec"]
        predictors = {f"{name}-predictor": spec["predictor"]}
        for entry in spec.get("canary") or []:
            merged_predictor = merge(spec["predictor"], entry["predictor"])
            predictors[f"{name}-{entry['predictor']['name']}-predictor"] = merged_predictor
        for place in list(self.deployments):
            if place[0] == namespace and place[1].endswith("-predictor") and place[1] not in predictors:
                del self.deployments[place]
        for deployment, predictor in predictors.items():
            annotations = predictor.get("annotations", {})
            self._deploy((namespace, deployment), annotations, predictor["model"].get("storageUri"), [])
        self._scale(key)
        transformer = spec["transformer"]
        options, annotations = transformer["containers"][0]["args"], transformer.get("annotations", {})
        self._deploy((namespace, f"{name}-transformer"), annotations, "transformer", options)
        if spec["predictor"]["model"].get("storageUri") in self.unloadable:
            self._report_failure(self.services[key])

    def _deploy(self, place: tuple[str, str], annotations: dict[str, str], uri: str | None, options: list[str]) -> None:
        template = {
            "metadata": {"annotations": annotations},
            "spec": {
                "containers": [{"name": "kserve-container", "args": options}],
                "terminationGracePeriodSeconds": self.grace_period_s,
            },
        }
        old = self.deployments.get(place, {"metadata": {"generation": 0}, "spec": {}, "status": {}})
        if old["spec"].get("template") == template and old["uri"] == uri:
            return
        self.deployments[place] = {
            **old,
            "metadata": {"name": place[1], "generation": old["metadata"]["generation"] + 1},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": place[1]}}, "template": template},
            "status": {**old["status"], "updatedReplicas": 0},
            "polls": 0,
            "uri": uri,
        }

    def _scale(self, key: tuple[str, str]) -> None:
        """Set the replicas of the stable predictor; as in KServe, canaries take theirs from it."""
        spec, deployment = self.services[key]["spec"], self.deployments[key[0], f"{key[1]}-predictor"]
        canaries = sum(entry["predictor"]["minReplicas"] for entry in spec.get("canary") or [])
        replicas = max(spec["predictor"]["minReplicas"] - canaries, 1)
        deployment["spec"]["replicas"] = replicas
        if deployment["status"]:
            deployment["status"].update(replicas=replicas, availableReplicas=replicas)
            self.stable_replicas.append(replicas)

    def _report_failure(self, service: dict[str, Any]) -> None:
        service.setdefault("status", {})
        service["status"]["conditions"] = [
            {"type": "PredictorReady", "status": "False", "message": "back-off restarting the container"},
            {"type": "Ready", "status": "False", "reason": "PredictorNotReady"},
        ]
        failure = {"reason": "ModelLoadFailed", "message": "no such bucket"}
        service["status"]["modelStatus"] = {"transitionStatus": "BlockedByFailedLoad", "lastFailureInfo": failure}

    def _deployment(self, namespace: str, name: str) -> Answer:
        deployment = self.deployments.get((namespace, name))
        if deployment is None:
            return 404, {"message": "not found"}
        deployment["polls"] += 1
        if self.refusal:
            deployment["status"]["conditions"] = [{"type": "ReplicaFailure", "status": "True", "message": self.refusal}]
        if deployment["polls"] >= self.polls_until_ready and deployment["uri"] not in self.unloadable:
            self._complete((namespace, name), deployment)
        return 200, {field: deployment[field] for field in ("metadata", "spec", "status")}

    def _complete(self, place: tuple[str, str], deployment: dict[str, Any]) -> None:
        replicas = deployment["spec"]["replicas"]
        counts = dict.fromkeys(("replicas", "updatedReplicas", "availableReplicas", "readyReplicas"), replicas)
        deployment["status"] = {"observedGeneration": deployment["metadata"]["generation"], **counts}
        if deployment.get("completed") != deployment["metadata"]["generation"]:
            deployment["completed"] = deployment["metadata"]["generation"]
            self.on_complete(place[1], deployment["uri"])
        deployment["serving"] = deployment["uri"]
        deployment["running"] = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
        for key, service in self.services.items():
            if place == (key[0], f"{key[1]}-predictor"):
                self._report_ready(key, service)

    def _report_ready(self, key: tuple[str, str], service: dict[str, Any]) -> None:
        ready = [{"type": kind, "status": "True"} for kind in ("PredictorReady", "TransformerReady", "Ready")]
        url = f"http://{key[1]}-{key[0]}.example.org"
        service["status"] = {"observedGeneration": 1, "conditions": ready, "url": url}
        service["status"]["address"] = {"url": f"{self.transformer_address or self.address}/v1/models/{key[1]}:predict"}
        self.seen_ready.add(key)


def respond(cluster: FakeCluster, request: Request) -> Response | None:
    """Answer an HTTP request for a cluster; None closes the connection."""
    body = json.loads(request.body) if request.body else None
    answer = cluster.handle(request.method, request.target, request.headers.get("content-type", ""), body)
    return None if answer is None else Response.of_json(answer[1], answer[0])
