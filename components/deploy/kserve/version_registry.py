"""The registry of versions: a ConfigMap beside the InferenceService that says what each version number stands for.

Numbers are never given twice and a number's address and bytes never change. An annotation of the InferenceService would
not do: KServe copies those into its pods' templates, so that each entry would restart them all.
"""

from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from components.deploy.kserve.client import Cluster
from components.deploy.kserve.inference_service import ServedModel, served_model
from components.shared.config import Frozen, abbreviate
from components.shared.errors import DeployError

_MOST_VERSIONS = 1000
_LABELS = {"app.kubernetes.io/part-of": "taxonflow", "app.kubernetes.io/component": "version-registry"}


class Entry(Frozen):
    """What a version number stands for: an artifact's address, and the digest of its files."""

    uri: str
    digest: str


def registry_name(name: str) -> str:
    """Returns the ConfigMap's name for an InferenceService."""
    return f"{name}-versions"


def register(cluster: Cluster, name: str, uri: str, digest: str) -> ServedModel:
    """Gives an artifact the next version number, or the one that it has.

    Args:
        cluster: where the InferenceService is.
        name: of the InferenceService.
        uri: the artifact's address.
        digest: of its files.

    Raises:
        ConflictError: somebody registered another one at the same time.
        DeployError: this address stood for other bytes before, or somebody wrote something else into the registry.
    """
    registry = cluster.config_map(registry_name(name))
    versions = _versions(registry)
    for number, entry in versions.items():
        if entry.uri == uri:
            _check_digest(number, entry, digest)
            return ServedModel(number, uri, digest)
    model = replace(_next(cluster.service(name), versions, uri), digest=digest)
    text = Entry(uri=uri, digest=digest).model_dump_json()
    if registry is None:
        cluster.create_config_map(_empty(name, {str(model.version): text}))
    else:
        changes = {str(model.version): text, **_too_old(versions)}
        cluster.patch_config_map(registry_name(name), {"data": changes}, registry["metadata"]["resourceVersion"])
    return model


def _versions(registry: dict[str, Any] | None) -> dict[int, Entry]:
    data: dict[str, str] = (registry or {}).get("data") or {}
    return {int(number): _entry(number, text) for number, text in data.items() if number.isdecimal()}


def _entry(number: str, text: str) -> Entry:
    try:
        return Entry.model_validate_json(text)
    except ValidationError as error:
        raise DeployError(
            f"the registry's entry of version {number} is {abbreviate(text)}",
            '{"uri": "...", "digest": "..."}',
            "Mend the ConfigMap, or remove the entry.",
        ) from error


def _check_digest(number: int, entry: Entry, digest: str) -> None:
    if entry.digest != digest:
        raise DeployError(
            f"{entry.uri} is version {number} with the digest {entry.digest[:12]} and holds {digest[:12]} now",
            "an address whose files never change",
            "Deploy the artifact of a new run.",
        )


def _next(service: dict[str, Any] | None, versions: dict[int, Entry], uri: str) -> ServedModel:
    """Returns the version of an artifact that the registry does not know; older roll-outs had no registry."""
    served = None if service is None else served_model(service)
    if served is not None and served.uri == uri and served.version > 0:
        return served
    return ServedModel(max([*versions, served.version if served else 0], default=0) + 1, uri)


def _too_old(versions: dict[int, Entry]) -> dict[str, None]:
    """Names the entries to forget, so that the ConfigMap never outgrows its limit of 1 MiB."""
    return {str(number): None for number in sorted(versions)[: max(0, len(versions) + 1 - _MOST_VERSIONS)]}


def _empty(name: str, data: dict[str, str]) -> dict[str, Any]:
    metadata = {"name": registry_name(name), "labels": _LABELS}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
