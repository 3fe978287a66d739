"""Canary in KServe's Standard mode: `spec.canary` beside the predictor, and a transformer that divides the users.

KServe's weights for `spec.canary` are in the routes to predictors. With a transformer, users' requests take the route
to the transformer, which calls the Service `<name>-predictor` regardless of the weights (KServe,
`Transformer.Reconcile` and `applyCanaryWeights`). Therefore the transformer divides the requests; its command-line
options set the canary's host, percentage and version.

KServe can promote without a restart by renaming the predictor to the canary's name, but it then deletes the Service
`<name>-predictor` that the transformer calls. Therefore a promotion changes the stable predictor's storageUri: its old
pods answer until the new ones are ready, and no URL changes.
"""

import json
from typing import Any
from urllib.parse import urlsplit

from components.deploy.canary.settings import CanarySettings
from components.deploy.kserve.checks.pod_problems import pod_problems
from components.deploy.kserve.checks.readiness import (
    grace_period_s,
    is_complete,
    is_ready,
    model_predict_url,
    predict_url,
    readiness_problems,
    runs_version,
)
from components.deploy.kserve.client import Cluster
from components.deploy.kserve.inference_service import (
    VERSION_ANNOTATION,
    ModelVersion,
    model_patch,
    predictor_annotations,
    previous_model,
    requested_model,
    transformer_patch,
)
from components.deploy.kserve.mode import Mode, Patch, Service, Situation

CANARY = "canary"
_REPLICAS_ANNOTATION = "taxonflow.dev/stable-replicas"
_CANARY_OPTIONS = ("--canary_host", "--canary_percent", "--canary_version")


class StandardMode(Mode):
    """Standard mode: each predictor is a Deployment."""

    def situation(self, service: Service, model: ModelVersion) -> Situation:
        """Return the state of the service with respect to a model."""
        stable = requested_model(service)
        if stable is None:
            return Situation.NO_MODEL
        if stable == model:
            return Situation.PROMOTED
        entry = _canary_entry(service)
        if _storage_uri(entry) != model.uri:
            return Situation.OTHER_MODEL
        return Situation.CANARY_SERVING if entry["trafficPercent"] else Situation.CANARY_IDLE

    def stable_model(self, service: Service) -> ModelVersion | None:
        """Return the model of the stable predictor."""
        return requested_model(service)

    def serve(self, service: Service, model: ModelVersion) -> Patch:
        """Return the patch that serves a model without a trial."""
        stable = requested_model(service)
        return _with_canary(service, model_patch(model, stable), None, models=_known(model, stable))

    def start_canary(self, service: Service, model: ModelVersion, settings: CanarySettings) -> Patch:
        """Return the patch that starts a model as a canary without users and replaces any other canary.

        The transformer learns the canary's version here only if it will get no share of the users: each change restarts
        the transformer.
        """
        entry = {"trafficPercent": 0, "predictor": _canary_predictor(service, model)}
        models = () if settings.percent else _known(requested_model(service), model)
        patch = {"spec": {"predictor": counts} if (counts := _raised_replicas(service)) else {}}
        return _with_canary(service, patch, entry, models=models)

    def route_traffic(self, service: Service, settings: CanarySettings) -> Patch:
        """Return the patch that routes a share of the users to the canary, which keeps its one replica."""
        entry = {**_canary_entry(service), "trafficPercent": settings.percent}
        models = _known(requested_model(service), requested_model({"spec": entry}))
        return _with_canary(service, {"spec": {}}, entry, _canary_host(service, settings), models)

    def promote(self, service: Service, model: ModelVersion) -> Patch:
        """Return the patch that gives the stable predictor the canary's model and removes the canary's pods."""
        return self.serve(service, model)

    def roll_back(self, service: Service) -> Patch:
        """Return the patch that removes the canary; its pods may still answer, so its version remains known."""
        return _with_canary(service, {"spec": {}}, None)

    def restore_previous(self, service: Service) -> Patch | None:
        """Return the patch that serves the previous model again, or None without one."""
        previous = previous_model(service)
        if previous is None:
            return None
        models = _known(previous, requested_model(service))
        return _with_canary(service, model_patch(previous, None), None, models=models)

    def has_ready_pods(self, cluster: Cluster, service: Service) -> bool:
        """Return whether the stable predictor has an available pod."""
        deployment = cluster.deployment(_predictor_name(service))
        return bool(deployment and deployment.get("status", {}).get("availableReplicas"))

    def canary_blocker(self, cluster: Cluster, service: Service, model: ModelVersion) -> str:
        """Return the reason why the canary cannot answer requests yet, "" if all of its pods serve the model."""
        return _pods_blocker(cluster, service, _predictor_name(service, CANARY), model)

    def traffic_blocker(self, cluster: Cluster, service: Service) -> str:
        """Return the reason why the transformer does not divide the requests yet, "" if all of its pods do."""
        if "transformer" not in service["spec"]:
            return ""
        name = _transformer_name(service)
        deployment = cluster.deployment(name)
        if deployment and _has_options(deployment, service["spec"]["transformer"]) and is_complete(deployment):
            return ""
        problems = pod_problems(cluster, deployment) if deployment else ""
        return f"{name} does not run with its new options yet{': ' + problems if problems else ''}"

    def promotion_blocker(self, cluster: Cluster, service: Service, model: ModelVersion) -> str:
        """Return the reason why the model does not serve all users yet, "" if every replica serves it."""
        if problem := _pods_blocker(cluster, service, _predictor_name(service), model):
            return problem
        if problem := self.traffic_blocker(cluster, service):
            return problem
        return "" if is_ready(service) and predict_url(service) else readiness_problems(service)

    def grace_period_s(self, cluster: Cluster, service: Service) -> float:
        """Return the longest grace period of the pods of the predictor and the transformer."""
        names = (_predictor_name(service), _transformer_name(service))
        return max(grace_period_s(cluster.deployment(name)) for name in names)

    def predict_urls(self, service: Service, settings: CanarySettings) -> tuple[str, str]:
        """Return the predict URLs of the two predictors' Services, which bypass the transformer."""
        model, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
        stable, canary = (
            model_predict_url(settings.predictor.format(service=name, namespace=namespace), model)
            for name in (_predictor_name(service), _predictor_name(service, CANARY))
        )
        return stable, canary

    def deployments(self, service: Service) -> tuple[str, str]:
        """Return the Deployment names of the stable predictor and the canary."""
        return _predictor_name(service), _predictor_name(service, CANARY)


