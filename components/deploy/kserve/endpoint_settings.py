"""Settings of an existing or new InferenceService: the deploy step's document with the cluster's endpoint patches.

An annotation holds a digest of both, so that a deployment changes the service only if one of them has changed. The
model, its versions, the canary and its share of the users are kept.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from components.deploy.kserve.endpoint_patches import EndpointPatch, apply_patches
from components.deploy.kserve.inference_service import MODE_ANNOTATION, inference_service
from components.deploy.kserve.protected_settings import OWN_PREFIX

SETTINGS_ANNOTATION = f"{OWN_PREFIX}endpoint-settings"
_PATCHED_METADATA_ANNOTATION = f"{OWN_PREFIX}endpoint-patched-metadata"
_STANDARD_MODES = ("Standard", "RawDeployment")
_OPTIONS_WITH_VALUE = ("--channels", "--image_size", "--canary_host", "--canary_percent", "--canary_version")
_OPTIONS_WITHOUT_VALUE = ("--no-segmented", "--segmented")


def patched_service(
    name: str, patches: Sequence[EndpointPatch], transformer_arguments: Iterable[str] = ()
) -> dict[str, Any]:
    """Return the InferenceService without a model, with patches and the digest of its settings.

    Args:
        name: Name of the InferenceService.
        patches: Patches of the cluster, in their order.
        transformer_arguments: Arguments of the transformer that depend on the model, from `transformer_options`.

    Raises:
        BadConfigError: A patch does not apply, or changes what belongs to the deploy step.
    """
    document = inference_service(name)
    service = apply_patches(document, patches)
    digest = hashlib.sha256(json.dumps(service, sort_keys=True).encode()).hexdigest()
    annotations = service["metadata"]["annotations"]
    new_keys = sorted(_metadata_keys(service) - _metadata_keys(document))
    annotations[SETTINGS_ANNOTATION] = digest
    annotations[_PATCHED_METADATA_ANNOTATION] = json.dumps(new_keys)
    service["spec"]["transformer"]["containers"][0]["args"].extend(transformer_arguments)
    return service


def with_settings(service: Mapping[str, Any], patches: Sequence[EndpointPatch]) -> dict[str, Any]:
    """Return the merge patch that brings an existing InferenceService to the current document with patches.

    The patch is empty if the service has these settings already, and in Knative mode, where any change of the
    predictor makes a revision.

    Args:
        service: InferenceService as read from the cluster, with or without a model.
        patches: Patches of the cluster, in their order.

    Raises:
        BadConfigError: A patch does not apply, or changes what belongs to the deploy step.
    """
    metadata, spec = service["metadata"], service["spec"]
    goal = patched_service(metadata["name"], patches, _kept_arguments(spec))
    current_annotations = metadata.get("annotations") or {}
    mode = (service.get("status") or {}).get("deploymentMode") or current_annotations.get(MODE_ANNOTATION)
    settings = goal["metadata"]["annotations"]
    if current_annotations.get(SETTINGS_ANNOTATION) == settings[SETTINGS_ANNOTATION]:
        return {}
    if mode not in (None, *_STANDARD_MODES):
        return {}
    settings[MODE_ANNOTATION] = mode or settings[MODE_ANNOTATION]  # KServe does not allow a change
    _keep_model(goal["spec"], spec)
    return {
        "metadata": {
            "annotations": {**_removed(metadata, goal, "annotations"), **settings},
            "labels": {**_removed(metadata, goal, "labels"), **goal["metadata"]["labels"]},
        },
        "spec": {component: merge_patch(spec[component], goal["spec"][component]) for component in goal["spec"]},
    }


def merge_patch(current: Mapping[str, Any], goal: Mapping[str, Any]) -> dict[str, Any]:
    """Return the merge patch (RFC 7396) that makes one object equal to another."""
    patch: dict[str, Any] = {key: None for key in current if key not in goal}
    for key, value in goal.items():
        if isinstance(value, dict) and isinstance(current.get(key), dict):
            if inner := merge_patch(current[key], value):
                patch[key] = inner
        elif key not in current or current[key] != value:
            patch[key] = value
    return patch


def _keep_model(goal: dict[str, Any], current: Mapping[str, Any]) -> None:
    """Give new settings the model, the versions and the canary's share of the current ones."""
    if "transformer" not in current:
        del goal["transformer"]
    for component, section in goal.items():
        own = {
            name: value
            for name, value in (current[component].get("annotations") or {}).items()
            if name.startswith(OWN_PREFIX)
        }
        if own:
            section["annotations"] = {**section.get("annotations", {}), **own}
    predictor = current["predictor"]
    goal["predictor"]["model"] |= {key: predictor["model"][key] for key in ("storageUri",) if key in _model(predictor)}


def _model(predictor: Mapping[str, Any]) -> Mapping[str, Any]:
    return predictor.get("model") or {}


def _kept_arguments(spec: Mapping[str, Any]) -> list[str]:
    """Return the transformer's arguments that depend on the model or the canary."""
    containers = (spec.get("transformer") or {}).get("containers") or [{}]
    arguments: list[str] = containers[0].get("args") or []
    options: list[str] = []
    for position, argument in enumerate(arguments):
        if argument in _OPTIONS_WITH_VALUE:
            options += arguments[position : position + 2]
        elif argument in _OPTIONS_WITHOUT_VALUE:
            options.append(argument)
    return options


def _metadata_keys(service: Mapping[str, Any]) -> set[str]:
    return {f"{kind}/{key}" for kind in ("annotations", "labels") for key in service["metadata"][kind]}


def _removed(metadata: Mapping[str, Any], goal: Mapping[str, Any], kind: str) -> dict[str, None]:
    """Return a merge patch that removes the annotations or labels of patches that do not exist any more."""
    try:
        patch_keys = json.loads((metadata.get("annotations") or {}).get(_PATCHED_METADATA_ANNOTATION, "[]"))
    except ValueError:
        patch_keys = []
    texts = [text for text in patch_keys if isinstance(text, str)] if isinstance(patch_keys, list) else []
    keys = [text.removeprefix(f"{kind}/") for text in texts if text.startswith(f"{kind}/")]
    return {key: None for key in keys if key not in goal["metadata"][kind]}
