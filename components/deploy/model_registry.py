"""Kubeflow Model Registry: each served version with its scores, digest, model id, address and outcome.

A version is registered once, as a version of a model that is named after the endpoint; later outcomes update it. The
registry describes a deployment and decides nothing about it, so a registry that does not answer is only mentioned in
the report. Its client is an optional dependency (`pip install taxonflow[registry]`), which only this module imports.
"""

import asyncio
import math
import time
import warnings
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

from components.deploy.verified_model import VerifiedModel
from components.shared.container_images import TENSORFLOW_SERVING_VERSION
from components.shared.contracts import ModelCard
from components.shared.errors import BadConfigError

Outcome = Literal["canary", "served", "rolled_back"]
REPLACED = "replaced"
"""Outcome of a version that was served before another one."""
TIMEOUT_S = 30.0
_DEFAULT_PORTS = {"http": 8080, "https": 443}
_AUTHOR = "taxonflow"
_FORMAT = ("tensorflow", "2")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class ServedVersion:
    """A version of an endpoint's model and what became of it.

    Attributes:
        endpoint: Name of the endpoint, in a cluster `namespace/service`.
        version: Number of the version.
        uri: URI of the files that are served.
        address: Predict URL; "" while it is unknown.
        outcome: Result of the deployment so far.
    """

    endpoint: str
    version: int
    uri: str
    address: str
    outcome: Outcome


class _Deadline:
    """Runner of coroutines that share one time limit."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def run(self, coroutine: Coroutine[Any, Any, _Result]) -> _Result:
        """Return the result of a coroutine; raise TimeoutError at the end of the time limit."""
        return asyncio.run(_limited(coroutine, max(0.0, self._end - time.monotonic())))


async def _limited(coroutine: Coroutine[Any, Any, _Result], seconds: float) -> _Result:
    return await asyncio.wait_for(coroutine, seconds)


def registry_address(text: str) -> str:
    """Return the address of a Model Registry with its port.

    Raises:
        BadConfigError: The text is not the address of a server, for example because it has a path or credentials.
    """
    with suppress(ValueError):  # unbalanced brackets, or a port that is not a number below 65536
        parts = urlsplit(text.strip())
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
        is_complete = port and parts.hostname and parts.username is None
        if is_complete and parts.path in ("", "/") and not parts.query and not parts.fragment:
            host = f"[{parts.hostname}]" if ":" in str(parts.hostname) else parts.hostname
            return f"{parts.scheme}://{host}:{port}"
    raise BadConfigError(
        "the address of the Model Registry",
        "http://host:port or https://host:port without a path and credentials",
        "Correct the parameter registry.",
    )


def record_version(registry: str, model: VerifiedModel, deployment: ServedVersion, timeout_s: float = TIMEOUT_S) -> str:
    """Register a version or update its outcome, and return a sentence for the report.

    Args:
        registry: Address of the Model Registry.
        model: Files and card of the version.
        deployment: Version, address and outcome.
        timeout_s: Longest time for all requests.

    Raises:
        BadConfigError: The address is invalid.
    """
    address = registry_address(registry)
    name = f"version {deployment.version} of {deployment.endpoint}"
    place = f"as {deployment.outcome.replace('_', ' ')} in the Model Registry {address}"
    try:
        _record(address, model, deployment, timeout_s)
    except ImportError:
        return f"{name} is not in the Model Registry, because its client is not installed (taxonflow[registry])"
    except Exception as error:  # of any class: a registry never stops a deployment
        return f"{name} is not recorded {place} ({_reason(error)})"
    return f"{name} is recorded {place}"


def _record(address: str, model: VerifiedModel, deployment: ServedVersion, timeout_s: float) -> None:
    from model_registry import ModelRegistry
    from model_registry.types import ModelVersionState

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a registry without authentication needs no token
        client = ModelRegistry(address, author=_AUTHOR, async_runner=_Deadline(timeout_s).run, log_level=40)
    properties = {**_card_properties(model.card), **_deployment_properties(model, deployment)}
    is_known = client.get_registered_model(deployment.endpoint)
    version = client.get_model_version(deployment.endpoint, str(deployment.version)) if is_known else None
    if version is None:
        client.register_model(
            deployment.endpoint,
            deployment.uri,
            version=str(deployment.version),
            version_description=_description(model.card),
            model_format_name=_FORMAT[0],
            model_format_version=_FORMAT[1],
            metadata=properties,
        )
        version = client.get_model_version(deployment.endpoint, str(deployment.version))
    state = ModelVersionState.ARCHIVED if deployment.outcome == "rolled_back" else ModelVersionState.LIVE
    if version is not None and (version.state != state or dict(version.custom_properties or {}) != properties):
        version.state, version.custom_properties = state, properties
        client.update(version)
    if deployment.outcome == "served":
        _mark_replaced(client, deployment)


def _mark_replaced(client: Any, deployment: ServedVersion) -> None:
    """Update other versions of the endpoint whose outcome is that they are served."""
    versions = [
        version
        for version in client.get_model_versions(deployment.endpoint)
        if version.name != str(deployment.version) and (version.custom_properties or {}).get("outcome") == "served"
    ]
    for version in versions:
        version.custom_properties = {**version.custom_properties, "outcome": REPLACED}
        client.update(version)


def _deployment_properties(model: VerifiedModel, deployment: ServedVersion) -> dict[str, str]:
    properties = {
        "outcome": deployment.outcome,
        "address": deployment.address,
        "uri": deployment.uri,
        "digest": model.digest,
        "model_id": model.card.model_id,
        "server": f"TensorFlow Serving {TENSORFLOW_SERVING_VERSION}",
    }
    return {name: value for name, value in properties.items() if value}


def _card_properties(card: ModelCard) -> dict[str, str | int | float]:
    """Return the figures of a model card under flat names, without those that are not numbers."""
    figures = {
        **{name: value for name, value in card.metrics.model_dump().items() if isinstance(value, int | float)},
        **card.metrics.numbers(),
        **card.thresholds,
        "gate_threshold": card.gate.threshold,
        "gate_accuracy": card.gate.accuracy,
    }
    return {
        **{name: value for name, value in figures.items() if math.isfinite(value)},
        "species": len(card.classes),
        "backbones": ", ".join(card.members),
        "rule": card.rule,
        "data_hash": card.data_hash,
        "code_version": card.code_version,
    }


def _description(card: ModelCard) -> str:
    low, high = card.metrics.accuracy_interval
    accuracy = f"accuracy {card.metrics.accuracy:.4f} (95 % interval {low:.3f} to {high:.3f})"
    folds = f", by {card.metrics.folds.count} folds" if card.metrics.folds else ""
    return f"{', '.join(card.members)}: {accuracy} on {len(card.classes)} species{folds}"


def _reason(error: Exception) -> str:
    """Return the reason of an error on one line; HTTP errors of the client are long and contain the headers."""
    status = getattr(error, "status", None)
    if isinstance(status, int):
        return f"status {status} {getattr(error, 'reason', '')}".strip()
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return " ".join(str(error).split())[:200] or type(error).__name__
