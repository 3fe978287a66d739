"""The KServe InferenceService: TensorFlow Serving on a GPU behind the transformer that checks and segments slices.

`manifests/base/inferenceservice.yaml` is this document as YAML, written by
`python -m components.deploy.kserve.inference_service > manifests/base/inferenceservice.yaml`. Neither names a model:
the deploy step does, so that applying the manifests again leaves the deployed model alone.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from components.deploy.kserve.verified_start import DIGEST_VARIABLE, START_COMMAND
from components.shared.container_images import SERVING_IMAGE, TENSORFLOW_SERVING_VERSION
from components.shared.contracts import ModelCard

DEFAULT_NAME = "foraminifera"
MODE = "serving.kserve.io/deploymentMode"
VERSION_ANNOTATION = "taxonflow.dev/model-version"
_DIGEST = "taxonflow.dev/model-digest"
_PREVIOUS_VERSION = "taxonflow.dev/previous-model-version"
_PREVIOUS_URI = "taxonflow.dev/previous-model-uri"
_PREVIOUS_DIGEST = "taxonflow.dev/previous-model-digest"
_HTTP_PORT = 8080
_EVENTS = "/var/taxonflow/events"
_PAUSE_S = 10
_GRACE_S = 60
"""More than the pause and the 30 s that the transformer gives requests in flight."""

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
class ServedModel:
    """A version's number and the folder in object storage that holds it, one for each version.

    Attributes:
        version: its number.
        uri: the folder's address.
        digest: of its files as the deploy step verified them; "" for a model that was set by hand.
    """

    version: int
    uri: str
    digest: str = field(default="", compare=False)


def inference_service(name: str, expects: Sequence[str] = ()) -> dict[str, Any]:
    """Builds the InferenceService without a model and without a namespace.

    Args:
        name: its name, which is also the model's name in the endpoint's address.
        expects: the transformer's options that tell what the model wants to see, as `transformer_options` gives them.
    """
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": name,
            "labels": {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "taxonflow"},
            "annotations": {
                MODE: "Standard",
                "serving.kserve.io/autoscalerClass": "none",
            },
        },
        "spec": {"predictor": _predictor(name), "transformer": _transformer(expects)},
    }


def model_change(model: ServedModel, previous: ServedModel | None) -> dict[str, Any]:
    """Returns the merge patch that makes an InferenceService serve a model.

    The annotations stand on the predictor's pods; the transformer's has `transformer_told`.

    Args:
        model: what to serve.
        previous: what was served before, to be put back if the model never becomes ready; None forgets it.
    """
    annotations = {
        **predictor_annotations(model),
        _PREVIOUS_VERSION: None if previous is None else str(previous.version),
        _PREVIOUS_URI: None if previous is None else previous.uri,
        _PREVIOUS_DIGEST: None if previous is None else previous.digest,
    }
    return {"spec": {"predictor": {"annotations": annotations, "model": {"storageUri": model.uri}}}}


def predictor_annotations(model: ServedModel) -> dict[str, str]:
    """Returns what the pods of a model's predictor are told: its version, and the digest that they check."""
    return {VERSION_ANNOTATION: str(model.version), _DIGEST: model.digest}


def transformer_told(model: ServedModel) -> dict[str, Any]:
    """Returns the part of a merge patch that tells the transformer how drift events are to call the model."""
    return {"annotations": {VERSION_ANNOTATION: str(model.version)}}


def with_model(service: dict[str, Any], model: ServedModel) -> dict[str, Any]:
    """Returns a new InferenceService that serves a model."""
    predictor, transformer = service["spec"]["predictor"], service["spec"]["transformer"]
    served = {
        **predictor,
        "annotations": predictor_annotations(model),
        "model": {**predictor["model"], "storageUri": model.uri},
    }
    return {**service, "spec": {"predictor": served, "transformer": {**transformer, **transformer_told(model)}}}


def served_model(service: dict[str, Any]) -> ServedModel | None:
    """Returns the model that an InferenceService asks for; version 0 if somebody set it by hand."""
    predictor = service.get("spec", {}).get("predictor", {})
    told = predictor.get("annotations", {})
    return _model(told.get(VERSION_ANNOTATION), predictor.get("model", {}).get("storageUri"), told.get(_DIGEST))


def previous_model(service: dict[str, Any]) -> ServedModel | None:
    """Returns the model that was served before the one that an InferenceService asks for."""
    told = service.get("spec", {}).get("predictor", {}).get("annotations", {})
    return _model(told.get(_PREVIOUS_VERSION), told.get(_PREVIOUS_URI), told.get(_PREVIOUS_DIGEST))


def _model(version: str | None, uri: str | None, digest: str | None) -> ServedModel | None:
    number = int(version) if version is not None and version.isdecimal() else 0
    return ServedModel(number, uri, digest or "") if uri else None


class _Readable(yaml.SafeDumper):
    """Writes text of several lines as such, and every list where it stands."""

    def ignore_aliases(self, _data: Any) -> bool:
        """Says that nothing is written as a reference."""
        return True


def _as_block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Readable.add_representer(str, _as_block)


def as_yaml(service: dict[str, Any]) -> str:
    """Returns an InferenceService as the text of its manifest."""
    head = "# Written by `python -m components.deploy.kserve.inference_service`; change it there.\n"
    return head + yaml.dump(service, Dumper=_Readable, sort_keys=False, width=120)


