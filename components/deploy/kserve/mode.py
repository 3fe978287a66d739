"""Interface of a KServe deployment mode to a rollout; implemented by `StandardMode` and `KnativeMode`.

The InferenceService contains the entire state of a rollout, so a killed step resumes when it is run again.
"""

from abc import ABC, abstractmethod
from enum import Enum
from typing import Any

from components.deploy.canary.settings import CanarySettings
from components.deploy.kserve.client import Cluster
from components.deploy.kserve.inference_service import ModelVersion

Patch = dict[str, Any]
Service = dict[str, Any]


class Situation(Enum):
    """State of an InferenceService with respect to a model."""

    NO_MODEL = "the service has no model"
    OTHER_MODEL = "the service has another model, and this one is not a canary"
    CANARY_IDLE = "the model is a canary without users"
    CANARY_SERVING = "the model is a canary that answers a share of the users' requests"
    PROMOTED = "the model is the stable model of the service"


class Mode(ABC):
    """Deployment mode: functions of an InferenceService and of the cluster's state.

    Patches are JSON merge patches. Each one moves the service from one situation to another in one write.
    """

    @abstractmethod
    def situation(self, service: Service, model: ModelVersion) -> Situation:
        """Return the state of the service with respect to a model."""

    @abstractmethod
    def stable_model(self, service: Service) -> ModelVersion | None:
        """Return the model that answers the requests that the canary does not answer."""

    @abstractmethod
    def serve(self, service: Service, model: ModelVersion) -> Patch:
        """Return the patch that serves a model without a trial."""

    @abstractmethod
    def start_canary(self, service: Service, model: ModelVersion, settings: CanarySettings) -> Patch:
        """Return the patch that starts a model as a canary without users and replaces any other canary."""

    @abstractmethod
    def route_traffic(self, service: Service, settings: CanarySettings) -> Patch:
        """Return the patch that routes a share of the users' requests to the canary."""

    @abstractmethod
    def promote(self, service: Service, model: ModelVersion) -> Patch:
        """Return the patch that makes the canary the stable model."""

    @abstractmethod
    def roll_back(self, service: Service) -> Patch:
        """Return the patch that removes the canary."""

    @abstractmethod
    def restore_previous(self, service: Service) -> Patch | None:
        """Return the patch that serves the previous model again, or None without one."""

    @abstractmethod
    def has_ready_pods(self, cluster: Cluster, service: Service) -> bool:
        """Return whether a model serves users: in Standard mode by its pods, in Knative mode by its revision."""

    @abstractmethod
    def canary_blocker(self, cluster: Cluster, service: Service, model: ModelVersion) -> str:
        """Return the reason why the canary cannot answer requests yet, "" if it can."""

    @abstractmethod
    def traffic_blocker(self, cluster: Cluster, service: Service) -> str:
        """Return the reason why users do not reach the canary yet, "" if they do."""

    @abstractmethod
    def promotion_blocker(self, cluster: Cluster, service: Service, model: ModelVersion) -> str:
        """Return the reason why the model does not serve all users yet, "" if it does."""

    @abstractmethod
    def grace_period_s(self, cluster: Cluster, service: Service) -> float:
        """Return the seconds for which pods of an earlier model may still answer."""

    @abstractmethod
    def predict_urls(self, service: Service, settings: CanarySettings) -> tuple[str, str]:
        """Return the predict URLs of the stable predictor and of the canary."""

    @abstractmethod
    def deployments(self, service: Service) -> tuple[str, str] | None:
        """Return the Deployment names of the stable predictor and the canary, None while Knative reports none."""
