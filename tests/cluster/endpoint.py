"""What the tests read from the cluster: InferenceService, version registry, drift events and monitor."""

import json
from typing import Any

from components.shared.contracts import DriftEvent
from tests.cluster.kubectl import Document, Kubectl
from tests.cluster.settings import MODEL

_EVENTS = "cat /var/taxonflow/events/events-*.jsonl"
_ASK_MONITOR = (
    "import httpx; answer = httpx.get('http://taxonflow-monitor:9090/readyz'); print(answer.status_code, answer.text)"
)


class Endpoint:
    """Endpoint of the tests in the cluster.

    Args:
        kubectl: kubectl of its namespace.
    """

    def __init__(self, kubectl: Kubectl) -> None:
        self._kubectl = kubectl

    def service(self) -> Document:
        """Return the InferenceService, {} before it exists."""
        return self._kubectl.find("inferenceservice", MODEL) or {}

    def version(self) -> str:
        """Return the version of the stable predictor in the InferenceService, "" without one."""
        annotations = self.service().get("spec", {}).get("predictor", {}).get("annotations", {})
        return str(annotations.get("taxonflow.dev/model-version", ""))

    def canary_percent(self) -> int | None:
        """Return the share of the canary, None without one."""
        entries = self.service().get("spec", {}).get("canary") or []
        return int(entries[0].get("trafficPercent", 0)) if entries else None

    def versions(self) -> dict[str, int]:
        """Return the registered versions by the id of their model."""
        registry = self._kubectl.find("configmap", f"{MODEL}-versions") or {"data": {}}
        entries = {number: json.loads(text) for number, text in registry["data"].items()}
        return {entry["model_id"]: int(number) for number, entry in entries.items()}

    def events(self) -> list[DriftEvent]:
        """Return all drift events on the claim, which the transformer's pods show."""
        lines = [line for line in self._in_transformer("sh", "-c", _EVENTS).splitlines() if line.endswith("}")]
        return [DriftEvent.from_line(line.encode(), "the claim of the events") for line in lines]

    def monitor(self) -> str:
        """Return what the monitor answers about its readiness, asked from the transformer's pod."""
        return self._in_transformer("python", "-c", _ASK_MONITOR).strip()

    def _in_transformer(self, *command: str) -> str:
        """Run a command in a pod of the transformer and return its output."""
        labels = {"serving.kserve.io/inferenceservice": MODEL, "component": "transformer"}
        pods = [pod for pod in self._kubectl.list("pods", labels) if not pod["metadata"].get("deletionTimestamp")]
        return self._kubectl.run("exec", pods[0]["metadata"]["name"], "--", *command)

    def restarts(self) -> dict[str, int]:
        """Return the restarts of the containers of each pod in the namespace that has any."""
        counts = {}
        for pod in self._kubectl.list("pods"):
            statuses: list[dict[str, Any]] = pod["status"].get("containerStatuses", [])
            if count := sum(status["restartCount"] for status in statuses):
                counts[str(pod["metadata"]["name"])] = count
        return counts
