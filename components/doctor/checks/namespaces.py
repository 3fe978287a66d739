"""The namespaces of the run and of the endpoint: their labels against the pods to come."""

from components.doctor.checks.endpoint import endpoint_document
from components.doctor.checks.pod_security import violations
from components.doctor.cluster import AbsentNamespaceError, Document, NotAllowedError
from components.doctor.examination import Examination, create_namespace
from components.doctor.findings import Answer, met, not_allowed, not_met

ENFORCE = "pod-security.kubernetes.io/enforce"
INJECT = "sidecar.istio.io/inject"
PATCH_INITIALIZER = (
    "kubectl patch clusterstoragecontainer default --type merge -p "
    """'{"spec": {"container": {"securityContext": {"allowPrivilegeEscalation": false, "runAsNonRoot": true, """
    """"capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}}}}}'"""
)
_STORAGE_CONTAINER = "/apis/serving.kserve.io/v1alpha1/clusterstoragecontainers/default"


def namespace(examination: Examination) -> Answer:
    """Check that the namespaces of the run and of the endpoint exist."""
    try:
        documents = {name: _namespace(examination, name) for name in _names(examination)}
    except NotAllowedError as error:
        names = " ".join(_names(examination))
        return not_allowed(f"{names} cannot be read: {error}", f"kubectl get namespace {names}")
    for name, document in documents.items():
        if document is None:
            return not_met(f"there is no namespace {name}", create_namespace(examination, name))
        if (document.get("metadata") or {}).get("deletionTimestamp"):
            return not_met(f"namespace {name} is being deleted", f"kubectl get namespace {name} --watch")
    return met(", ".join(documents))


def pod_security(examination: Examination) -> Answer:
    """Check that the level of Pod Security admits the endpoint's pods and the container that fetches the model.

    The pods of the tasks are admitted by each level: the compiled pipeline and Kubeflow set what `restricted` requires.
    """
    name = examination.endpoint_namespace
    try:
        level = labels_of(examination, name).get(ENFORCE, "privileged")
    except NotAllowedError as error:
        return _hidden_labels(name, error)
    text = f"{name} enforces {level}"
    specification = endpoint_document(examination)["spec"]
    for part in ("predictor", "transformer"):
        refusals = violations(_pod(specification[part]), level)
        if refusals:
            command = f"kubectl label namespace {name} {ENFORCE}=baseline --overwrite"
            return not_met(f"{text}, which refuses the {part}: {'; '.join(refusals)}", command)
    return _with_initializer(examination, text, level)


def webhooks(examination: Examination) -> Answer:
    """Check that KServe's webhook changes the endpoint's pods: it skips namespaces with the label control-plane."""
    name = examination.endpoint_namespace
    try:
        labels = labels_of(examination, name)
    except NotAllowedError as error:
        return _hidden_labels(name, error)
    if "control-plane" not in labels:
        return met(f"{name} has no label control-plane")
    return not_met(
        f"{name} has the label control-plane={labels['control-plane']}: KServe leaves its pods without a model",
        f"kubectl label namespace {name} control-plane-",
    )


def sidecars(examination: Examination) -> Answer:
    """Check that no Istio sidecar is added to the endpoint's pods: it would refuse the deploy step's requests."""
    name = examination.endpoint_namespace
    try:
        labels = labels_of(examination, name)
    except NotAllowedError as error:
        return _hidden_labels(name, error)
    if labels.get("istio-injection") != "enabled" and "istio.io/rev" not in labels:
        return met(f"{name} has no sidecar injection")
    specification = endpoint_document(examination)["spec"]
    parts = [part for part in ("predictor", "transformer") if _is_injected(specification[part])]
    if not parts:
        return met(f"{name} adds sidecars, but not to the endpoint's pods: their label {INJECT} is false")
    return not_met(
        f"{name} adds Istio sidecars to the {' and '.join(parts)}, which refuse the requests of the run's pods",
        f"kubectl label namespace {name} istio-injection-",
    )


def _hidden_labels(name: str, error: NotAllowedError) -> Answer:
    return not_allowed(f"the labels of {name} cannot be read: {error}", f"kubectl get namespace {name} --show-labels")


def _with_initializer(examination: Examination, text: str, level: str) -> Answer:
    """Return the answer for the container with which KServe fetches the model."""
    if level != "restricted":
        return met(text)
    try:
        document = examination.cluster.read(_STORAGE_CONTAINER)
    except NotAllowedError:
        sentence = f"{text}; whether KServe's storage initializer has a security context cannot be read"
        return not_allowed(sentence, "kubectl get clusterstoragecontainer default -o yaml")
    container = ((document or {}).get("spec") or {}).get("container") or {}
    pod = {
        **_pod(endpoint_document(examination)["spec"]["predictor"]),
        "initContainers": [{"name": "storage-initializer", **container}],
    }
    refusals = violations(pod, level)
    if not refusals:
        return met(f"{text}; KServe's storage initializer has a security context")
    return not_met(f"{text}, which refuses KServe's storage initializer: {'; '.join(refusals)}", PATCH_INITIALIZER)


def _pod(part: Document) -> Document:
    """Return a part of an InferenceService as a pod."""
    containers = part.get("containers") or [{"name": "kserve-container", **part["model"]}]
    return {**{key: value for key, value in part.items() if key != "model"}, "containers": containers}


def _is_injected(part: Document) -> bool:
    return str((part.get("labels") or {}).get(INJECT, "true")) != "false"


def _names(examination: Examination) -> list[str]:
    names = [examination.namespace, examination.endpoint_namespace]
    return list(dict.fromkeys(name for name in names if name))


def _namespace(examination: Examination, name: str) -> Document | None:
    return examination.cluster.read(f"/api/v1/namespaces/{name}")


def labels_of(examination: Examination, name: str) -> dict[str, str]:
    """Return the labels of a namespace.

    Raises:
        NotAllowedError: The account may not read it.
        AbsentNamespaceError: It does not exist.
    """
    document = _namespace(examination, name)
    if document is None:
        raise AbsentNamespaceError(name)
    return (document.get("metadata") or {}).get("labels") or {}
