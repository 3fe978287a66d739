"""List of the checks, in the order of their lines."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass

from components.doctor.checks import (
    artifact_store,
    capacity,
    claims,
    credentials,
    endpoint,
    images,
    kubeflow_pipelines,
    monitoring,
    namespaces,
    quotas,
    rights,
    versions,
)
from components.doctor.examination import Examination
from components.doctor.findings import Answer

Ask = Callable[[Examination], Answer]


@dataclass(frozen=True)
class Check:
    """A requirement and the function that checks it.

    Attributes:
        name: Name of the requirement, the first word of its line.
        ask: Function that asks the cluster.
        applies: Function that returns whether a run has the requirement.
        is_required: Whether a run fails where the requirement is not met.
    """

    name: str
    ask: Ask
    applies: Callable[[Examination], bool]
    is_required: bool = True


def meaning(check: Check) -> str:
    """Return what a check asks, for the documentation: the first sentence of its function."""
    sentence = " ".join((inspect.getdoc(check.ask) or "").split("\n\n")[0].split())
    return sentence.removeprefix("Check ").removeprefix("that ").removesuffix(".")


def always(_: Examination) -> bool:
    """Return True: each run has the requirement."""
    return True


def deploys(examination: Examination) -> bool:
    """Return whether the run deploys to an InferenceService."""
    return bool(examination.endpoint_namespace)


def is_outside(examination: Examination) -> bool:
    """Return whether the checks run outside a run; a run shows that its server works."""
    return not examination.in_pod


def has_host(examination: Examination) -> bool:
    """Return whether a Kubeflow Pipelines server is to be asked."""
    return bool(examination.server.host)


CHECKS = (
    Check("kubernetes", versions.kubernetes, always),
    Check("kserve", versions.kserve, deploys),
    Check("canary field", versions.canary_field, deploys, is_required=False),
    Check("serving runtime", versions.runtime, deploys),
    Check("kubeflow pipelines", kubeflow_pipelines.server, is_outside),
    Check("kubeflow version", kubeflow_pipelines.server_version, has_host, is_required=False),
    Check("token", kubeflow_pipelines.token, has_host),
    Check("profile", kubeflow_pipelines.profile, has_host),
    Check("namespace", namespaces.namespace, always),
    Check("account", rights.account, always),
    Check("rights", rights.rights, deploys),
    Check("pod security", namespaces.pod_security, deploys),
    Check("webhooks", namespaces.webhooks, deploys),
    Check("sidecars", namespaces.sidecars, deploys),
    Check("artifact secret", credentials.artifact_secret, always),
    Check("volumes secret", credentials.volumes_secret, always),
    Check("model reader", credentials.model_reader, deploys),
    Check("model secret", credentials.model_secret, deploys),
    Check("artifact store", artifact_store.store, always),
    Check("store access", artifact_store.store_access, always),
    Check("claims", claims.claims, always),
    Check("storage classes", claims.storage_classes, always),
    Check("shared claims", claims.shared_claims, deploys, is_required=False),
    Check("accelerators", capacity.accelerators, always),
    Check("nodes for tasks", capacity.nodes_of_tasks, always),
    Check("nodes for endpoint", capacity.nodes_of_endpoint, deploys),
    Check("quotas", quotas.quotas, always),
    Check("limit ranges", quotas.limit_ranges, always),
    Check("images", images.images, always),
    Check("endpoint", endpoint.endpoint, deploys),
    Check("leftovers", endpoint.leftovers, deploys, is_required=False),
    Check("endpoint patches", endpoint.endpoint_patches, deploys),
    Check("monitors", monitoring.monitors, deploys, is_required=False),
)
