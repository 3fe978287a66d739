"""The cluster as a target: which InferenceService, which version, which address."""

from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from components.deploy.canary.settings import DEFAULTS, CanarySettings
from components.deploy.kserve.client import Cluster
from components.deploy.kserve.report import RolledOut
from components.deploy.kserve.rollout import PATIENCE, Patience, RollOut, persistently
from components.deploy.kserve.version_registry import register
from components.deploy.verified_model import Publication
from components.shared.errors import BadConfigError, DeployError

_STORAGE_SCHEMES = {"minio": "s3", "s3": "s3", "gs": "gs", "pvc": "pvc"}


def roll_out(
    publication: Publication,
    target: SplitResult,
    settings: CanarySettings = DEFAULTS,
    data: Path | None = None,
    patience: Patience = PATIENCE,
) -> RolledOut:
    """Makes an InferenceService serve a model, if that is not worse than the one it serves.

    Running it again after it was killed goes on where it stopped: the same artifact is never a second version.

    Args:
        publication: the checked model; its uri must be readable in the cluster.
        target: `kserve://namespace/inference-service`.
        settings: how the model is tried.
        data: the data set whose test slices the model is judged by; None takes the model's own examples.
        patience: how long to wait.

    Raises:
        BadConfigError: the target names no namespace or no service.
        RolledBackError: the model never became ready, answers known slices wrongly, or is worse.
        DeployError: the uri is not in object storage or stood for other files, or the API refused.
    """
    namespace, name = _destination(target)
    uri = storage_uri(publication.uri)
    cluster = Cluster(namespace)
    model = persistently(lambda: register(cluster, name, uri, publication.digest), name, patience)
    return RollOut(cluster, name, model, publication, settings, data, patience).run()


def storage_uri(uri: str) -> str:
    """Returns an artifact's address as KServe's storage initializer reads it.

    Raises:
        DeployError: the artifact is on a machine's own disk or in a storage that KServe does not read.
    """
    address = urlsplit(uri)
    scheme = _STORAGE_SCHEMES.get(address.scheme)
    if scheme is None or not address.netloc:
        raise DeployError(
            f"the model lies at {uri!r}, which the cluster cannot read",
            "minio://, s3://, gs:// or pvc://",
            "Run the pipeline in the cluster, or deploy to file:///folder/of/models.",
        )
    return f"{scheme}://{address.netloc}{address.path}"


def _destination(target: SplitResult) -> tuple[str, str]:
    name = target.path.strip("/")
    if not target.netloc or not name or "/" in name:
        raise BadConfigError(f"target {target.geturl()!r}", "kserve://namespace/inference-service", "Correct it.")
    return target.netloc, name
