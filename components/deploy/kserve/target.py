"""KServe target: resolve namespace, InferenceService, storage URI and version, then start the rollout."""

from urllib.parse import SplitResult, urlsplit

from components.deploy.canary.settings import CanaryTrial
from components.deploy.kserve.canary_rollout import Rollout
from components.deploy.kserve.client import Cluster, retry_conflicts
from components.deploy.kserve.report import RolloutResult
from components.deploy.kserve.version_registry import RegistryEntry, register
from components.deploy.verified_model import VerifiedModel
from components.shared.errors import BadConfigError, DeployError

_STORAGE_SCHEMES = {"minio": "s3", "s3": "s3", "gs": "gs", "pvc": "pvc"}


def roll_out(model: VerifiedModel, target: SplitResult, trial: CanaryTrial) -> RolloutResult:
    """Make an InferenceService serve a model, unless the model is worse than the current one.

    A killed rollout is resumed by calling the function again; the same artifact keeps its version number.

    Args:
        model: Model to serve; its URI must be readable in the cluster.
        target: Target of the form `kserve://namespace/inference-service`.
        trial: Conditions of the canary trial.

    Raises:
        BadConfigError: The target lacks the namespace or the service.
        RolledBackError: The model never became ready, answers known slices incorrectly, or is worse.
        DeployError: The URI is not in object storage or was registered with other files, or the API rejected a request.
    """
    namespace, name = _parse_destination(target)
    uri = storage_uri(model.uri)
    cluster = Cluster(namespace)
    artifact = RegistryEntry(uri=uri, digest=model.digest, model_id=model.card.model_id)
    version = retry_conflicts(lambda: register(cluster, name, artifact), name, trial.retries)
    return Rollout(cluster, name, version, model, trial).run()


def storage_uri(uri: str) -> str:
    """Return the URI of an artifact in the form that KServe's storage initializer reads.

    Raises:
        DeployError: The artifact is on a local disk or in a storage that KServe does not read.
    """
    parts = urlsplit(uri)
    scheme = _STORAGE_SCHEMES.get(parts.scheme)
    if scheme is None or not parts.netloc:
        raise DeployError(
            f"the cluster cannot read the model at {uri!r}",
            "minio://, s3://, gs:// or pvc://",
            "Run the pipeline in the cluster, or deploy to file:///folder/of/models.",
        )
    return f"{scheme}://{parts.netloc}{parts.path}"


def _parse_destination(target: SplitResult) -> tuple[str, str]:
    name = target.path.strip("/")
    if not target.netloc or not name or "/" in name:
        raise BadConfigError(
            f"target {target.geturl()!r}",
            "kserve://namespace/inference-service",
            "Set TARGET to one namespace and one InferenceService.",
        )
    return target.netloc, name
