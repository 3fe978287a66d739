"""The deploy step of the tests in pods, for clusters without Kubeflow Pipelines."""

import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Protocol

from tests.cluster.kubectl import Kubectl, say, wait_for
from tests.cluster.local_models import LocalModel
from tests.cluster.pods import phase, pod, script_pod, wait_for_facts, wait_until_running
from tests.cluster.settings import MODEL, MODELS_CLAIM, Settings

CANARY = {"percent": 10, "pairs": 120, "slower": 4.0}
"""Trial of the tests: few pairs, and a latency that a busy node of two cores keeps."""
MONITORED_CLAIM, MONITORED = "taxonflow-models", "/var/taxonflow/models"
_STORE = "/store"


@dataclass(frozen=True)
class Deployment:
    """Result of a deploy step.

    Attributes:
        outcome: "deployed" or "rolled_back".
        version: Version that users reach.
    """

    outcome: str
    version: int


class Deployer(Protocol):
    """A way to run the deploy step for one of the models of `local_models.RECIPES`."""

    def start(self, model: str) -> None:
        """Start what ends with the deploy step of a model."""

    def log(self) -> str:
        """Return the log of the deploy step, "" before it has started."""

    def kill(self) -> None:
        """Kill the deploy step, and see to it that it is run again."""

    def wait(self) -> Deployment:
        """Wait for the end of the deploy step."""


class DeployPods:
    """Deploy steps in pods of the tests, for models on a claim.

    Args:
        kubectl: kubectl of the endpoint's namespace.
        settings: Settings of the tests.
        models: Models by name.
    """

    def __init__(self, kubectl: Kubectl, settings: Settings, models: Mapping[str, LocalModel]) -> None:
        self._kubectl, self._settings, self._models = kubectl, settings, models
        self._count = 0
        self._model = ""

    def load(self) -> None:
        """Copy the models and the data set to the claim, through a pod that shows it."""
        name = "taxonflow-test-loader"
        command = ["sleep", "3600"]
        self._kubectl.apply(pod(name, self._settings.image("python-cpu"), command, {MODELS_CLAIM: _STORE}))
        wait_until_running(self._kubectl, name)
        extract = ["exec", "-i", name, "--", "tar", "--no-same-owner", "-x", "-C", _STORE]
        with self._kubectl.start(*extract, stdin=subprocess.PIPE) as process:
            assert process.stdin is not None  # a pipe
            self._write_archive(process.stdin)
            process.stdin.close()
            assert process.wait(120) == 0, "the models could not be copied to the claim"
        self._kubectl.run("delete", "pod", name, "--grace-period=1")
        say(f"{len(self._models)} models are on the claim {MODELS_CLAIM}")

    def start(self, model: str) -> None:
        """Start a pod that deploys a model."""
        self._model = model
        self._count += 1
        call = {
            "artifact": f"{_STORE}/{model}",
            "uri": f"pvc://{MODELS_CLAIM}/{model}",
            "name": MODEL,
            "target": f"kserve://{self._settings.namespace}/{MODEL}",
            "canary": CANARY,
            "slices": f"{_STORE}/slices",
            "monitored_models": MONITORED,
        }
        claims = {MODELS_CLAIM: _STORE, MONITORED_CLAIM: MONITORED}
        self._kubectl.apply(script_pod(self._settings, self._name, "python-cpu", call, claims))

    def log(self) -> str:
        """Return the log of the current pod."""
        return self._kubectl.logs(self._name)

    def kill(self) -> None:
        """Kill the current pod and start another one."""
        self._kubectl.run("delete", "pod", self._name, "--grace-period=0", "--force", "--wait=true")
        wait_for(f"{self._name} was killed", lambda: not phase(self._kubectl, self._name), 60)
        self.start(self._model)

    def wait(self) -> Deployment:
        """Wait for the end of the current pod."""
        facts = wait_for_facts(self._kubectl, self._name, 1200)
        return Deployment(str(facts["outcome"]), int(str(facts["version"])))

    @property
    def _name(self) -> str:
        return f"taxonflow-test-deploy-{self._count}"

    def _write_archive(self, file: IO[bytes]) -> None:
        with tarfile.open(fileobj=file, mode="w|") as archive:
            for name, model in self._models.items():
                archive.add(model.served, name)
            archive.add(next(iter(self._models.values())).slices, "slices")
