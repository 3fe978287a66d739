"""The store of the run's artifacts: its address, whether it answers, and who may reach it."""

import contextlib
import socket
from urllib.parse import urlsplit

import yaml

from components.doctor.checks.namespaces import labels_of
from components.doctor.cluster import Document, NotAllowedError
from components.doctor.examination import KUBEFLOW_NAMESPACE, Examination
from components.doctor.findings import Answer, met, not_allowed, not_met

SERVICES = ("seaweedfs", "minio-service")
"""Names of the store's Service in Kubeflow Pipelines 2.16 and newer, and in older versions."""
_APPS = ("seaweedfs", "minio")
"""Values of the label `app` of the store's pods."""
_MAX_CHARACTERS = 64 * 2**10
_PORT = 9000
_PROFILE_LABEL = "app.kubernetes.io/part-of=kubeflow-profile"
_CONNECT_TIMEOUT_S = 3.0


def pipeline_root(examination: Examination) -> str:
    """Return the address under which runs keep their artifacts, or that of Kubeflow's own store by default."""
    return str(_launcher_settings(examination).get("defaultPipelineRoot") or "minio://mlpipeline/v2/artifacts")


def uses_own_store(examination: Examination) -> bool:
    """Return whether the artifacts are in Kubeflow's own store."""
    if not pipeline_root(examination).startswith("minio://"):
        return False
    return f".{KUBEFLOW_NAMESPACE}" in (_store_endpoint(examination) or f".{KUBEFLOW_NAMESPACE}")


def store(examination: Examination) -> Answer:
    """Check that the artifact store has a Service with ready pods; in a run, that it accepts connections."""
    root = pipeline_root(examination)
    if examination.in_pod and root.startswith("minio://"):
        endpoint = _store_endpoint(examination)
        return _reached_store([endpoint] if endpoint else [f"{name}.{KUBEFLOW_NAMESPACE}:{_PORT}" for name in SERVICES])
    if not uses_own_store(examination):
        return met(f"{root}, outside of Kubeflow; the run's pods reach it with their own identity")
    look = (
        f"kubectl get endpointslices -n {KUBEFLOW_NAMESPACE} -l 'kubernetes.io/service-name in ({','.join(SERVICES)})'"
    )
    try:
        ready = {name: _ready_addresses(examination, name) for name in SERVICES}
    except NotAllowedError as error:
        return not_allowed(f"{root}; the store's Service cannot be read: {error}", look)
    name = next((name for name, count in ready.items() if count), None)
    if name:
        return met(f"{root} at {name}.{KUBEFLOW_NAMESPACE}:{_PORT}")
    return not_met(f"{root}: no Service {' or '.join(SERVICES)} in {KUBEFLOW_NAMESPACE} has a ready pod", look)


def store_access(examination: Examination) -> Answer:
    """Check that the store's NetworkPolicy lets in the pods of the run and of the endpoint."""
    names = list(dict.fromkeys(name for name in (examination.namespace, examination.endpoint_namespace) if name))
    look = f"kubectl get networkpolicies -n {KUBEFLOW_NAMESPACE} -o yaml"
    if not uses_own_store(examination):
        return met("the store is outside the cluster")
    try:
        policies = examination.cluster.items(
            f"/apis/networking.k8s.io/v1/namespaces/{KUBEFLOW_NAMESPACE}/networkpolicies"
        )
        labels = {name: {**labels_of(examination, name), "kubernetes.io/metadata.name": name} for name in names}
    except NotAllowedError as error:
        return not_allowed(f"the NetworkPolicies of {KUBEFLOW_NAMESPACE} cannot be read: {error}", look)
    guards = [policy for policy in policies or [] if _guards_store(policy)]
    for name in names:
        if guards and not any(_admits(policy, name, labels[name]) for policy in guards):
            policy = guards[0]["metadata"]["name"]
            return not_met(
                f"NetworkPolicy {policy} keeps the pods of {name} from the store",
                f"kubectl label namespace {name} {_PROFILE_LABEL}",
            )
    return met(f"{' and '.join(names)} may reach it" if guards else "no NetworkPolicy guards it")


