"""Monitors of the Prometheus operator: whether a Prometheus selects those that were applied."""

from components.doctor.checks.artifact_store import selects
from components.doctor.checks.namespaces import labels_of
from components.doctor.cluster import Document, NotAllowedError
from components.doctor.examination import Examination
from components.doctor.findings import Answer, met, not_allowed, not_met

_API = "/apis/monitoring.coreos.com/v1"
_SELECTORS = {
    "servicemonitors": "serviceMonitor",
    "podmonitors": "podMonitor",
    "prometheusrules": "rule",
}
_OURS = "taxonflow"


def monitors(examination: Examination) -> Answer:
    """Check that a Prometheus selects each monitor and rule that an overlay has applied."""
    namespace = examination.endpoint_namespace
    look = "kubectl get prometheuses -A -o yaml | grep -A 4 Selector"
    try:
        places = [(kind, document) for kind in _SELECTORS for document in _applied_monitors(examination, kind)]
        if not places:
            return met("no monitor was applied")
        servers = examination.cluster.items(f"{_API}/prometheuses") or []
        labels = {**labels_of(examination, namespace), "kubernetes.io/metadata.name": namespace}
    except NotAllowedError as error:
        return not_allowed(f"the monitors or the Prometheus objects cannot be read: {error}", look)
    for kind, document in places:
        if not any(_is_selected(server, kind, document, namespace, labels) for server in servers):
            name = document["metadata"]["name"]
            wishes = _wishes(servers, kind)
            return not_met(
                f"{len(servers)} Prometheus objects, and none selects {kind}/{name}",
                f"kubectl label {kind} -n {namespace} -l app.kubernetes.io/part-of={_OURS} {wishes}",
            )
    return met(f"{len(places)} monitors and rules are selected")


def _applied_monitors(examination: Examination, kind: str) -> list[Document]:
    documents = examination.cluster.items(f"{_API}/namespaces/{examination.endpoint_namespace}/{kind}") or []
    return [item for item in documents if item["metadata"]["name"].startswith(_OURS)]


def _is_selected(server: Document, kind: str, document: Document, namespace: str, labels: dict[str, str]) -> bool:
    specification, prefix = server.get("spec") or {}, _SELECTORS[kind]
    selector = specification.get(f"{prefix}Selector")
    namespaces = specification.get(f"{prefix}NamespaceSelector")
    is_near = server["metadata"].get("namespace") == namespace if namespaces is None else selects(namespaces, labels)
    return selector is not None and is_near and selects(selector, document["metadata"].get("labels") or {})


def _wishes(servers: list[Document], kind: str) -> str:
    """Return the labels that a Prometheus selects, or an example."""
    for server in servers:
        selector = (server.get("spec") or {}).get(f"{_SELECTORS[kind]}Selector") or {}
        labels = selector.get("matchLabels") or {}
        if labels:
            return " ".join(f"{key}={value}" for key, value in labels.items())
    return "release=<name of the installation>"