def _predictor(name: str) -> dict[str, Any]:
    """Returns the predictor; KServe mounts the model."""
    return {
        "minReplicas": 1,
        "terminationGracePeriodSeconds": _GRACE_S,
        "serviceAccountName": "taxonflow-model-reader",
        "automountServiceAccountToken": False,
        "securityContext": _copied(_POD_SECURITY),
        "model": _tensorflow_serving(name),
        "volumes": [_temporary("1Gi")],
    }


def _tensorflow_serving(name: str) -> dict[str, Any]:
    """Returns TensorFlow Serving with one GPU; KServe adds the runtime's arguments."""
    return {
        "modelFormat": {"name": "tensorflow", "version": "2"},
        "protocolVersion": "v1",
        "runtime": "kserve-tensorflow-serving",
        "runtimeVersion": TENSORFLOW_SERVING_VERSION,
        "command": list(START_COMMAND),
        "args": [],  # components of the manifests add to them
        "terminationMessagePolicy": "FallbackToLogsOnError",  # so that KServe's status says why it does not start
        "lifecycle": _leaving(),
        "env": [
            {"name": "CUDA_CACHE_PATH", "value": "/tmp/cuda"},  # noqa: S108 a path inside the container
            _annotation(DIGEST_VARIABLE, _DIGEST),
        ],
        "resources": {
            "requests": {"cpu": "2", "memory": "4Gi", "nvidia.com/gpu": "1"},
            "limits": {"cpu": "4", "memory": "8Gi", "nvidia.com/gpu": "1"},
        },
        "readinessProbe": {"httpGet": _path(f"/v1/models/{name}"), "periodSeconds": 5, "timeoutSeconds": 2},
        "livenessProbe": {"tcpSocket": {"port": _HTTP_PORT}, "initialDelaySeconds": 60, "periodSeconds": 10},
        "securityContext": _copied(_CONTAINER_SECURITY),
        "volumeMounts": [_mount("temporary", "/tmp")],  # noqa: S108 a path inside the container
    }


def transformer_options(card: ModelCard) -> list[str]:
    """Returns what a transformer has to be told of a model; nothing of one that sees segmented slices in grey."""
    options = [] if card.channels == 1 else ["--channels", str(card.channels), "--image_size", str(card.image_size)]
    return options if card.segmented else [*options, "--no-segmented"]


def _transformer(expects: Sequence[str]) -> dict[str, Any]:
    """Returns the transformer with its folder of drift events."""
    return {
        "minReplicas": 1,
        "terminationGracePeriodSeconds": _GRACE_S,
        "automountServiceAccountToken": False,
        "securityContext": _copied(_POD_SECURITY),
        "containers": [_transformer_container(expects)],
        "volumes": [
            _temporary("256Mi"),
            {"name": "events", "persistentVolumeClaim": {"claimName": "taxonflow-events"}},
        ],
    }


def _transformer_container(expects: Sequence[str]) -> dict[str, Any]:
    """Returns our server's container; KServe adds `--model_name` and `--predictor_host`."""
    return {
        "name": "kserve-container",
        "image": SERVING_IMAGE,
        "command": ["python", "-m", "serving.transformer"],
        "args": ["--events", _EVENTS, "--workers", "1", *expects],
        "env": [_annotation("TAXONFLOW_MODEL_VERSION", VERSION_ANNOTATION)],
        "lifecycle": _leaving(),
        "ports": [{"containerPort": _HTTP_PORT, "protocol": "TCP"}],
        "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "2Gi"}},
        "readinessProbe": {"httpGet": _path("/readyz"), "periodSeconds": 5, "timeoutSeconds": 2},
        "livenessProbe": {"httpGet": _path("/healthz"), "initialDelaySeconds": 20, "timeoutSeconds": 2},
        "securityContext": _copied(_CONTAINER_SECURITY),
        "volumeMounts": [_mount("temporary", "/tmp"), _mount("events", _EVENTS)],  # noqa: S108 a path inside the container
    }


def _leaving() -> dict[str, Any]:
    """Returns a pause before SIGTERM, in which the routes forget a pod that still answers."""
    return {"preStop": {"sleep": {"seconds": _PAUSE_S}}}


def _path(path: str) -> dict[str, Any]:
    return {"path": path, "port": _HTTP_PORT}


def _annotation(variable: str, annotation: str) -> dict[str, Any]:
    """Returns a variable that holds an annotation of the pod, "" where there is none."""
    return {"name": variable, "valueFrom": {"fieldRef": {"fieldPath": f"metadata.annotations['{annotation}']"}}}


def _mount(name: str, path: str) -> dict[str, str]:
    return {"name": name, "mountPath": path}


def _temporary(limit: str) -> dict[str, Any]:
    return {"name": "temporary", "emptyDir": {"sizeLimit": limit}}


def _copied(security: dict[str, Any]) -> dict[str, Any]:
    """Returns a deep copy, so that YAML writes the document without anchors."""
    return {key: _copied(value) if isinstance(value, dict) else value for key, value in security.items()}


if __name__ == "__main__":
    sys.stdout.write(as_yaml(inference_service(DEFAULT_NAME)))
