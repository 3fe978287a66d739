"""A canary in KServe's Standard mode: `spec.canary` beside the predictor, and the transformer that divides the users.

KServe's weights for `spec.canary` stand in the routes to predictors. With a transformer in front, users' requests take
the route to the transformer, and that asks the Service `<name>-predictor`, whatever the weights are (KServe,
`Transformer.Reconcile` and `applyCanaryWeights`). So the transformer is told of the canary and divides the requests.

KServe can promote without a restart by renaming the predictor to the canary's name. The Service `<name>-predictor` that
the transformer asks is deleted then. So a promotion changes the stable predictor's storageUri: its old pods answer
until the new ones are ready, and no address ever changes.
"""

from typing import Any
from urllib.parse import urlsplit

from components.deploy.canary.settings import CanarySettings
from components.deploy.kserve.client import Cluster
from components.deploy.kserve.inference_service import (
    VERSION_ANNOTATION,
    ServedModel,
    model_change,
    predictor_annotations,
    previous_model,
    served_model,
    transformer_told,
)
from components.deploy.kserve.mode import Patch, Service, Situation
from components.deploy.kserve.readiness import is_complete, is_ready, predict_url, reasons_not_ready, runs_version

CANARY = "canary"
_CANARY_OPTIONS = ("--canary_host", "--canary_percent", "--canary_version")


def situation(service: Service, model: ServedModel) -> Situation:
    """Returns where the service stands with a model."""
    served = served_model(service)
    if served is None:
        return Situation.EMPTY
    if served == model:
        return Situation.SERVED
    entry = _entry(service)
    if _uri(entry) != model.uri:
        return Situation.OTHER
    return Situation.OPEN if entry["trafficPercent"] else Situation.DARK


def stable_model(service: Service) -> ServedModel | None:
    """Returns the model that users reach beside or without a canary."""
    return served_model(service)


def serve(service: Service, model: ServedModel) -> Patch:
    """Returns the patch that serves a model without trying it."""
    return _with_canary_and_transformer(service, model_change(model, served_model(service)), None, told=model)


def start(service: Service, model: ServedModel) -> Patch:
    """Returns the patch that starts a model as a canary without users, in place of any other canary."""
    entry = {"trafficPercent": 0, "predictor": _canary_predictor(service, model)}
    return _with_canary_and_transformer(service, {"spec": {}}, entry)


def open(service: Service, settings: CanarySettings) -> Patch:  # noqa: A001 a name of the protocol
    """Returns the patch that gives the canary its share, and keeps its one replica."""
    entry = {**_entry(service), "trafficPercent": settings.percent}
    return _with_canary_and_transformer(service, {"spec": {}}, entry, _canary_host(service, settings))


def promote(service: Service, model: ServedModel) -> Patch:
    """Returns the patch that serves the canary's model; its pods go when the stable predictor takes it over."""
    return serve(service, model)


def roll_back(service: Service) -> Patch:
    """Returns the patch that takes the canary away."""
    return _with_canary_and_transformer(service, {"spec": {}}, None)


def take_back(service: Service) -> Patch | None:
    """Returns the patch that serves the model before again, or None if there is none."""
    previous = previous_model(service)
    if previous is None:
        return None
    return _with_canary_and_transformer(service, model_change(previous, None), None, told=previous)


def serves(cluster: Cluster, service: Service) -> bool:
    """Returns whether the stable predictor has a pod that answers."""
    deployment = cluster.deployment(_deployment(service))
    return bool(deployment and deployment.get("status", {}).get("availableReplicas"))


def why_canary_not_ready(cluster: Cluster, service: Service, model: ServedModel) -> str:
    """Says why the canary cannot be asked, "" if all of its pods serve the model."""
    deployment = cluster.deployment(_deployment(service, CANARY))
    if deployment is None or not runs_version(deployment, model.version):
        return f"{_deployment(service, CANARY)} does not serve it yet; {reasons_not_ready(service)}"
    return ""


def why_not_open(cluster: Cluster, service: Service) -> str:
    """Says why the transformer does not divide the requests yet, "" if all of its pods do."""
    if "transformer" not in service["spec"]:
        return ""
    name = f"{service['metadata']['name']}-transformer"
    deployment = cluster.deployment(name)
    containers = (deployment or {}).get("spec", {}).get("template", {}).get("spec", {}).get("containers", [])
    wanted = service["spec"]["transformer"]["containers"][0]["args"]
    told = any(set(wanted) <= set(container.get("args", [])) for container in containers)
    return "" if deployment and told and is_complete(deployment) else f"{name} does not divide the requests yet"


