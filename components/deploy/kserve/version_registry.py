"""Version registry: a ConfigMap beside the InferenceService that maps each version number to an artifact.

A number is never reused, and its URI and files never change. Annotations of the InferenceService cannot contain the
registry: KServe copies them to the pod templates, so each new entry would restart all pods.
"""

from itertools import accumulate
from typing import Any

from pydantic import ValidationError

from components.deploy.kserve.client import Cluster
from components.deploy.kserve.inference_service import ModelVersion, requested_model
from components.deploy.version_copies import copy_uri
from components.shared.config import Frozen, abbreviate
from components.shared.errors import DeployError

_MAX_VERSIONS = 1000
_MAX_BYTES = 900_000
_LABELS = {"app.kubernetes.io/part-of": "taxonflow", "app.kubernetes.io/component": "version-registry"}


class RegistryEntry(Frozen):
    """Artifact of a version number.

    Attributes:
        uri: URI of the artifact.
        digest: Digest of its files.
        model_id: Id of the model; "" for a model without one.
        species: Species of the model; () in entries of release 0.1.0.
        served_uri: URI of the copy that is served; "" if the artifact is served in place.
    """

    uri: str
    digest: str
    model_id: str = ""
    species: tuple[str, ...] = ()
    served_uri: str = ""


def registry_name(name: str) -> str:
    """Return the name of an InferenceService's registry."""
    return f"{name}-versions"


def register(cluster: Cluster, name: str, artifact: RegistryEntry) -> ModelVersion:
    """Return the version of an artifact; register a new artifact under the next number.

    Args:
        cluster: Cluster of the InferenceService.
        name: Name of the InferenceService.
        artifact: Artifact to serve.

    Raises:
        ConflictError: Another artifact was registered at the same time.
        DeployError: The URI was registered with other files, or the registry has an invalid entry.
    """
    registry = cluster.config_map(registry_name(name))
    entries = _read_entries(registry)
    for number, entry in entries.items():
        if entry.uri == artifact.uri:
            _check_digest(number, entry, artifact.digest)
            return _model_version(number, artifact.model_copy(update={"served_uri": entry.served_uri}))
    current = _unregistered_model(cluster.service(name), artifact.uri)
    number = current or _next_number(cluster.service(name), entries)
    copy = artifact.uri if current else copy_uri(artifact.uri, cluster.namespace, name, number)
    artifact = artifact.model_copy(update={"served_uri": copy if copy != artifact.uri else ""})
    text = artifact.model_dump_json(exclude_defaults=True)
    if registry is None:
        cluster.create_config_map(_new_registry(name, {str(number): text}))
    else:
        data = {str(number): text, **_evictions(registry["data"], len(text))}
        cluster.patch_config_map(registry_name(name), {"data": data}, registry["metadata"]["resourceVersion"])
    return _model_version(number, artifact)


def _model_version(number: int, artifact: RegistryEntry) -> ModelVersion:
    return ModelVersion(number, artifact.served_uri or artifact.uri, artifact.digest, artifact.model_id)


def registered_species(cluster: Cluster, name: str) -> dict[int, tuple[str, ...]]:
    """Return the species of the registered versions by number; () where they are not known.

    Raises:
        DeployError: The registry has an invalid entry.
    """
    entries = _read_entries(cluster.config_map(registry_name(name)))
    return {number: entry.species for number, entry in entries.items()}


def _read_entries(registry: dict[str, Any] | None) -> dict[int, RegistryEntry]:
    data: dict[str, str] = (registry or {}).get("data") or {}
    return {int(number): _read_entry(number, text) for number, text in data.items() if number.isdecimal()}


def _read_entry(number: str, text: str) -> RegistryEntry:
    try:
        return RegistryEntry.model_validate_json(text)
    except ValidationError as error:
        raise DeployError(
            f"the registry's entry of version {number} is {abbreviate(text)}",
            '{"uri": "...", "digest": "..."}',
            "Correct or remove the entry in the ConfigMap.",
        ) from error


def _check_digest(number: int, entry: RegistryEntry, digest: str) -> None:
    if entry.digest != digest:
        raise DeployError(
            f"{entry.uri} is version {number} with the digest {entry.digest[:12]}, but its files have {digest[:12]}",
            "files that do not change",
            "Deploy the artifact of a new run.",
        )


def _unregistered_model(service: dict[str, Any] | None, uri: str) -> int:
    """Return the number of an unregistered artifact that a service of an older release serves in place, or 0."""
    current = None if service is None else requested_model(service)
    return current.version if current is not None and current.uri == uri else 0


def _next_number(service: dict[str, Any] | None, entries: dict[int, RegistryEntry]) -> int:
    """Return the next version number; services of older releases have versions but no registry."""
    current = None if service is None else requested_model(service)
    return max([*entries, current.version if current else 0], default=0) + 1


def _evictions(data: dict[str, str], size: int) -> dict[str, None]:
    """Return a patch that removes the oldest entries, so that a new one fits into the ConfigMap's limit of 1 MiB.

    Args:
        data: Entries of the registry by number.
        size: Number of characters of the new entry.
    """
    numbers = sorted((number for number in data if number.isdecimal()), key=int, reverse=True)
    sizes = accumulate((len(data[number].encode()) for number in numbers), initial=size)
    next(sizes)
    newest = [number for number, total in zip(numbers, sizes, strict=True) if total <= _MAX_BYTES][: _MAX_VERSIONS - 1]
    return {number: None for number in numbers if number not in newest}


def _new_registry(name: str, data: dict[str, str]) -> dict[str, Any]:
    metadata = {"name": registry_name(name), "labels": _LABELS}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
