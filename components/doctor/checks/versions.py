"""Versions: Kubernetes, KServe, the field `spec.canary` and the serving runtime."""

import re
from typing import Any

from components.doctor.cluster import Document, NotAllowedError
from components.doctor.examination import Examination
from components.doctor.findings import Answer, met, not_allowed, not_met

SMALLEST_KUBERNETES = (1, 30)
SMALLEST_KSERVE = (0, 16)
RUNTIME = "kserve-tensorflow-serving"
KSERVE_NAMESPACES = ("kserve", "kubeflow")
INSTALL_KSERVE = (
    "kubectl apply --server-side -f https://github.com/kserve/kserve/releases/download/v0.20.0/kserve.yaml "
    "-f https://github.com/kserve/kserve/releases/download/v0.20.0/kserve-cluster-resources.yaml"
)
_API = "/apis/serving.kserve.io"
_CONTROLLER = "kserve-controller-manager"
_CRD = "inferenceservices.serving.kserve.io"
_NUMBERS = re.compile(r"v?(\d+)\.(\d+)(?:\.\d+)?")


def kubernetes(examination: Examination) -> Answer:
    """Check that Kubernetes is new enough to delay the end of a pod (the `sleep` of `preStop`)."""
    version = str((examination.cluster.read("/version") or {}).get("gitVersion", ""))
    numbers = version_numbers(version)
    if numbers and numbers >= SMALLEST_KUBERNETES:
        return met(f"version {version}")
    expectation = ".".join(map(str, SMALLEST_KUBERNETES))
    return not_met(
        f"version {version or 'unknown'}; expected {expectation} or newer, for the `sleep` before a pod is stopped",
        "kubectl version",
    )


def kserve(examination: Examination) -> Answer:
    """Check that KServe is installed in a supported version, and that its controller runs."""
    if examination.cluster.read(f"{_API}/v1beta1") is None:
        return not_met("not installed: the cluster has no InferenceServices", INSTALL_KSERVE)
    version = _documented_version(examination)
    try:
        controller = _controller(examination)
    except NotAllowedError:
        look = f"kubectl get deployments -A -o wide | grep {_CONTROLLER}"
        return _with_version(version) or not_allowed("installed; its controller and version cannot be read", look)
    if controller is None:
        return not_met(f"the cluster has InferenceServices, but no Deployment {_CONTROLLER}", INSTALL_KSERVE)
    version = _tag(_images(controller)) or version
    if not (controller.get("status") or {}).get("availableReplicas"):
        namespace = controller["metadata"].get("namespace")
        command = f"kubectl describe deployment {_CONTROLLER} -n {namespace}"
        return not_met(f"version {version or 'unknown'}, but its controller has no available pod", command)
    return _with_version(version) or met("installed, of an unknown version")


def _with_version(version: str) -> Answer | None:
    """Return the answer for a version of KServe, or None if it is unknown."""
    numbers = version_numbers(version)
    if numbers is None:
        return None
    if numbers < SMALLEST_KSERVE:
        expectation = ".".join(map(str, SMALLEST_KSERVE))
        return not_met(f"version {version}; expected {expectation} or newer (mode Standard)", INSTALL_KSERVE)
    return met(f"version {version}")


def canary_field(examination: Examination) -> Answer:
    """Check that the InferenceServices of the cluster keep `spec.canary`."""
    look = (
        f"kubectl explain --api-version=serving.kserve.io/v1beta1 inferenceservice.spec.canary; kubectl get crd {_CRD}"
    )
    try:
        fields = _fields_of_crd(examination)
    except NotAllowedError:
        try:
            fields = _fields_of_openapi(examination)
        except NotAllowedError as error:
            return not_allowed(f"the schema of InferenceServices cannot be read: {error}", look)
    if fields is None:
        return not_met("the cluster has no InferenceServices", INSTALL_KSERVE)
    if "canary" in fields:
        return met("spec.canary is kept")
    return not_met(
        "the cluster removes spec.canary, as KServe 0.18 and 0.19 do: a new model replaces the old one without a trial",
        INSTALL_KSERVE,
    )


def runtime(examination: Examination) -> Answer:
    """Check that the serving runtime of TensorFlow exists, is enabled and reads SavedModels."""
    command = "kubectl apply --server-side -f " + INSTALL_KSERVE.rpartition("-f ")[2]
    namespace = examination.endpoint_namespace
    paths = [
        f"{_API}/v1alpha1/namespaces/{namespace}/servingruntimes/{RUNTIME}",
        f"{_API}/v1alpha1/clusterservingruntimes/{RUNTIME}",
    ]
    hidden_paths: list[str] = []
    for path in paths:
        try:
            document = examination.cluster.read(path)
        except NotAllowedError:
            hidden_paths.append(path)
            continue
        if document is not None:
            return _described_runtime(document, command)
    if hidden_paths:
        return not_allowed(f"{RUNTIME} cannot be read", f"kubectl get clusterservingruntime {RUNTIME}")
    return not_met(f"there is no ClusterServingRuntime {RUNTIME}", command)


