"""The InferenceService of the deploy step with the patches of a build, and the pods that KServe makes of it."""

import copy
from typing import Any

import yaml

from components.deploy.kserve.endpoint_patches import apply_patches, patches_of
from components.deploy.kserve.inference_service import inference_service

Documents = list[dict[str, Any]]
PATCH_LABEL = "taxonflow.dev/endpoint-patch"
OWN_KEYS = {
    "annotations", "labels", "minReplicas", "maxReplicas", "model", "name", "containers", "scaleMetric", "scaleTarget",
}  # fmt: skip
MODEL_KEYS = {"modelFormat", "protocolVersion", "runtime", "runtimeVersion", "storageUri", "storage"}
RUNTIME_SECURITY = {
    "runAsUser": 1000,
    "allowPrivilegeEscalation": False,
    "privileged": False,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
}
"""Security context of the container in KServe's runtime `kserve-tensorflow-serving`."""


def patch_maps(documents: Documents) -> Documents:
    """Return the ConfigMaps of endpoint patches in the order in which they are applied."""
    maps = [each for each in documents if each["kind"] == "ConfigMap" and _labels(each).get(PATCH_LABEL) == "true"]
    return sorted(maps, key=lambda each: str(each["metadata"]["name"]))


def operations(documents: Documents) -> list[dict[str, Any]]:
    """Return the operations of all endpoint patches, in order."""
    texts = [
        text for each in patch_maps(documents) for key, text in sorted(each["data"].items()) if key[-5:] == ".yaml"
    ]
    return [operation for text in texts for operation in yaml.safe_load(text)]


def patched_service(documents: Documents) -> dict[str, Any]:
    """Return the InferenceService that the deploy step makes in the namespace of the documents."""
    name = "foraminifera"
    return apply_patches(inference_service(name), patches_of(patch_maps(documents), name))


def pods_of_service(service: dict[str, Any], initializer: dict[str, Any] | None = None) -> dict[str, dict[str, Any]]:
    """Return the specs of the pods that KServe makes: `predictor` and `transformer`.

    Args:
        service: InferenceService in Standard mode.
        initializer: Init container that downloads the model; None for a model that is mounted.
    """
    predictor, transformer = service["spec"]["predictor"], service["spec"]["transformer"]
    model = {key: value for key, value in predictor["model"].items() if key not in MODEL_KEYS}
    security = {**RUNTIME_SECURITY, **model.get("securityContext", {})}
    predictor_pod = {
        **_pod(predictor),
        "containers": [{**model, "name": "kserve-container", "securityContext": security}],
        "initContainers": [initializer] if initializer else [],
    }
    return {
        "predictor": predictor_pod,
        "transformer": {**_pod(transformer), "containers": copy.deepcopy(transformer["containers"])},
    }


def _pod(component: dict[str, Any]) -> dict[str, Any]:
    return {key: copy.deepcopy(value) for key, value in component.items() if key not in OWN_KEYS}


def _labels(document: dict[str, Any]) -> dict[str, str]:
    labels: dict[str, str] = document["metadata"].get("labels", {})
    return labels
