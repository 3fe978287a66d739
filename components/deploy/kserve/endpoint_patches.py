"""Endpoint patches: what a cluster adds to the InferenceService that the deploy step creates.

A patch is a ConfigMap with the label `taxonflow.dev/endpoint-patch: "true"` in the namespace of the endpoint. Each of
its keys `*.yaml` holds a list of operations of JSON Patch (RFC 6902) on the InferenceService, for example

    - op: add
      path: /spec/predictor/nodeSelector
      value: {nvidia.com/gpu.present: "true"}

The annotation `taxonflow.dev/endpoint` restricts a ConfigMap to one InferenceService. Patches are applied in the order
of their ConfigMaps' names, then of their keys. They change neither the model, its digest and its id, nor what the pods
may do: those belong to the deploy step.
"""

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jsonpatch
import yaml

from components.deploy.kserve.inference_service import inference_service
from components.deploy.kserve.protected_settings import changed_setting, missing_part, reserved_option
from components.shared.config import abbreviate
from components.shared.errors import BadConfigError

PATCH_SELECTOR = "taxonflow.dev/endpoint-patch=true"
_ENDPOINT_ANNOTATION = "taxonflow.dev/endpoint"
_SUFFIX = ".yaml"
_ROOTS = ("/spec/predictor/", "/spec/transformer/", "/metadata/annotations/", "/metadata/labels/")
_OPERATIONS = {
    "add": ("path", "value"),
    "replace": ("path", "value"),
    "test": ("path", "value"),
    "remove": ("path",),
    "move": ("path", "from"),
    "copy": ("path", "from"),
}
_MAX_CHARACTERS = 64 * 2**10
_MAX_OPERATIONS = 200
_MAX_DEPTH = 32
_Operation = dict[str, Any]


@dataclass(frozen=True)
class EndpointPatch:
    """Operations of one key of a ConfigMap.

    Attributes:
        source: ConfigMap and key, for messages.
        operations: Operations in the form of RFC 6902.
    """

    source: str
    operations: tuple[_Operation, ...]


def patches_of(config_maps: Sequence[Mapping[str, Any]], service: str) -> list[EndpointPatch]:
    """Return the patches of ConfigMaps for an InferenceService in the order in which they are applied, all checked.

    Args:
        config_maps: ConfigMaps with the label of endpoint patches.
        service: Name of the InferenceService.

    Raises:
        BadConfigError: A key is not the YAML of a list of operations, or an operation does not apply to the
            InferenceService or changes what belongs to the deploy step.
    """
    patches: list[EndpointPatch] = []
    for config_map in sorted(config_maps, key=_name):
        endpoint = (config_map["metadata"].get("annotations") or {}).get(_ENDPOINT_ANNOTATION, service)
        if endpoint == service:
            keys = {**(config_map.get("binaryData") or {}), **(config_map.get("data") or {})}
            patches.extend(_read(_name(config_map), key, keys[key]) for key in sorted(keys))
    apply_patches(inference_service(service), patches)
    return patches


def apply_patches(service: Mapping[str, Any], patches: Sequence[EndpointPatch]) -> dict[str, Any]:
    """Return a copy of an InferenceService with patches.

    Raises:
        BadConfigError: An operation does not apply, or changes what belongs to the deploy step.
    """
    result: dict[str, Any] = copy.deepcopy(dict(service))
    for patch in patches:
        for number, operation in enumerate(patch.operations, 1):
            result = _apply(result, operation, _describe(patch.source, number, operation))
        if part := missing_part(result):
            raise BadConfigError(
                f"{patch.source}: {part} is missing or of another type afterwards", remedy="Correct it."
            )
        if option := reserved_option(result):
            raise BadConfigError(f"{patch.source}: {option} belongs to the deploy step", remedy="Remove it.")
    return result