def selects(selector: Document | None, labels: dict[str, str]) -> bool:
    """Return whether a label selector of the Kubernetes API selects labels; one without conditions selects all."""
    selector = selector or {}
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_holds(expression, labels) for expression in selector.get("matchExpressions") or [])


def _launcher_settings(examination: Examination) -> Document:
    """Return the settings of Kubeflow's launcher in the namespace of the run; empty where there are none."""
    with contextlib.suppress(NotAllowedError):
        path = f"/api/v1/namespaces/{examination.namespace}/configmaps/kfp-launcher"
        return (examination.cluster.read(path) or {}).get("data") or {}
    return {}


def _store_endpoint(examination: Examination) -> str:
    """Return the address that the launcher's settings give the store, "" for Kubeflow's own."""
    text = str(_launcher_settings(examination).get("providers") or "")
    if len(text) > _MAX_CHARACTERS:
        return ""
    with contextlib.suppress(yaml.YAMLError, AttributeError, RecursionError):
        return str(((yaml.safe_load(text) or {}).get("minio") or {}).get("default", {}).get("endpoint") or "")
    return ""


def _holds(expression: Document, labels: dict[str, str]) -> bool:
    key, values = expression.get("key", ""), expression.get("values") or []
    return {
        "In": key in labels and labels[key] in values,
        "NotIn": labels.get(key) not in values,
        "Exists": key in labels,
        "DoesNotExist": key not in labels,
    }.get(str(expression.get("operator")), False)


def _guards_store(policy: Document) -> bool:
    specification = policy.get("spec") or {}
    pods = [dict.fromkeys(("app", "app.kubernetes.io/name"), name) for name in _APPS]
    is_selected = any(selects(specification.get("podSelector"), labels) for labels in pods)
    return is_selected and "Ingress" in (specification.get("policyTypes") or ["Ingress"])


def _admits(policy: Document, name: str, labels: dict[str, str]) -> bool:
    for rule in (policy.get("spec") or {}).get("ingress") or []:
        sources = rule.get("from")
        if not sources:
            return True
        for source in sources:
            if "namespaceSelector" in source and selects(source["namespaceSelector"], labels):
                return True
            if "ipBlock" in source:
                return True
            if source.keys() == {"podSelector"} and not source["podSelector"] and name == KUBEFLOW_NAMESPACE:
                return True
    return False


def _ready_addresses(examination: Examination, service: str) -> int:
    slices = examination.cluster.items(
        f"/apis/discovery.k8s.io/v1/namespaces/{KUBEFLOW_NAMESPACE}/endpointslices",
        labelSelector=f"kubernetes.io/service-name={service}",
    )
    endpoints = [endpoint for item in slices or [] for endpoint in item.get("endpoints") or []]
    return sum(1 for endpoint in endpoints if (endpoint.get("conditions") or {}).get("ready") is not False)


def _reached_store(endpoints: list[str]) -> Answer:
    """Return the answer for the first address that accepts a connection.

    Args:
        endpoints: Addresses as `<host>:<port>`.
    """
    reasons = []
    for endpoint in endpoints:
        try:
            url = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}")
            port = url.port or {"https": 443, "http": 80}.get(url.scheme, _PORT)
            socket.create_connection((url.hostname or "", port), _CONNECT_TIMEOUT_S).close()
        except (OSError, ValueError) as error:
            reasons.append(f"{endpoint}: {getattr(error, 'strerror', None) or error}")
            continue
        return met(f"{endpoint} accepts connections")
    return not_met("; ".join(reasons), f"kubectl get pods,services,networkpolicies -n {KUBEFLOW_NAMESPACE}")
