"""Canary in KServe's Knative mode: `canaryTrafficPercent` divides the requests between two revisions.

The predictor's spec has the new model from the start. With 0 percent all users stay on the revision that was rolled out
last; without a percentage all users reach the newest one. Knative's route also divides the requests that the
transformer sends to the predictor. Tags give each revision its own URL (`serving.kserve.io/enable-tag-routing`).

A change of the model makes a new revision; a change of the percentage does not. The status contains the newest
revision but not its model, so an annotation beside the model records the revision before it.
"""

# ruff: noqa: ARG002 the signatures are those of Mode

from typing import Any

from components.deploy.canary.settings import CanarySettings
from components.deploy.kserve.checks.readiness import is_ready, model_predict_url, predict_url, readiness_problems
from components.deploy.kserve.client import Cluster
from components.deploy.kserve.inference_service import (
    ModelVersion,
    model_patch,
    previous_model,
    requested_model,
    transformer_patch,
)
from components.deploy.kserve.mode import Mode, Patch, Service, Situation

TAG_ROUTING_ANNOTATION = "serving.kserve.io/enable-tag-routing"
_PREVIOUS_REVISION_ANNOTATION = "taxonflow.dev/previous-revision"
_PERCENT = "canaryTrafficPercent"


class KnativeMode(Mode):
    """Knative mode: each change of the predictor's model is a revision."""

    def situation(self, service: Service, model: ModelVersion) -> Situation:
        """Return the state of the service with respect to a model; CANARY_IDLE if the model was rolled back."""
        current = requested_model(service)
        if current is None:
            return Situation.NO_MODEL
        if current != model:
            return Situation.OTHER_MODEL
        percent = service["spec"]["predictor"].get(_PERCENT)
        if percent is None:
            return Situation.PROMOTED
        return Situation.CANARY_SERVING if percent else Situation.CANARY_IDLE

    def stable_model(self, service: Service) -> ModelVersion | None:
        """Return the model of the revision that was rolled out last."""
        has_canary = service["spec"]["predictor"].get(_PERCENT) is not None
        return previous_model(service) if has_canary else requested_model(service)

    def serve(self, service: Service, model: ModelVersion) -> Patch:
        """Return the patch that serves a model without a trial."""
        return self._new_revision(service, model, None)

    def start_canary(self, service: Service, model: ModelVersion, settings: CanarySettings) -> Patch:
        """Return the patch that starts a model as a revision without users."""
        return self._new_revision(service, model, 0)

    def route_traffic(self, service: Service, settings: CanarySettings) -> Patch:
        """Return the patch that routes a share of the users to the newest revision."""
        return {"spec": {"predictor": {_PERCENT: settings.percent}}}

    def promote(self, service: Service, model: ModelVersion) -> Patch:
        """Return the patch that routes all users to the newest revision."""
        return {"spec": {"predictor": {_PERCENT: None}, **_transformer(service, model, previous_model(service))}}

    def roll_back(self, service: Service) -> Patch:
        """Return the patch that routes all users to the revision that was rolled out last."""
        return {"spec": {"predictor": {_PERCENT: 0}}}

    def restore_previous(self, service: Service) -> Patch | None:
        """Return the patch that serves the previous model again, or None without one."""
        previous = previous_model(service)
        if previous is None:
            return None
        patch = self._new_revision(service, previous, None)
        return {**patch, "spec": {**patch["spec"], **_transformer(service, previous, requested_model(service))}}

    def has_ready_pods(self, cluster: Cluster, service: Service) -> bool:
        """Return whether any revision was rolled out."""
        return bool(_predictor_status(service).get("latestRolledoutRevision"))

    def canary_blocker(self, cluster: Cluster, service: Service, model: ModelVersion) -> str:
        """Return the reason why the newest revision cannot answer requests yet, "" if it is ready and has a URL."""
        status = _predictor_status(service)
        newest = status.get("latestCreatedRevision")
        if not newest or newest == _previous_revision(service):
            return f"the canary has no revision yet; {readiness_problems(service)}"
        if status.get("latestReadyRevision") != newest:
            return f"revision {newest} is not ready; {readiness_problems(service)}"
        return "" if all(_revision_urls(service)) else "the revisions have no URLs yet"

    def traffic_blocker(self, cluster: Cluster, service: Service) -> str:
        """Return the reason why users do not reach the canary yet, "" if the route has its share."""
        percent = service["spec"]["predictor"].get(_PERCENT)
        shares = [target.get("percent") for target in _traffic(service) if target.get("latestRevision")]
        return "" if percent in shares else f"the route does not send {percent} % of the users to the canary yet"

    def promotion_blocker(self, cluster: Cluster, service: Service, model: ModelVersion) -> str:
        """Return the reason why the model does not serve all users yet, "" if its revision is rolled out."""
        status = _predictor_status(service)
        newest = status.get("latestCreatedRevision")
        is_new = bool(newest) and newest != _previous_revision(service)
        if not is_new or status.get("latestReadyRevision") != newest:
            return f"its revision is not ready; {readiness_problems(service)}"
        if status.get("latestRolledoutRevision") != newest:
            return f"revision {newest} is not rolled out"
        return "" if is_ready(service) and predict_url(service) else readiness_problems(service)

    def grace_period_s(self, cluster: Cluster, service: Service) -> float:
        """Return 0: the gateway routes each request by itself, so no connection holds on to an old revision."""
        return 0.0

    def predict_urls(self, service: Service, settings: CanarySettings) -> tuple[str, str]:
        """Return the predict URLs of the revision that was rolled out last and of the newest one."""
        stable, canary = (model_predict_url(url, service["metadata"]["name"]) for url in _revision_urls(service))
        return stable, canary

    def deployments(self, service: Service) -> tuple[str, str] | None:
        """Return the Deployment names of both revisions: the revision names with Knative's suffix."""
        status = _predictor_status(service)
        revisions = (status.get("latestRolledoutRevision"), status.get("latestReadyRevision"))
        return (f"{revisions[0]}-deployment", f"{revisions[1]}-deployment") if all(revisions) else None

    def _new_revision(self, service: Service, model: ModelVersion, percent: int | None) -> Patch:
        """Return the patch that makes a revision of a model with a share of the users, None for all of them."""
        stable = self.stable_model(service)
        patch = model_patch(model, stable)
        predictor = patch["spec"]["predictor"]
        newest = _predictor_status(service).get("latestCreatedRevision")
        annotations = {**predictor["annotations"], _PREVIOUS_REVISION_ANNOTATION: newest}
        predictor = {**predictor, "annotations": annotations, _PERCENT: percent}
        first, second = (model, stable) if percent is None else (stable, model)
        spec = {"predictor": predictor, **_transformer(service, first, second)}
        return {"metadata": {"annotations": {TAG_ROUTING_ANNOTATION: "true"}}, "spec": spec}


def _transformer(service: Service, *models: ModelVersion | None) -> dict[str, Any]:
    """Return the part of a patch with the models that may answer, the stable one first; {} without a transformer."""
    present = [model for model in models if model is not None]
    return {"transformer": transformer_patch(*present)} if present and "transformer" in service["spec"] else {}


def _previous_revision(service: Service) -> str | None:
    revision: str | None = service["spec"]["predictor"].get("annotations", {}).get(_PREVIOUS_REVISION_ANNOTATION)
    return revision


def _predictor_status(service: Service) -> dict[str, Any]:
    status: dict[str, Any] = service.get("status", {}).get("components", {}).get("predictor", {})
    return status


def _traffic(service: Service) -> list[dict[str, Any]]:
    traffic: list[dict[str, Any]] = _predictor_status(service).get("traffic", [])
    return traffic


def _revision_urls(service: Service) -> tuple[str, str]:
    """Return the URLs of the previous revision and of the newest one, "" without a URL."""
    stable = next((t["url"] for t in _traffic(service) if not t.get("latestRevision") and t.get("url")), "")
    canary = next((t["url"] for t in _traffic(service) if t.get("latestRevision") and t.get("url")), "")
    return stable, canary
