"""Runs of Kubeflow Pipelines that deploy the models of the tests: the preset `smoke` with changed recipes."""

import json
import os
import re
import subprocess
import sys
from itertools import pairwise
from typing import Any

import httpx

from pipelines.kubeflow.client import TOKEN_VARIABLE
from pipelines.kubeflow.host import Credentials, find_server
from pipelines.presets import load_preset
from tests.cluster.deployers import CANARY, MONITORED_CLAIM, Deployment
from tests.cluster.kubectl import Document, Kubectl, say, wait_for
from tests.cluster.local_models import RECIPES
from tests.cluster.settings import Settings
from tests.documents import ROOT

RUN_TIMEOUT_S = 3600.0
_RESULT = re.compile(r"The new model passed the gate.* version (\d+) .*is served")
_STATES = {"deployed": "SUCCEEDED", "rolled_back": "FAILED"}
"""State of a run by the outcome of its deploy step: only a run whose model is served has succeeded."""


class KubeflowRuns:
    """Runs that end with a deploy step.

    Args:
        kubectl: kubectl of the namespace of the runs.
        settings: Settings of the tests.
    """

    def __init__(self, kubectl: Kubectl, settings: Settings) -> None:
        self._kubectl, self._settings = kubectl, settings
        self._runs: list[str] = []

    def start(self, model: str) -> None:
        """Start a run of the preset `smoke` with the recipe of a model."""
        recipe = {**load_preset("smoke").parameters["recipe"], **RECIPES[model]}
        values = {"recipe": json.dumps(recipe), "canary": json.dumps(CANARY)}
        options = ["--preset=smoke", f"--monitored-models={MONITORED_CLAIM}"]
        self.submit(*options, *(f"--set={key}={value}" for key, value in values.items()))

    def submit(self, *options: str) -> str:
        """Submit a pipeline as `make submit` does and return the run's identifier."""
        access = [f"--host={self._settings.host}", f"--service-account={self._settings.account}"]
        if os.environ.get("NAMESPACE"):  # only an installation with profiles has namespaces for runs
            access.append(f"--namespace={self._settings.namespace}")
        command = [sys.executable, "-m", "pipelines.submit", *access, *options]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
        address = result.stdout.split()[-1]
        say(f"run {address}")
        self._runs.append(address.rpartition("/")[2])
        return self._runs[-1]

    def log(self) -> str:
        """Return the log of the deploy task, "" before it has started."""
        pods = self._deploy_pods()
        if not pods:
            return ""
        name = pods[-1]["metadata"]["name"]
        return self._kubectl.attempt("logs", name, "-c", "main").stdout.decode(errors="replace")

    def kill(self) -> None:
        """Kill the processes of the deploy task; Kubeflow Pipelines retries a failed pod, and no deleted one."""
        pods = self._deploy_pods()
        assert pods, "no deploy task runs"
        name = pods[-1]["metadata"]["name"]
        self._kubectl.attempt("exec", name, "-c", "main", "--", "sh", "-c", "kill -KILL -1")
        wait_for("another deploy task", lambda: self._has_other_pod(name), 300)

    def wait(self) -> Deployment:
        """Wait for the end of the run and compare its state with the outcome of the deploy step."""
        state = self.wait_for_state(self._runs[-1])
        found = _RESULT.search(self.log())
        assert found, f"the run is {state} and its deploy task has no result:\n{self.log()[-4000:]}"
        outcome, version = "rolled_back" if "but was rolled back" in found[0] else "deployed", int(found[1])
        assert state == _STATES[outcome], f"the run is {state} and its model {outcome}"
        return Deployment(outcome, version)

    def wait_for_state(self, run: str) -> str:
        """Wait for the end of a run and return its state."""
        ended = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")
        wait_for(f"run {run} ended", lambda: self._request("GET", run).get("state") in ended, RUN_TIMEOUT_S, pause=5.0)
        return str(self._request("GET", run)["state"])

    def remove(self) -> None:
        """Delete the runs, whose pods are deleted with them; the uploaded pipelines and the experiment stay."""
        while self._runs:
            self._request("DELETE", self._runs.pop())

    def _request(self, method: str, run: str) -> dict[str, Any]:
        """Send a request about a run to the API of Kubeflow Pipelines and return the JSON of its answer."""
        token = os.environ.get(TOKEN_VARIABLE)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        server = find_server(self._settings.host, Credentials(token, self._settings.namespace))
        url = f"{server.url}/apis/v2beta1/runs/{run}"
        with httpx.Client(timeout=30.0, trust_env=False, proxy=server.proxy, verify=server.context) as client:
            response = client.request(method, url, headers=headers).raise_for_status()
        return dict(response.json() or {})

    def _deploy_pods(self) -> list[Document]:
        """Return the pods of the run that execute the component `deploy`, the oldest first."""
        pods = [
            pod for pod in self._kubectl.list("pods", {"pipeline/runid": self._runs[-1]}) if _executes(pod, "deploy")
        ]
        return sorted(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))

    def _has_other_pod(self, name: str) -> bool:
        return any(pod["metadata"]["name"] != name for pod in self._deploy_pods())


def _executes(pod: Document, function: str) -> bool:
    """Return whether a pod's container runs the function of a component."""
    for container in pod["spec"]["containers"]:
        words = [*container.get("command", []), *container.get("args", [])]
        if any(pair == ("--function_to_execute", function) for pair in pairwise(words)):
            return True
    return False