def why_not_served(cluster: Cluster, service: Service, model: ServedModel) -> str:
    """Says why the model does not serve all users yet, "" if every replica serves it."""
    deployment = cluster.deployment(_deployment(service))
    if deployment is None or not runs_version(deployment, model.version):
        return f"{_deployment(service)} does not serve it yet; {reasons_not_ready(service)}"
    return "" if is_ready(service) and predict_url(service) else reasons_not_ready(service)


def addresses(service: Service, settings: CanarySettings) -> tuple[str, str]:
    """Returns the predict URLs of the two predictors' Services, which no transformer stands before."""
    path = f"/v1/models/{service['metadata']['name']}:predict"
    namespace = service["metadata"]["namespace"]
    stable, canary = (
        settings.predictor.format(service=name, namespace=namespace).rstrip("/") + path
        for name in (_deployment(service), _deployment(service, CANARY))
    )
    return stable, canary


def deployments(service: Service) -> tuple[str, str] | None:
    """Returns the Deployments' names of the stable predictor and the canary's."""
    return _deployment(service), _deployment(service, CANARY)


def _deployment(service: Service, predictor: str = "") -> str:
    """Returns the name that KServe gives a predictor's Deployment and Service."""
    return "-".join(filter(None, (service["metadata"]["name"], predictor, "predictor")))


def _entry(service: Service) -> dict[str, Any]:
    """Returns the canary's entry, {} without one."""
    entries = service.get("spec", {}).get("canary") or [{}]
    return dict(next((entry for entry in entries if entry.get("predictor", {}).get("name") == CANARY), {}))


def _uri(entry: dict[str, Any]) -> str | None:
    uri: str | None = entry.get("predictor", {}).get("model", {}).get("storageUri")
    return uri


def _canary_predictor(service: Service, model: ServedModel) -> dict[str, Any]:
    """Returns what differs from the stable predictor, on which KServe lays it; lists it replaces as a whole."""
    runtime_container = {
        "name": "kserve-container"
    }  # the CRD asks for a name here; the stable predictor's must have none
    return {
        "name": CANARY,
        "minReplicas": 1,  # KServe would derive none from a share of 0
        "annotations": predictor_annotations(model),
        "model": {**service["spec"]["predictor"]["model"], **runtime_container, "storageUri": model.uri},
    }


def _with_canary_and_transformer(
    service: Service, patch: Patch, entry: dict[str, Any] | None, host: str = "", told: ServedModel | None = None
) -> Patch:
    """Adds the canary's entry, None for none, to a patch, and to the transformer what goes with it.

    Args:
        service: as it is.
        patch: of the stable predictor.
        entry: of the canary.
        host: of the canary, where the transformer gives it users.
        told: the stable model, where it becomes another one.
    """
    spec = {**patch["spec"], "canary": [entry] if entry else None}
    containers = service["spec"].get("transformer", {}).get("containers")
    if containers:
        first = {**containers[0], "args": _options(containers[0].get("args", []), entry, host)}
        annotations = transformer_told(told) if told else {}
        spec["transformer"] = {"containers": [first, *containers[1:]], **annotations}
    return {**patch, "spec": spec}


def _options(given: list[str], entry: dict[str, Any] | None, host: str) -> list[str]:
    """Returns the transformer's options with those that divide the requests, if the canary has a share."""
    options = [place for place, word in enumerate(given) if word in _CANARY_OPTIONS]
    ours = {*options, *(place + 1 for place in options)}
    kept = [word for place, word in enumerate(given) if place not in ours]
    if not entry or not host:
        return kept
    version = entry["predictor"]["annotations"][VERSION_ANNOTATION]
    values = host, str(entry["trafficPercent"]), version
    return [*kept, *(word for pair in zip(_CANARY_OPTIONS, values, strict=True) for word in pair)]


def _canary_host(service: Service, settings: CanarySettings) -> str:
    """Returns host and port of the canary's Service, as the deploy step reaches it where that is inside the cluster."""
    name, namespace = _deployment(service, CANARY), service["metadata"]["namespace"]
    reached = urlsplit(settings.predictor.format(service=name, namespace=namespace)).netloc
    return reached if name in reached else f"{name}.{namespace}"
