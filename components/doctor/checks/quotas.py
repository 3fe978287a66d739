"""Quotas and limit ranges of the namespaces against the pods to come."""

from collections.abc import Iterable
from decimal import Decimal

from components.doctor.checks.capacity import endpoint_requests
from components.doctor.cluster import Document, NotAllowedError
from components.doctor.examination import Examination
from components.doctor.findings import Answer, met, not_allowed, not_met
from components.doctor.resource_amounts import Amounts, PodRequest, amounts_of, describe, task_request, total

_REQUESTS = "requests."
_PLAIN = ("cpu", "memory")


def quotas(examination: Examination) -> Answer:
    """Check that each ResourceQuota has room for the largest task and for the endpoint."""
    for namespace in _namespaces(examination):
        look = f"kubectl describe resourcequotas -n {namespace}"
        try:
            documents = examination.cluster.items(f"/api/v1/namespaces/{namespace}/resourcequotas")
        except NotAllowedError as error:
            return not_allowed(f"the quotas of {namespace} cannot be read: {error}", look)
        for document in documents or []:
            problem = _quota_problem(examination, namespace, document)
            if problem:
                return not_met(f"ResourceQuota {document['metadata']['name']} of {namespace} {problem}", look)
    return met("no quota stands in the way")


def limit_ranges(examination: Examination) -> Answer:
    """Check that no LimitRange refuses a pod of the tasks or of the endpoint."""
    for namespace in _namespaces(examination):
        look = f"kubectl describe limitranges -n {namespace}"
        try:
            documents = examination.cluster.items(f"/api/v1/namespaces/{namespace}/limitranges")
        except NotAllowedError as error:
            return not_allowed(f"the limit ranges of {namespace} cannot be read: {error}", look)
        for document in documents or []:
            problem = _range_problem(_pods(examination, namespace), document)
            if problem:
                return not_met(f"LimitRange {document['metadata']['name']} of {namespace} {problem}", look)
    return met("no limit stands in the way")


def _namespaces(examination: Examination) -> list[str]:
    names = (examination.namespace, examination.endpoint_namespace)
    return list(dict.fromkeys(name for name in names if name))


def _tasks(examination: Examination, namespace: str) -> list[PodRequest]:
    return [task_request(needs) for needs in examination.needs.pods] if namespace == examination.namespace else []


def _endpoint(examination: Examination, namespace: str) -> list[PodRequest]:
    return endpoint_requests(examination) if namespace == examination.endpoint_namespace else []


def _pods(examination: Examination, namespace: str) -> list[PodRequest]:
    return [*_tasks(examination, namespace), *_endpoint(examination, namespace)]


def _quota_problem(examination: Examination, namespace: str, document: Document) -> str:
    """Return what is wrong with a quota, "" if it has room; those of a scope concern other pods."""
    specification, status = document.get("spec") or {}, document.get("status") or {}
    if specification.get("scopes") or specification.get("scopeSelector"):
        return ""
    hard, used = amounts_of(specification.get("hard")), amounts_of(status.get("used"))
    room = {key: value - used.get(key, Decimal(0)) for key, value in hard.items()}
    tasks, endpoint = _tasks(examination, namespace), _endpoint(examination, namespace)
    task_needs = _largest(pod.amounts for pod in tasks)
    endpoint_needs = {} if _has_endpoint(examination) else total(pod.amounts for pod in endpoint)
    for key, space in room.items():
        name = key.removeprefix(_REQUESTS)
        if key not in _PLAIN and not key.startswith(_REQUESTS):
            continue
        need = max(task_needs.get(name, Decimal(0)), endpoint_needs.get(name, Decimal(0)))
        if need > space:
            rest, limit = describe({name: space}), describe({name: hard[key]})
            return f"has {rest} left of {limit}; {describe({name: need})} are needed"
        silent_pods = [pod.name for pod in tasks if name in _PLAIN and name not in pod.amounts]
        if silent_pods and not _has_defaults(examination, namespace, name):
            return f"refuses pods without a request of {name}: {', '.join(silent_pods)}"
    pods = max(bool(tasks), len(endpoint) if endpoint_needs else 0)
    return f"has room for {room['pods']} more pods; {pods} are needed" if pods > room.get("pods", pods) else ""


def _largest(parts: Iterable[Amounts]) -> Amounts:
    largest: Amounts = {}
    for part in parts:
        for key, value in part.items():
            largest[key] = max(largest.get(key, Decimal(0)), value)
    return largest


def _has_endpoint(examination: Examination) -> bool:
    """Return whether the endpoint exists, so that its pods are in what the quota counts as used."""
    namespace, name = examination.endpoint_namespace, examination.endpoint
    path = f"/apis/serving.kserve.io/v1beta1/namespaces/{namespace}/inferenceservices/{name}"
    try:
        return bool(namespace) and examination.cluster.read(path) is not None
    except NotAllowedError:
        return False


def _has_defaults(examination: Examination, namespace: str, name: str) -> bool:
    """Return whether a LimitRange gives containers a request of a resource."""
    try:
        documents = examination.cluster.items(f"/api/v1/namespaces/{namespace}/limitranges") or []
    except NotAllowedError:
        return True
    limits = [item for document in documents for item in (document.get("spec") or {}).get("limits") or []]
    return any(name in {**(item.get("default") or {}), **(item.get("defaultRequest") or {})} for item in limits)


def _range_problem(pods: list[PodRequest], document: Document) -> str:
    for item in (document.get("spec") or {}).get("limits") or []:
        if item.get("type") not in ("Container", "Pod"):
            continue
        largest, smallest = amounts_of(item.get("max")), amounts_of(item.get("min"))
        for pod in pods:
            for key, value in pod.amounts.items():
                if value > largest.get(key, value):
                    return f"allows {describe({key: largest[key]})} at most; {pod.text} requests more"
                if value < smallest.get(key, value):
                    return f"requires {describe({key: smallest[key]})} at least; {pod.text} requests less"
    return ""