def version_numbers(text: str) -> tuple[int, int] | None:
    """Return the first two numbers of a version, or None without one."""
    match = _NUMBERS.search(text)
    return (int(match[1]), int(match[2])) if match else None


def _described_runtime(document: Document, command: str) -> Answer:
    specification = document.get("spec") or {}
    formats = specification.get("supportedModelFormats") or []
    if specification.get("disabled"):
        kind = str(document.get("kind", "ClusterServingRuntime")).lower()
        patch = """--type merge -p '{"spec": {"disabled": false}}'"""
        return not_met(f"{RUNTIME} is disabled", f"kubectl patch {kind} {RUNTIME} {patch}")
    if not any(item.get("name") == "tensorflow" and str(item.get("version", "2")) == "2" for item in formats):
        return not_met(f"{RUNTIME} does not read SavedModels (format tensorflow 2)", command)
    return met(RUNTIME)


def _controller(examination: Examination) -> Document | None:
    """Return the Deployment of KServe's controller, or None if no namespace has it.

    Raises:
        NotAllowedError: The account may not read the namespaces in which it may be.
    """
    try:
        items = examination.cluster.items("/apis/apps/v1/deployments", fieldSelector=f"metadata.name={_CONTROLLER}")
        return next(iter(items or []), None)
    except NotAllowedError:
        hidden_namespace: NotAllowedError | None = None
    for namespace in KSERVE_NAMESPACES:
        try:
            document = examination.cluster.read(f"/apis/apps/v1/namespaces/{namespace}/deployments/{_CONTROLLER}")
        except NotAllowedError as error:
            hidden_namespace = error
            continue
        if document is not None:
            return document
    raise hidden_namespace or NotAllowedError("it is in neither of its usual namespaces")


def _documented_version(examination: Examination) -> str:
    """Return KServe's version from the labels of its CRD or the images in its configuration, "" if neither has one."""
    paths = [f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{_CRD}"]
    paths += [f"/api/v1/namespaces/{name}/configmaps/inferenceservice-config" for name in KSERVE_NAMESPACES]
    for path in paths:
        try:
            document = examination.cluster.read(path) or {}
        except NotAllowedError:
            continue
        metadata = document.get("metadata") or {}
        label = (metadata.get("labels") or {}).get("app.kubernetes.io/version", "")
        configuration = (document.get("data") or {}).get("storageInitializer", "")
        version = label or _tag(re.findall(r"[\w./-]+:[\w.-]+", configuration))
        if version_numbers(version):
            return version
    return ""


def _images(deployment: Document) -> list[str]:
    pod = ((deployment.get("spec") or {}).get("template") or {}).get("spec") or {}
    return [str(container.get("image", "")) for container in pod.get("containers") or []]


def _tag(images: list[str]) -> str:
    """Return the tag of KServe's image that is a version, "" if there is none."""
    tags = [image.partition("@")[0].rpartition(":")[2] for image in images if "kserve" in image]
    return next((tag for tag in tags if version_numbers(tag)), "")


def _fields_of_crd(examination: Examination) -> set[str] | None:
    document = examination.cluster.read(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{_CRD}")
    if document is None:
        return None
    versions = (document.get("spec") or {}).get("versions") or []
    versions = [version for version in versions if version.get("name") == "v1beta1"]
    if not versions:
        return set()
    schema = (versions[0].get("schema") or {}).get("openAPIV3Schema") or {}
    return _fields((schema.get("properties") or {}).get("spec") or {})


def _fields_of_openapi(examination: Examination) -> set[str] | None:
    """Return the fields of an InferenceService's spec in the API's description, which every account may read."""
    document = examination.cluster.read("/openapi/v3/apis/serving.kserve.io/v1beta1")
    if document is None:
        return None
    schemas = (document.get("components") or {}).get("schemas") or {}
    schema: Document = next((schema for name, schema in schemas.items() if name.endswith(".InferenceService")), {})
    return _fields((schema.get("properties") or {}).get("spec") or {})


def _fields(specification: dict[str, Any]) -> set[str]:
    if specification.get("x-kubernetes-preserve-unknown-fields"):
        return {"canary"}
    return set(specification.get("properties") or {})
