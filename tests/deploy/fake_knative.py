"""Fake cluster in KServe's Knative mode: revisions, and a route that divides the requests."""

import json
from typing import Any

from tests.deploy.fake_cluster import Answer, FakeCluster

Key = tuple[str, str]


class FakeKnative(FakeCluster):
    """Fake cluster in which each change of the predictor, except of its share, makes a revision."""

    def __init__(self, complaints_of_crd: Any) -> None:
        super().__init__(complaints_of_crd)
        self.revisions: dict[Key, list[dict[str, Any]]] = {}
        self.rolled_out: dict[Key, dict[str, Any]] = {}

    def _reconcile(self, key: Key) -> None:
        service = self.services[key]
        service["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] = "Knative"
        predictor = {field: value for field, value in self._predictor(key).items() if field != "canaryTrafficPercent"}
        template = json.dumps([predictor, service["metadata"]["annotations"]], sort_keys=True)
        revisions = self.revisions.setdefault(key, [])
        if not revisions or revisions[-1]["template"] != template:
            name = f"{key[1]}-predictor-{len(revisions) + 1:05d}"
            uri = predictor["model"].get("storageUri")
            revisions.append({"name": name, "uri": uri, "template": template, "reads": 0, "ready": False})
        self._report(key)

    def _get(self, namespace: str, name: str, body: Any) -> Answer:
        key = (namespace, name)
        if key in self.services:
            newest = self.revisions[key][-1]
            newest["reads"] += 1
            newest["ready"] |= newest["reads"] > self.polls_until_ready and newest["uri"] not in self.unloadable
            self._report(key)
        return super()._get(namespace, name, body)

    def _report(self, key: Key) -> None:
        newest, share = self.revisions[key][-1], self._predictor(key).get("canaryTrafficPercent")
        if newest["ready"] and share is None:
            self.rolled_out[key] = newest
            self.seen_ready.add(key)
        ready = [revision["name"] for revision in self.revisions[key] if revision["ready"]]
        status = {"latestCreatedRevision": newest["name"], "traffic": self._traffic(key)}
        if ready:
            status |= {"latestReadyRevision": ready[-1], "latestRolledoutRevision": self.rolled_out[key]["name"]}
        conditions = [{"type": kind, "status": str(newest["ready"])} for kind in ("PredictorReady", "Ready")]
        self.services[key]["status"] = {
            "conditions": conditions,
            "components": {"predictor": status},
            "url": f"http://{key[1]}-{key[0]}.example.org",
            "address": {"url": self.address},
        }

    def _traffic(self, key: Key) -> list[dict[str, Any]]:
        newest, share = self.revisions[key][-1], self._predictor(key).get("canaryTrafficPercent")
        if share is None:
            return [{"latestRevision": True, "percent": 100, "revisionName": newest["name"]}]
        before = self.rolled_out[key]["name"]
        return [
            {"latestRevision": True, "percent": share, "tag": "latest", "url": f"{self.address}/lab/{newest['name']}"},
            {"revisionName": before, "percent": 100 - share, "tag": "prev", "url": f"{self.address}/lab/{before}"},
        ]

    def _pods(self, namespace: str, deployment: str) -> str | None:
        for key, revisions in self.revisions.items():
            if key[0] == namespace and deployment == f"{key[1]}-predictor":
                return str(self.rolled_out[key]["uri"])
            for revision in revisions:
                if revision["name"] == deployment and revision["ready"]:
                    return str(revision["uri"])
        return None

    def _send_user_request(self) -> None:
        for key in self.seen_ready:
            newest, share = self.revisions[key][-1], self._predictor(key).get("canaryTrafficPercent")
            self.users.append(newest["uri"] if share and newest["ready"] else self.rolled_out[key]["uri"])

    def _predictor(self, key: Key) -> dict[str, Any]:
        predictor: dict[str, Any] = self.services[key]["spec"]["predictor"]
        return predictor
