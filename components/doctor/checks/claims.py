"""PersistentVolumeClaims of the run and the endpoint, and the storage classes that can bind them."""

from typing import Any

from components.doctor.checks.endpoint import endpoint_document
from components.doctor.cluster import Document, NotAllowedError
from components.doctor.examination import Examination, apply_overlay
from components.doctor.findings import Answer, met, not_allowed, not_met

_CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
_DEFAULT = "storageclass.kubernetes.io/is-default-class"


def claims(examination: Examination) -> Answer:
    """Check that each claim that a pod mounts exists, and is bound or waits for its first pod."""
    places = _claims(examination)
    if not places:
        return met("none is needed")
    for namespace, name in places:
        look = f"kubectl describe pvc {name} -n {namespace}"
        try:
            document = _claim(examination, namespace, name)
            waits = document is not None and _waits(examination, document)
        except NotAllowedError as error:
            return not_allowed(f"claim {name} of {namespace} cannot be read: {error}", look)
        if document is None:
            return not_met(f"there is no claim {name} in {namespace}", apply_overlay(namespace))
        if _phase(document) != "Bound" and not waits:
            return not_met(f"claim {name} of {namespace} is {_phase(document)}", look)
    return met(", ".join(f"{namespace}/{name}" for namespace, name in places))


def storage_classes(examination: Examination) -> Answer:
    """Check that the storage class of each claim that is not bound exists."""
    look = "kubectl get storageclasses"
    try:
        documents = [_claim(examination, *place) for place in _claims(examination)]
        unbound = [item for item in documents if item and _phase(item) != "Bound"]
        absent_classes = [item for item in unbound if _storage_class(examination, item) is None]
    except NotAllowedError as error:
        return not_allowed(f"storage classes or claims cannot be read: {error}", look)
    if not absent_classes:
        return met("not needed: no claim waits for a volume" if not unbound else "each claim has its class")
    claim = absent_classes[0]
    name = (claim.get("spec") or {}).get("storageClassName")
    problem = f"storage class {name} does not exist" if name else "the cluster has no default storage class"
    annotation = """'{"metadata": {"annotations": {"%s": "true"}}}'""" % _DEFAULT  # noqa: UP031 braces of JSON
    command = f"{look}; kubectl patch storageclass <one of them> -p {annotation}"
    return not_met(f"claim {claim['metadata']['name']}: {problem}", command)


def shared_claims(examination: Examination) -> Answer:
    """Check that claims which several pods of the endpoint mount can be mounted on several nodes."""
    place = [place for place in _claims(examination) if place[0] == examination.endpoint_namespace]
    try:
        nodes = len(examination.cluster.items("/api/v1/nodes") or [])
        documents = [_claim(examination, *item) for item in place]
    except NotAllowedError as error:
        return not_allowed(f"nodes or claims cannot be read: {error}", "kubectl get nodes; kubectl get pvc -A")
    for document in documents:
        modes = ((document or {}).get("spec") or {}).get("accessModes") or []
        if document and nodes > 1 and "ReadWriteMany" not in modes:
            name, namespace = document["metadata"]["name"], examination.endpoint_namespace
            return not_met(
                f"claim {name} is {', '.join(modes)} on {nodes} nodes: its pods can only run on one of them",
                f"kubectl delete pvc {name} -n {namespace}   # then apply it with ReadWriteMany",
            )
    return met("each claim fits the number of nodes" if place else "none is mounted by several pods")


def _claims(examination: Examination) -> list[tuple[str, str]]:
    """Return namespace and name of each claim, those of the tasks first."""
    places = [(examination.namespace, name) for name in examination.needs.claims]
    if examination.endpoint_namespace:
        parts = endpoint_document(examination)["spec"]
        names = [name for part in ("predictor", "transformer") for name in _mounted_claims(parts[part])]
        places += [(examination.endpoint_namespace, name) for name in names]
    return list(dict.fromkeys(places))


def _mounted_claims(part: dict[str, Any]) -> list[str]:
    volumes = [volume.get("persistentVolumeClaim") for volume in part.get("volumes") or []]
    return [volume["claimName"] for volume in volumes if volume]


def _claim(examination: Examination, namespace: str, name: str) -> Document | None:
    return examination.cluster.read(f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/{name}")


def _phase(claim: Document) -> str:
    return str((claim.get("status") or {}).get("phase", "Pending"))


def _waits(examination: Examination, claim: Document) -> bool:
    """Return whether a claim waits for the first pod that mounts it."""
    if _phase(claim) != "Pending":
        return False
    return (_storage_class(examination, claim) or {}).get("volumeBindingMode") == "WaitForFirstConsumer"


def _storage_class(examination: Examination, claim: Document) -> Document | None:
    """Return the class of a claim: the default one where it names none, an empty one where it wants none."""
    name = (claim.get("spec") or {}).get("storageClassName")
    if name == "":
        return {}
    if name:
        return examination.cluster.read(f"{_CLASSES}/{name}")
    for item in examination.cluster.items(_CLASSES) or []:
        if (item["metadata"].get("annotations") or {}).get(_DEFAULT) == "true":
            return item
    return None