def _pods_blocker(cluster: Cluster, service: Service, name: str, model: ModelVersion) -> str:
    """Return the reason why not every pod of a predictor serves a model, "" if each does."""
    deployment = cluster.deployment(name)
    if deployment is not None and runs_version(deployment, model.version):
        return ""
    problems = pod_problems(cluster, deployment) if deployment else ""
    return f"{name} does not serve version {model.version} yet: {problems or readiness_problems(service)}"


def _predictor_name(service: Service, predictor: str = "") -> str:
    """Return the name that KServe gives to a predictor's Deployment and Service."""
    return "-".join(filter(None, (service["metadata"]["name"], predictor, "predictor")))


def _transformer_name(service: Service) -> str:
    """Return the name that KServe gives to the transformer's Deployment."""
    return f"{service['metadata']['name']}-transformer"


def _has_options(deployment: dict[str, Any], transformer: dict[str, Any]) -> bool:
    """Return whether the pods of a Deployment have the arguments and annotations of the transformer's spec."""
    template = deployment.get("spec", {}).get("template", {})
    arguments = set(transformer["containers"][0].get("args", []))
    containers = template.get("spec", {}).get("containers", [])
    annotations = template.get("metadata", {}).get("annotations", {})
    return any(arguments <= set(container.get("args", [])) for container in containers) and all(
        annotations.get(name) == value for name, value in transformer.get("annotations", {}).items()
    )


def _known(*models: ModelVersion | None) -> tuple[ModelVersion, ...]:
    return tuple(model for model in models if model is not None)


def _canary_entry(service: Service) -> dict[str, Any]:
    """Return the canary's entry in the service's spec, {} without one."""
    entries = service.get("spec", {}).get("canary") or [{}]
    return dict(next((entry for entry in entries if entry.get("predictor", {}).get("name") == CANARY), {}))


