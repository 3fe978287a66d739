"""A canary in KServe's Knative mode: `canaryTrafficPercent` divides the requests between two revisions.

The predictor's spec names the new model at once; 0 percent keep all users on the revision that was rolled out last, and
None sends them all to the newest one. Knative's route divides what the transformer sends to the predictor, too. Tags
give each revision an address of its own (`serving.kserve.io/enable-tag-routing`).

A change of the model makes a new revision; a change of the share does not. The status names the newest revision without
saying of which model it is, so the one before is written down beside the model.
"""

# ruff: noqa: ARG001 the arguments are those of the protocol

from typing import Any

from components.deploy.canary.settings import CanarySettings
from components.deploy.kserve.client import Cluster
from components.deploy.kserve.inference_service import ServedModel, model_change, previous_model, served_model
from components.deploy.kserve.mode import Patch, Service, Situation
from components.deploy.kserve.readiness import is_ready, predict_url, reasons_not_ready

TAGS = "serving.kserve.io/enable-tag-routing"
_REVISION_BEFORE = "taxonflow.dev/previous-revision"
_SHARE = "canaryTrafficPercent"


def situation(service: Service, model: ServedModel) -> Situation:
    """Returns where the service stands with a model; one that was rolled back has no users and stands as DARK."""
    asked = served_model(service)
    if asked is None:
        return Situation.EMPTY
    if asked != model:
        return Situation.OTHER
    share = service["spec"]["predictor"].get(_SHARE)
    if share is None:
        return Situation.SERVED
    return Situation.OPEN if share else Situation.DARK


def stable_model(service: Service) -> ServedModel | None:
    """Returns the model that users reach beside or without a canary."""
    canary = service["spec"]["predictor"].get(_SHARE) is not None
    return previous_model(service) if canary else served_model(service)


def serve(service: Service, model: ServedModel) -> Patch:
    """Returns the patch that serves a model without trying it."""
    return _change(service, model, None)


def start(service: Service, model: ServedModel) -> Patch:
    """Returns the patch that starts a model as a revision without users, in place of any other."""
    return _change(service, model, 0)


def open(service: Service, settings: CanarySettings) -> Patch:  # noqa: A001 a name of the protocol
    """Returns the patch that gives the canary its share."""
    return {"spec": {"predictor": {_SHARE: settings.percent}}}


def promote(service: Service, model: ServedModel) -> Patch:
    """Returns the patch that sends all users to the canary."""
    return {"spec": {"predictor": {_SHARE: None}}}


def roll_back(service: Service) -> Patch:
    """Returns the patch that sends all users to the revision that was rolled out last."""
    return {"spec": {"predictor": {_SHARE: 0}}}


def take_back(service: Service) -> Patch | None:
    """Returns the patch that serves the model before again, or None if there is none."""
    previous = previous_model(service)
    return None if previous is None else _change(service, previous, None)


def serves(cluster: Cluster, service: Service) -> bool:
    """Returns whether a revision was rolled out that users reach."""
    return bool(_predictor(service).get("latestRolledoutRevision"))


def why_canary_not_ready(cluster: Cluster, service: Service, model: ServedModel) -> str:
    """Says why the canary cannot be asked, "" if its revision is ready and has an address."""
    status = _predictor(service)
    newest = status.get("latestCreatedRevision")
    before = service["spec"]["predictor"].get("annotations", {}).get(_REVISION_BEFORE)
    if not newest or newest == before:
        return f"it has no revision yet; {reasons_not_ready(service)}"
    if status.get("latestReadyRevision") != newest:
        return f"revision {newest} is not ready; {reasons_not_ready(service)}"
    return "" if all(_urls(service)) else "its revisions have no addresses of their own yet"


def why_not_open(cluster: Cluster, service: Service) -> str:
    """Says why users do not reach the canary, "" if the route gives it its share."""
    wanted = service["spec"]["predictor"].get(_SHARE)
    shares = [target.get("percent") for target in _traffic(service) if target.get("latestRevision")]
    return "" if wanted in shares else f"the route does not give the canary its {wanted} % yet"


def why_not_served(cluster: Cluster, service: Service, model: ServedModel) -> str:
    """Says why the model does not serve all users yet, "" if its revision is ready and rolled out."""
    status = _predictor(service)
    newest = status.get("latestCreatedRevision")
    before = service["spec"]["predictor"].get("annotations", {}).get(_REVISION_BEFORE)
    if not newest or newest == before or status.get("latestReadyRevision") != newest:
        return f"its revision is not ready; {reasons_not_ready(service)}"
    if status.get("latestRolledoutRevision") != newest:
        return f"revision {newest} is not rolled out"
    return "" if is_ready(service) and predict_url(service) else reasons_not_ready(service)


def addresses(service: Service, settings: CanarySettings) -> tuple[str, str]:
    """Returns the predict URLs of the revision that was rolled out last and of the newest one."""
    path = f"/v1/models/{service['metadata']['name']}:predict"
    stable, canary = (url.rstrip("/") + path for url in _urls(service))
    return stable, canary


def deployments(service: Service) -> tuple[str, str] | None:
    """Returns the Deployments' names: Knative adds a suffix to its revisions' names."""
    status = _predictor(service)
    revisions = (status.get("latestRolledoutRevision"), status.get("latestReadyRevision"))
    return (f"{revisions[0]}-deployment", f"{revisions[1]}-deployment") if all(revisions) else None


def _change(service: Service, model: ServedModel, share: int | None) -> Patch:
    """Returns the patch that asks for a model's revision with a share of the users, None for all of them."""
    patch = model_change(model, stable_model(service))
    predictor = patch["spec"]["predictor"]
    newest = _predictor(service).get("latestCreatedRevision")
    annotations = {**predictor["annotations"], _REVISION_BEFORE: newest}
    changed = {**predictor, "annotations": annotations, _SHARE: share}
    return {"metadata": {"annotations": {TAGS: "true"}}, "spec": {"predictor": changed}}


def _predictor(service: Service) -> dict[str, Any]:
    status: dict[str, Any] = service.get("status", {}).get("components", {}).get("predictor", {})
    return status


def _traffic(service: Service) -> list[dict[str, Any]]:
    traffic: list[dict[str, Any]] = _predictor(service).get("traffic", [])
    return traffic


def _urls(service: Service) -> tuple[str, str]:
    """Returns the addresses of the revision before and of the newest, "" where there is none."""
    stable = next((t["url"] for t in _traffic(service) if not t.get("latestRevision") and t.get("url")), "")
    canary = next((t["url"] for t in _traffic(service) if t.get("latestRevision") and t.get("url")), "")
    return stable, canary
