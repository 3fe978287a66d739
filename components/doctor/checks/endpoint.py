"""The InferenceService: the one that exists already, and the patches of the one that the deploy step creates."""

import contextlib

from components.deploy.kserve.endpoint_patches import PATCH_SELECTOR, apply_patches, patches_of
from components.deploy.kserve.inference_service import inference_service
from components.doctor.cluster import Document, NotAllowedError
from components.doctor.examination import Examination
from components.doctor.findings import Answer, met, not_allowed, not_met
from components.shared.config import abbreviate
from components.shared.errors import BadConfigError

_POD_FIELDS: dict[str, type] = {
    "containers": list,
    "initContainers": list,
    "labels": dict,
    "limits": dict,
    "minReplicas": int,
    "nodeSelector": dict,
    "ports": list,
    "requests": dict,
    "resources": dict,
    "tolerations": list,
    "volumes": list,
}
_FORMER_NAMESPACE = "taxonflow"
"""Namespace of the overlays of 0.1.0."""
_OWN_LABEL = "app.kubernetes.io/part-of=taxonflow"
_API = "/apis/serving.kserve.io/v1beta1"


def endpoint(examination: Examination) -> Answer:
    """Check that an existing InferenceService has a model: without one KServe takes it for a multi-model server."""
    namespace, name = examination.endpoint_namespace, examination.endpoint
    try:
        document = examination.cluster.read(f"{_API}/namespaces/{namespace}/inferenceservices/{name}")
    except NotAllowedError as error:
        return not_allowed(f"{name} cannot be read: {error}", f"kubectl get inferenceservice {name} -n {namespace}")
    if document is None:
        return met(f"no InferenceService {name} in {namespace} yet: the first model is served without a canary")
    if _has_model(document):
        return met(f"InferenceService {name} has a model; a new one is tried beside it")
    return not_met(
        f"InferenceService {name} has no model, as the overlays of 0.1.0 applied it: its predictor cannot start",
        f"kubectl delete inferenceservice {name} -n {namespace}",
    )


def leftovers(examination: Examination) -> Answer:
    """Check that no other InferenceService without a model is left by the overlays of 0.1.0."""
    namespace, used = examination.endpoint_namespace, (examination.endpoint_namespace, examination.endpoint)
    try:
        places = _services_without_model(examination, namespace)
    except NotAllowedError as error:
        look = f"kubectl get inferenceservices -A -l {_OWN_LABEL}"
        return not_allowed(f"the InferenceServices of {namespace} cannot be listed: {error}", look)
    if namespace != _FORMER_NAMESPACE:
        with contextlib.suppress(NotAllowedError):
            places += _services_without_model(examination, _FORMER_NAMESPACE)
    other_places = [place for place in places if place != used]
    if not other_places:
        return met("none")
    return not_met(
        f"{', '.join('/'.join(place) for place in other_places)} have no model: their predictors restart endlessly",
        "; ".join(f"kubectl delete inferenceservice {name} -n {namespace}" for namespace, name in other_places),
    )


def endpoint_patches(examination: Examination) -> Answer:
    """Check that the endpoint patches of the namespace apply to the InferenceService."""
    namespace = examination.endpoint_namespace
    look = f"kubectl get configmaps -n {namespace} -l {PATCH_SELECTOR} -o yaml"
    try:
        config_maps = _config_maps(examination)
        patches = patches_of(config_maps, examination.endpoint)
        problem = _shape_problem(apply_patches(inference_service(examination.endpoint), patches))
    except NotAllowedError as error:
        return not_allowed(f"the ConfigMaps of {namespace} cannot be listed: {error}", look)
    except BadConfigError as error:
        return not_met(str(error), look)
    if problem:
        return not_met(f"after the patches {problem}", look)
    names = "; ".join(patch.source for patch in patches)
    return met(f"{len(patches)} patches: {names}" if patches else "none: the endpoint is as the deploy step creates it")


def endpoint_document(examination: Examination) -> Document:
    """Return the InferenceService of the deploy step; with the cluster's patches where they can be read and apply."""
    service = inference_service(examination.endpoint)
    try:
        patched_service = apply_patches(service, patches_of(_config_maps(examination), examination.endpoint))
    except (NotAllowedError, BadConfigError):
        return service
    return service if _shape_problem(patched_service) else patched_service


def _shape_problem(service: Document) -> str:
    """Return which field of a patched InferenceService has another type than the API takes, "" if none has."""
    for part in ("predictor", "transformer"):
        pod = service["spec"][part]
        problems = [_field_problem(pod, part)]
        lists = [key for key, kind in _POD_FIELDS.items() if kind is list and isinstance(pod.get(key), list)]
        for key in lists:
            problems += [f"{part}.{key} has an item of another type" for item in pod[key] if not isinstance(item, dict)]
        containers = [*_objects(pod, "containers"), *_objects(pod, "initContainers"), *_objects(pod, "model")]
        for container in containers:
            problems.append(_field_problem(container, f"a container of {part}"))
            problems.append(_field_problem(_objects(container, "resources", default={})[0], f"resources of {part}"))
        if any(problems):
            return next(filter(None, problems))
    return ""


def _field_problem(item: Document, name: str) -> str:
    for key, value in item.items():
        kind = _POD_FIELDS.get(key)
        if kind and value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            return f"{key} of {name} is {abbreviate(value)}"
    return ""


def _objects(item: Document, key: str, default: Document | None = None) -> list[Document]:
    """Return the objects of a field that holds one or a list of them."""
    value = item.get(key)
    values = value if isinstance(value, list) else [value]
    return [value for value in values if isinstance(value, dict)] or ([] if default is None else [default])


def _services_without_model(examination: Examination, namespace: str) -> list[tuple[str, str]]:
    path = f"{_API}/namespaces/{namespace}/inferenceservices"
    services = examination.cluster.items(path, labelSelector=_OWN_LABEL) or []
    return [(namespace, item["metadata"]["name"]) for item in services if not _has_model(item)]


def _has_model(service: Document) -> bool:
    predictor = (service.get("spec") or {}).get("predictor") or {}
    return bool((predictor.get("model") or {}).get("storageUri"))


def _config_maps(examination: Examination) -> list[Document]:
    namespace = examination.endpoint_namespace
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    return examination.cluster.items(path, labelSelector=PATCH_SELECTOR) or []