def _storage_uri(entry: dict[str, Any]) -> str | None:
    uri: str | None = entry.get("predictor", {}).get("model", {}).get("storageUri")
    return uri


def _canary_predictor(service: Service, model: ModelVersion) -> dict[str, Any]:
    """Return the canary's differences from the stable predictor; KServe merges them but replaces whole lists."""
    container_name = {"name": "kserve-container"}  # required by the CRD here, forbidden in the stable predictor
    replicas = _stable_replicas(service)
    return {
        "name": CANARY,
        "minReplicas": 1,  # KServe would derive 0 from a share of 0
        "annotations": {
            **predictor_annotations(model),
            **({_REPLICAS_ANNOTATION: json.dumps(replicas)} if replicas else {}),
        },
        "model": {**service["spec"]["predictor"]["model"], **container_name, "storageUri": model.uri},
    }


def _stable_replicas(service: Service) -> dict[str, int]:
    """Return the replica counts of the stable predictor without a canary, {} if a canary does not change them.

    KServe 0.20 takes the canary's replica from the stable predictor but leaves it at least one
    (`Predictor.reconcileRawDeployment`), so one more is requested while a canary runs.
    """
    note = _canary_entry(service).get("predictor", {}).get("annotations", {}).get(_REPLICAS_ANNOTATION)
    if note:
        return dict(json.loads(note))
    predictor = service["spec"]["predictor"]
    if predictor.get("minReplicas", 0) <= 1:
        return {}
    return {name: predictor[name] for name in ("minReplicas", "maxReplicas") if predictor.get(name)}


def _raised_replicas(service: Service) -> dict[str, int]:
    """Return the replica counts of the stable predictor beside a canary."""
    replicas = _stable_replicas(service)
    minimum = replicas.get("minReplicas", 0) + 1
    return {name: max(minimum, count) for name, count in replicas.items()}


def _with_canary(
    service: Service,
    patch: Patch,
    entry: dict[str, Any] | None,
    canary_host: str = "",
    models: tuple[ModelVersion, ...] = (),
) -> Patch:
    """Return a patch with the canary's entry and the matching options of the transformer added.

    Args:
        service: Current InferenceService.
        patch: Patch of the stable predictor.
        entry: Entry of the canary; None removes it.
        canary_host: Host of the canary; empty if the transformer must not send users to it.
        models: Models that may answer the transformer, first the stable one; () for no change.
    """
    spec = {**patch["spec"], "canary": [entry] if entry else None}
    if entry is None and (replicas := _stable_replicas(service)):
        spec["predictor"] = {**spec.get("predictor", {}), **replicas}
    containers = service["spec"].get("transformer", {}).get("containers")
    if containers:
        arguments = _transformer_arguments(containers[0].get("args", []), entry, canary_host)
        annotations = transformer_patch(*models) if models else {}
        spec["transformer"] = {"containers": [{**containers[0], "args": arguments}, *containers[1:]], **annotations}
    return {**patch, "spec": spec}


def _transformer_arguments(current: list[str], entry: dict[str, Any] | None, canary_host: str) -> list[str]:
    """Return the transformer's arguments with the canary options replaced, or removed without users for the canary."""
    names = [index for index, argument in enumerate(current) if argument in _CANARY_OPTIONS]
    canary_indices = {*names, *(index + 1 for index in names)}
    arguments = [argument for index, argument in enumerate(current) if index not in canary_indices]
    if not entry or not canary_host:
        return arguments
    version = entry["predictor"]["annotations"][VERSION_ANNOTATION]
    values = canary_host, str(entry["trafficPercent"]), version
    return [*arguments, *(text for option in zip(_CANARY_OPTIONS, values, strict=True) for text in option)]


def _canary_host(service: Service, settings: CanarySettings) -> str:
    """Return host and port of the canary's Service; those of the deploy step if its URL names the Service."""
    name, namespace = _predictor_name(service, CANARY), service["metadata"]["namespace"]
    host = urlsplit(settings.predictor.format(service=name, namespace=namespace)).netloc
    return host if name in host else f"{name}.{namespace}"
