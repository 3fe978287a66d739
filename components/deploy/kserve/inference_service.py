"""KServe InferenceService: TensorFlow Serving behind the transformer that checks and segments slices.

The deploy step creates the InferenceService and keeps it up to date; manifests contain none, because KServe takes one
without a model for a multi-model server. What a cluster needs beyond this document (GPUs, nodes, replicas, batching)
is added by the patches of `components.deploy.kserve.endpoint_patches`.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.deploy.kserve.start_command import DIGEST_VARIABLE, START_COMMAND
from components.shared.container_images import SERVING_IMAGE, TENSORFLOW_SERVING_VERSION
from components.shared.contracts import ModelCard

MODE_ANNOTATION = "serving.kserve.io/deploymentMode"
VERSION_ANNOTATION = "taxonflow.dev/model-version"
MODEL_ID_ANNOTATION = "taxonflow.dev/model-id"
MODEL_VERSIONS_ANNOTATION = "taxonflow.dev/model-versions"
_DIGEST_ANNOTATION = "taxonflow.dev/model-digest"
_PREVIOUS_VERSION_ANNOTATION = "taxonflow.dev/previous-model-version"
_PREVIOUS_URI_ANNOTATION = "taxonflow.dev/previous-model-uri"
_PREVIOUS_DIGEST_ANNOTATION = "taxonflow.dev/previous-model-digest"
_PREVIOUS_MODEL_ID_ANNOTATION = "taxonflow.dev/previous-model-id"
_HTTP_PORT = 8080
_EVENTS_FOLDER = "/var/taxonflow/events"
_LABELS = {"sidecar.istio.io/inject": "false"}
"""Labels of the pods. Istio puts no sidecar into pipeline pods; a sidecar here would reject their requests."""
_PRE_STOP_SLEEP_S = 10
_MODEL_LOADING_S = 1800
"""Longest time in which a model is loaded; TensorFlow Serving opens its port afterwards."""
_TRANSFORMER_START_S = 300
_GRACE_PERIOD_S = 60
"""Longer than the preStop sleep and the 30 s within which the transformer finishes requests in flight."""

_POD_SECURITY: dict[str, Any] = {
    "runAsNonRoot": True,
    "runAsUser": 1000,
    "runAsGroup": 1000,
    "fsGroup": 1000,
    "seccompProfile": {"type": "RuntimeDefault"},
}
_CONTAINER_SECURITY: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "privileged": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
}


@dataclass(frozen=True)
class ModelVersion:
    """Version of a model and the folder in object storage that contains it; each version has its own folder.

    Attributes:
        version: Number of the version; 0 for a model that was set manually.
        uri: URI of the folder.
        digest: Digest of the files as verified by the deploy step; "" for a model that was set manually.
        model_id: Id that the model's answers contain; "" for a model whose answers have none.
    """

    version: int
    uri: str
    digest: str = field(default="", compare=False)
    model_id: str = field(default="", compare=False)


def inference_service(name: str, transformer_arguments: Sequence[str] = ()) -> dict[str, Any]:
    """Build the InferenceService without a model and without a namespace.

    Args:
        name: Name of the InferenceService, and of the model in the endpoint's URL.
        transformer_arguments: Arguments of the transformer that depend on the model, from `transformer_options`.
    """
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": name,
            "labels": {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "taxonflow"},
            "annotations": {
                MODE_ANNOTATION: "Standard",
                "serving.kserve.io/autoscalerClass": "none",
            },
        },
        "spec": {"predictor": _predictor(name), "transformer": _transformer(transformer_arguments)},
    }


def model_patch(model: ModelVersion, previous: ModelVersion | None) -> dict[str, Any]:
    """Return the merge patch that makes the predictor serve a model.

    The annotations are copied to the predictor's pods; `transformer_patch` annotates the transformer's.

    Args:
        model: Model to serve.
        previous: Model to restore if the new one never becomes ready; None removes the record of it.
    """
    annotations = {
        **predictor_annotations(model),
        _PREVIOUS_VERSION_ANNOTATION: None if previous is None else str(previous.version),
        _PREVIOUS_URI_ANNOTATION: None if previous is None else previous.uri,
        _PREVIOUS_DIGEST_ANNOTATION: None if previous is None else previous.digest,
        _PREVIOUS_MODEL_ID_ANNOTATION: None if previous is None else previous.model_id,
    }
    return {"spec": {"predictor": {"annotations": annotations, "model": {"storageUri": model.uri}}}}


def predictor_annotations(model: ModelVersion) -> dict[str, str]:
    """Return the annotations of the pods of a predictor: version, model id, and the digest that they check."""
    return {
        VERSION_ANNOTATION: str(model.version),
        _DIGEST_ANNOTATION: model.digest,
        MODEL_ID_ANNOTATION: model.model_id,
    }


def transformer_patch(model: ModelVersion, *others: ModelVersion) -> dict[str, Any]:
    """Return the part of a merge patch with the versions that may answer, for the transformer.

    Args:
        model: Model of the stable predictor.
        others: Other models that may answer: the canary, and the previous model until its pods have ended.
    """
    versions = model_versions((*others, model))  # the stable model's number if two have one id
    return {"annotations": {VERSION_ANNOTATION: str(model.version), MODEL_VERSIONS_ANNOTATION: versions}}


def model_versions(models: Iterable[ModelVersion]) -> str:
    """Return the version numbers of models by their ids as JSON, without models that have no id."""
    return json.dumps({model.model_id: model.version for model in models if model.model_id}, sort_keys=True)


def with_model(service: dict[str, Any], model: ModelVersion) -> dict[str, Any]:
    """Return a copy of a new InferenceService that serves a model."""
    predictor, transformer = service["spec"]["predictor"], service["spec"]["transformer"]
    predictor_with_model = {
        **predictor,
        "annotations": {**predictor.get("annotations", {}), **predictor_annotations(model)},
        "model": {**predictor["model"], "storageUri": model.uri},
    }
    annotations = {**transformer.get("annotations", {}), **transformer_patch(model)["annotations"]}
    spec = {"predictor": predictor_with_model, "transformer": {**transformer, "annotations": annotations}}
    return {**service, "spec": spec}


def requested_model(service: dict[str, Any]) -> ModelVersion | None:
    """Return the model in the predictor's spec; version 0 if it was set manually."""
    predictor = service.get("spec", {}).get("predictor", {})
    annotations = predictor.get("annotations", {})
    uri = predictor.get("model", {}).get("storageUri")
    return _model_version(
        annotations.get(VERSION_ANNOTATION),
        uri,
        annotations.get(_DIGEST_ANNOTATION),
        annotations.get(MODEL_ID_ANNOTATION),
    )


