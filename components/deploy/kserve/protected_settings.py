"""Settings of an InferenceService that belong to the deploy step: no endpoint patch changes them.

They decide which model answers, whether its files are the verified ones, and what the pods may do on their node.
"""

import posixpath
from collections.abc import Iterator, Mapping
from typing import Any

from components.deploy.kserve.start_command import DIGEST_VARIABLE

OWN_PREFIX = "taxonflow.dev/"
"""Prefix of the annotations that the deploy step sets."""
_COMPONENTS = ("predictor", "transformer")
_POD_SETTINGS = (
    "automountServiceAccountToken",
    "canaryTrafficPercent",
    "hostIPC",
    "hostNetwork",
    "hostPID",
    "hostUsers",
    "securityContext",
    "shareProcessNamespace",
)
_MODEL_SETTINGS = ("command", "name", "securityContext", "storage", "storageUri")
_VARIABLES = (DIGEST_VARIABLE, "TAXONFLOW_MODEL_VERSION", "TAXONFLOW_MODEL_VERSIONS")
_RESERVED_OPTIONS = {
    "predictor": ("model_base_path", "model_config_file", "model_name", "port", "rest_api_port"),
    "transformer": (
        "canary_host",
        "canary_percent",
        "canary_version",
        "channels",
        "http_port",
        "image_size",
        "model_name",
        "model_version",
        "model_versions",
        "no-segmented",
        "predictor_host",
        "segmented",
    ),
}
_MODEL_FOLDER = "/mnt/models"


def changed_setting(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Return the path of a protected setting that differs between two InferenceServices, "" if there is none."""
    old, new = _protected(before), _protected(after)
    return next((path for path in sorted(old.keys() | new.keys()) if old.get(path) != new.get(path)), "")


def missing_part(service: Mapping[str, Any]) -> str:
    """Return the path of a required part that is missing or of another type, "" if there is none."""
    spec = _mapping(service, "spec")
    parts = {
        "/metadata/annotations": _is_texts_by_name(_mapping(service, "metadata").get("annotations")),
        "/metadata/labels": _is_texts_by_name(_mapping(service, "metadata").get("labels")),
        "/spec/predictor/model": isinstance(_mapping(spec, "predictor").get("model"), dict),
        "/spec/predictor/model/args": _is_list_of_texts(_mapping(spec, "predictor", "model").get("args")),
        "/spec/transformer/containers/0": len(_containers(spec))
        == len(_list(_mapping(spec, "transformer"), "containers"))
        == 1,
        "/spec/transformer/containers/0/args": all(_is_list_of_texts(c.get("args")) for c in _containers(spec)),
    }
    parts |= {
        f"/spec/{component}/{kind}": _is_texts_by_name(_mapping(spec, component).get(kind, {}))
        for component in _COMPONENTS
        for kind in ("annotations", "labels")
    }
    return next((path for path, is_present in parts.items() if not is_present), "")


def reserved_option(service: Mapping[str, Any]) -> str:
    """Return an option or a mount that would change which model answers, "" if there is none.

    Args:
        service: InferenceService without missing parts, before the deploy step has added options.
    """
    spec = service["spec"]
    sections = {"predictor": spec["predictor"]["model"], "transformer": spec["transformer"]["containers"][0]}
    for component, section in sections.items():
        for argument in section["args"]:
            option = argument.partition("=")[0]
            if option.startswith("-") and _is_reserved(option.lstrip("-"), component):
                return f"the option {option} of the {component}"
    for mount in _list(sections["predictor"], "volumeMounts"):
        mount_path = str(mount.get("mountPath")) if isinstance(mount, dict) else ""
        path = posixpath.normpath(f"/{mount_path.lstrip('/')}")
        if f"{path}/".startswith(f"{_MODEL_FOLDER}/") or f"{_MODEL_FOLDER}/".startswith(path.rstrip("/") + "/"):
            return f"the mount {path} over {_MODEL_FOLDER}"
    return ""


def _is_reserved(option: str, component: str) -> bool:
    """Return whether an option, which may be abbreviated, is one of the deploy step's."""
    return any(name.startswith(option) for name in _RESERVED_OPTIONS[component])


def _protected(service: Mapping[str, Any]) -> dict[str, Any]:
    """Return the protected settings by their path; parts of another type count as empty."""
    settings: dict[str, Any] = dict(_own_annotations("/metadata", _mapping(service, "metadata")))
    spec = _mapping(service, "spec")
    for component in _COMPONENTS:
        pod, path = _mapping(spec, component), f"/spec/{component}"
        settings |= _own_annotations(path, pod)
        settings |= {f"{path}/{name}": pod[name] for name in _POD_SETTINGS if name in pod}
        for kind in ("containers", "initContainers", "ephemeralContainers"):
            for number, container in enumerate(_list(pod, kind)):
                place = f"{path}/{kind}/{number}"
                settings[place] = True  # a further container would have a security context of its own
                settings |= _container_settings(place, container, ("command", "securityContext"))
    model = _mapping(spec, "predictor", "model")
    return settings | _container_settings("/spec/predictor/model", model, _MODEL_SETTINGS)


def _container_settings(path: str, container: Any, names: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(container, dict):
        return {}
    settings = {f"{path}/{name}": container[name] for name in names if name in container}
    variables = [
        entry for entry in _list(container, "env") if isinstance(entry, dict) and entry.get("name") in _VARIABLES
    ]
    return {**settings, f"{path}/env": variables}


def _own_annotations(path: str, section: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in _mapping(section, "annotations").items():
        if name.startswith(OWN_PREFIX):
            yield f"{path}/annotations/{name}", value


def _containers(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [entry for entry in _list(_mapping(spec, "transformer"), "containers") if isinstance(entry, dict)]


def _mapping(document: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    value: Any = document
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, dict) else {}


def _list(document: Mapping[str, Any], key: str) -> list[Any]:
    value = document.get(key)
    return value if isinstance(value, list) else []


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_texts_by_name(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())
