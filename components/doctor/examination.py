"""Subject of the checks: the cluster, and the run with its namespace, account, endpoint and needs."""

import json
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from components.doctor.cluster import Cluster, NotAllowedError
from components.doctor.needs import RunNeeds
from components.shared.errors import BadConfigError

KUBEFLOW_NAMESPACE = "kubeflow"
KUBEFLOW_VERSION = "2.17.0"
INSTALL_KUBEFLOW = " && ".join(
    f"kubectl apply -k 'github.com/kubeflow/pipelines/manifests/kustomize/{folder}?ref={KUBEFLOW_VERSION}'"
    for folder in ("cluster-scoped-resources", "env/platform-agnostic")
)
_ACCOUNTS = {KUBEFLOW_NAMESPACE: "pipeline-runner"}
_PROFILES = "/apis/kubeflow.org/v1"
_USER_PREFIX = "system:serviceaccount:"
_PROFILE_ACCOUNT = "default-editor"


@dataclass(frozen=True)
class Server:
    """Kubeflow Pipelines server to ask.

    Attributes:
        host: URL of the server; empty for none.
        token: Bearer token; empty for none.
        ca: File of a certificate authority; empty for the default ones.
    """

    host: str = ""
    token: str = ""
    ca: str = ""


@dataclass(frozen=True)
class Examination:
    """Subject of the checks.

    Attributes:
        cluster: Cluster of the run.
        namespace: Namespace of the run.
        account: Service account of the run's pods.
        endpoint_namespace: Namespace of the InferenceService; empty for a target that is no endpoint.
        endpoint: Name of the InferenceService.
        needs: Pods and claims of the run.
        server: Kubeflow Pipelines server.
        in_pod: Whether the checks run in a pod of the run, with the rights of its account.
    """

    cluster: Cluster
    namespace: str
    account: str
    endpoint_namespace: str
    endpoint: str
    needs: RunNeeds = field(default_factory=RunNeeds)
    server: Server = field(default_factory=Server)
    in_pod: bool = False


def apply_overlay(namespace: str) -> str:
    """Return the command that applies the overlay of a namespace."""
    if namespace == KUBEFLOW_NAMESPACE:
        return "kubectl apply -k manifests/overlays/kind"
    return f"kubectl apply -k manifests/overlays/production   # with `namespace: {namespace}` in its kustomization.yaml"


def create_namespace(examination: Examination, name: str) -> str:
    """Return the command that creates a namespace: as a profile on the platform, which refuses one that exists."""
    try:
        has_profiles = examination.cluster.read(_PROFILES) is not None
    except NotAllowedError:
        has_profiles = False
    if not has_profiles or name == KUBEFLOW_NAMESPACE:
        return f"kubectl create namespace {name}"
    owner = {"owner": {"kind": "User", "name": "<user of the platform>"}}
    profile = {"apiVersion": "kubeflow.org/v1", "kind": "Profile", "metadata": {"name": name}, "spec": owner}
    return f"echo '{json.dumps(profile)}' | kubectl apply -f -"


def account_user(namespace: str, account: str) -> str:
    """Return the name by which the API knows a service account."""
    return f"{_USER_PREFIX}{namespace}:{account}"


def account_of(user: str, namespace: str) -> str:
    """Return the service account of a user of the API; Kubeflow's usual one for any other user."""
    prefix = account_user(namespace, "")
    return user.removeprefix(prefix) if user.startswith(prefix) else usual_account(namespace)


def usual_account(namespace: str) -> str:
    """Return the account that Kubeflow gives to runs in a namespace."""
    return _ACCOUNTS.get(namespace, _PROFILE_ACCOUNT)


def endpoint_of(target: str, namespace: str, name: str) -> tuple[str, str]:
    """Return namespace and name of the InferenceService of a target; two empty texts for a folder.

    Args:
        target: Target of the deployment; empty for the service `name` in the run's namespace.
        namespace: Namespace of the run.
        name: Name of the model.

    Raises:
        BadConfigError: The target is neither a folder nor an InferenceService.
    """
    if not target:
        return namespace, name
    try:
        url = urlsplit(target)
    except ValueError:
        url = urlsplit("")
    service = url.path.strip("/")
    if url.scheme == "file":
        return "", ""
    if url.scheme != "kserve" or not url.netloc or not service or "/" in service:
        raise BadConfigError(
            f"target {target!r}",
            "file:///folder/of/models or kserve://namespace/inference-service",
            "Set the parameter target to one of these forms.",
        )
    return url.netloc, service