def previous_model(service: dict[str, Any]) -> ModelVersion | None:
    """Return the model that was served before the one in the predictor's spec."""
    annotations = service.get("spec", {}).get("predictor", {}).get("annotations", {})
    return _model_version(
        annotations.get(_PREVIOUS_VERSION_ANNOTATION),
        annotations.get(_PREVIOUS_URI_ANNOTATION),
        annotations.get(_PREVIOUS_DIGEST_ANNOTATION),
        annotations.get(_PREVIOUS_MODEL_ID_ANNOTATION),
    )


def _model_version(
    version: str | None, uri: str | None, digest: str | None, model_id: str | None
) -> ModelVersion | None:
    number = int(version) if version is not None and version.isdecimal() else 0
    return ModelVersion(number, uri, digest or "", model_id or "") if uri else None


def _predictor(name: str) -> dict[str, Any]:
    """Return the predictor; KServe mounts the model."""
    return {
        "labels": dict(_LABELS),
        "minReplicas": 1,
        "terminationGracePeriodSeconds": _GRACE_PERIOD_S,
        "serviceAccountName": "taxonflow-model-reader",
        "automountServiceAccountToken": False,
        "securityContext": _copy(_POD_SECURITY),
        "model": _tensorflow_serving(name),
        "volumes": [_empty_dir("temporary", "1Gi")],
    }


def _tensorflow_serving(name: str) -> dict[str, Any]:
    """Return the TensorFlow Serving container without a GPU; KServe adds the runtime's arguments."""
    return {
        "modelFormat": {"name": "tensorflow", "version": "2"},
        "protocolVersion": "v1",
        "runtime": "kserve-tensorflow-serving",
        "runtimeVersion": TENSORFLOW_SERVING_VERSION,
        "command": list(START_COMMAND),
        "args": [],  # endpoint patches append to this list
        "terminationMessagePolicy": "FallbackToLogsOnError",  # shows in KServe's status why the start failed
        "lifecycle": _lifecycle(),
        "env": [
            {"name": "CUDA_CACHE_PATH", "value": "/tmp/cuda"},  # noqa: S108 a path inside the container
            _annotation_variable(DIGEST_VARIABLE, _DIGEST_ANNOTATION),
        ],
        "ports": _ports(),
        "resources": _resources(("200m", "1Gi"), ("2", "4Gi")),
        "startupProbe": _startup_probe({"tcpSocket": {"port": _HTTP_PORT}}, _MODEL_LOADING_S),
        "readinessProbe": {"httpGet": _http_get(f"/v1/models/{name}"), "periodSeconds": 5, "timeoutSeconds": 2},
        "livenessProbe": {"tcpSocket": {"port": _HTTP_PORT}, "periodSeconds": 10, "timeoutSeconds": 2},
        "securityContext": _copy(_CONTAINER_SECURITY),
        "volumeMounts": [_mount("temporary", "/tmp")],  # noqa: S108 a path inside the container
    }