def _apply(service: dict[str, Any], operation: _Operation, source: str) -> dict[str, Any]:
    try:
        result: dict[str, Any] = jsonpatch.apply_patch(service, [operation])
    except jsonpatch.JsonPatchTestFailed as error:
        raise BadConfigError(
            f"{source}: the test fails", f"the value {abbreviate(operation['value'])}", "Correct the patch."
        ) from error
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, LookupError, TypeError, ValueError) as error:
        reason = abbreviate(" ".join(str(error).split()))
        raise BadConfigError(
            f"{source} does not apply ({reason})", "a path that exists in the InferenceService", "Correct the patch."
        ) from error
    if setting := changed_setting(service, result):
        raise BadConfigError(f"{source} changes {setting}, which belongs to the deploy step", remedy="Remove it.")
    return result


def _read(config_map: str, key: str, text: str) -> EndpointPatch:
    """Return the patch in a key of a ConfigMap."""
    source = f"ConfigMap {config_map}, key {key}"
    if not key.endswith(_SUFFIX):
        raise BadConfigError(source, f"a key that ends in {_SUFFIX}", "Rename the key.")
    operations = _read_yaml(text, source)
    if not isinstance(operations, list) or len(operations) > _MAX_OPERATIONS:
        raise BadConfigError(
            f"{source} holds {abbreviate(operations)}",
            f"a list of at most {_MAX_OPERATIONS} operations of JSON Patch (RFC 6902)",
            "Correct the patch.",
        )
    for number, operation in enumerate(operations, 1):
        _check_operation(operation, _describe(source, number, operation))
    return EndpointPatch(source, tuple(operations))


def _read_yaml(text: str, source: str) -> Any:
    """Return the content of YAML that has a JSON form, without aliases, which could be expanded without limit."""
    if len(text) > _MAX_CHARACTERS:
        raise BadConfigError(f"{source} has {len(text)} characters", f"at most {_MAX_CHARACTERS}", "Divide the patch.")
    try:
        _check_events(text, source)
        content = yaml.safe_load(text)
        if content != json.loads(json.dumps(content, allow_nan=False)):
            raise ValueError("a key is not text")
    except (yaml.YAMLError, ValueError, TypeError, RecursionError, OverflowError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BadConfigError(
            f"{source} is not YAML with values of JSON ({reason})", "a list of operations", "Correct the patch."
        ) from error
    return content


def _check_events(text: str, source: str) -> None:
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH or isinstance(event, yaml.AliasEvent):
            raise BadConfigError(
                f"{source} has an alias or is nested deeply",
                f"at most {_MAX_DEPTH} levels and no alias",
                "Correct the patch.",
            )


def _check_operation(operation: Any, source: str) -> None:
    name = operation.get("op") if isinstance(operation, dict) else None
    fields = _OPERATIONS.get(name) if isinstance(name, str) else None
    if fields is None or not {"op", *fields} <= operation.keys():
        raise BadConfigError(
            f"{source} is {abbreviate(operation)}",
            f"an operation of JSON Patch (RFC 6902) with op ({', '.join(_OPERATIONS)}), path, and value or from",
            "Correct the patch.",
        )
    for field in {"path", "from"} & set(fields):
        path = operation[field]
        if not isinstance(path, str) or not f"{path}/".startswith(_ROOTS):
            raise BadConfigError(
                f"{source} has the {field} {abbreviate(path)}",
                f"a path below {', '.join(root.rstrip('/') for root in _ROOTS)}",
                "Correct the patch.",
            )


def _describe(source: str, number: int, operation: Any) -> str:
    """Return the place of an operation and the operation itself, for messages."""
    if not isinstance(operation, dict) or not {"op", "path"} <= operation.keys():
        return f"{source}: operation {number}"
    return f"{source}: operation {number} ({abbreviate(operation['op'])} {abbreviate(operation['path'])})"


def _name(config_map: Mapping[str, Any]) -> str:
    return str(config_map["metadata"]["name"])
