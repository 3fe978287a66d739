"""What a roll-out needs from a deployment mode of KServe; `standard_mode` and `knative_mode` have it.

All of a roll-out's state is in the InferenceService itself, so that a step that was killed and is run again finds out
where it stood.
"""

from enum import Enum
from typing import Any, Protocol

from components.deploy.canary.settings import CanarySettings
from components.deploy.kserve.client import Cluster
from components.deploy.kserve.inference_service import ServedModel

Patch = dict[str, Any]
Service = dict[str, Any]


class Situation(Enum):
    """Where an InferenceService stands with a model."""

    EMPTY = "it serves no model"
    OTHER = "it serves another model, and this one is nowhere"
    DARK = "the model is a canary that no user reaches"
    OPEN = "the model is a canary that answers a share of the users' requests"
    SERVED = "it serves the model"


class Mode(Protocol):
    """Pure functions of an InferenceService, and what the cluster says about it.

    Patches are JSON merge patches; each takes the service from one situation to another in one write.
    """

    def situation(self, service: Service, model: ServedModel) -> Situation:
        """Returns where the service stands with a model."""

    def stable_model(self, service: Service) -> ServedModel | None:
        """Returns the model that users reach beside or without a canary."""

    def serve(self, service: Service, model: ServedModel) -> Patch:
        """Returns the patch that serves a model without trying it, where nothing else is served."""

    def start(self, service: Service, model: ServedModel) -> Patch:
        """Returns the patch that starts a model as a canary without users, in place of any other canary."""

    def open(self, service: Service, settings: CanarySettings) -> Patch:
        """Returns the patch that gives the canary its share of the users' requests."""

    def promote(self, service: Service, model: ServedModel) -> Patch:
        """Returns the patch that makes the canary the model that is served."""

    def roll_back(self, service: Service) -> Patch:
        """Returns the patch that takes the canary away."""

    def take_back(self, service: Service) -> Patch | None:
        """Returns the patch that serves the model before again, or None if there is none."""

    def serves(self, cluster: Cluster, service: Service) -> bool:
        """Returns whether users get answers from any model now."""

    def why_canary_not_ready(self, cluster: Cluster, service: Service, model: ServedModel) -> str:
        """Says why the canary cannot be asked, "" if it can."""

    def why_not_open(self, cluster: Cluster, service: Service) -> str:
        """Says why users do not reach the canary, "" if they do."""

    def why_not_served(self, cluster: Cluster, service: Service, model: ServedModel) -> str:
        """Says why the model does not serve all users yet, "" if it does."""

    def addresses(self, service: Service, settings: CanarySettings) -> tuple[str, str]:
        """Returns the predict URLs of the stable predictor and the canary's, each for itself."""

    def deployments(self, service: Service) -> tuple[str, str] | None:
        """Returns the Deployments' names of the stable predictor and the canary's, None if Knative names them."""