def transformer_options(card: ModelCard) -> list[str]:
    """Return the transformer's command-line options for a model; empty for the default (grey, segmented)."""
    options = [] if card.channels == 1 else ["--channels", str(card.channels), "--image_size", str(card.image_size)]
    return options if card.segmented else [*options, "--no-segmented"]


def _transformer(arguments: Sequence[str]) -> dict[str, Any]:
    """Return the transformer with the volume of its drift events."""
    return {
        "labels": dict(_LABELS),
        "minReplicas": 1,
        "terminationGracePeriodSeconds": _GRACE_PERIOD_S,
        "automountServiceAccountToken": False,
        "securityContext": _copy(_POD_SECURITY),
        "containers": [_transformer_container(arguments)],
        "volumes": [
            _empty_dir("temporary", "256Mi"),
            _empty_dir("events", "3Gi"),
        ],
    }


def _transformer_container(arguments: Sequence[str]) -> dict[str, Any]:
    """Return the transformer's container; KServe adds `--model_name` and `--predictor_host`."""
    return {
        "name": "kserve-container",
        "image": SERVING_IMAGE,
        "command": ["python", "-m", "serving.transformer"],
        "args": ["--events", _EVENTS_FOLDER, "--workers", "1", *arguments],
        "env": [
            _annotation_variable("TAXONFLOW_MODEL_VERSION", VERSION_ANNOTATION),
            _annotation_variable("TAXONFLOW_MODEL_VERSIONS", MODEL_VERSIONS_ANNOTATION),
        ],
        "lifecycle": _lifecycle(),
        "ports": _ports(),
        "resources": _resources(("100m", "512Mi"), ("2", "2Gi")),
        "startupProbe": _startup_probe({"httpGet": _http_get("/healthz")}, _TRANSFORMER_START_S),
        "readinessProbe": {"httpGet": _http_get("/readyz"), "periodSeconds": 5, "timeoutSeconds": 2},
        "livenessProbe": {"httpGet": _http_get("/healthz"), "timeoutSeconds": 2},
        "securityContext": _copy(_CONTAINER_SECURITY),
        "volumeMounts": [_mount("temporary", "/tmp"), _mount("events", _EVENTS_FOLDER)],  # noqa: S108 a path inside the container
    }


def _lifecycle() -> dict[str, Any]:
    """Return a pause before SIGTERM, in which routes drop the pod while it still answers requests."""
    return {"preStop": {"sleep": {"seconds": _PRE_STOP_SLEEP_S}}}


def _ports() -> list[dict[str, Any]]:
    """Return the port of requests and metrics; a PodMonitor finds only ports that a container declares."""
    return [{"containerPort": _HTTP_PORT, "protocol": "TCP"}]


def _resources(requests: tuple[str, str], limits: tuple[str, str]) -> dict[str, dict[str, str]]:
    """Return CPU and memory: a node of two CPUs has room for a canary while both Deployments replace their pods."""
    return {
        "requests": dict(zip(("cpu", "memory"), requests, strict=True)),
        "limits": dict(zip(("cpu", "memory"), limits, strict=True)),
    }


def _startup_probe(check: dict[str, Any], longest_s: int) -> dict[str, Any]:
    """Return the probe until whose success the liveness probe is not used."""
    period_s = 5
    return {**check, "periodSeconds": period_s, "timeoutSeconds": 2, "failureThreshold": longest_s // period_s}


def _http_get(path: str) -> dict[str, Any]:
    return {"path": path, "port": _HTTP_PORT}


def _annotation_variable(variable: str, annotation: str) -> dict[str, Any]:
    """Return an environment variable with the value of a pod annotation, "" if the pod has none."""
    return {"name": variable, "valueFrom": {"fieldRef": {"fieldPath": f"metadata.annotations['{annotation}']"}}}


def _mount(name: str, path: str) -> dict[str, str]:
    return {"name": name, "mountPath": path}


def _empty_dir(name: str, limit: str) -> dict[str, Any]:
    return {"name": name, "emptyDir": {"sizeLimit": limit}}


def _copy(security: dict[str, Any]) -> dict[str, Any]:
    """Return a deep copy, so that callers may change one pod without the other."""
    return {key: _copy(value) if isinstance(value, dict) else value for key, value in security.items()}
