"""The InferenceService of a target: by default that of the model's name in the namespace of the run."""

import re
from pathlib import Path
from urllib.parse import SplitResult

from components.shared.errors import BadConfigError

NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
"""File in which Kubernetes names the namespace of a pod."""
_SERVICE_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_MAX_SERVICE_NAME = 63 - len("-canary-predictor")


def resolve_target(target: str, name: str, namespace_file: Path = NAMESPACE_FILE) -> str:
    """Return the target, or by default `kserve://<namespace of the run>/<name of the model>`.

    Args:
        target: Target of the deployment, or empty.
        name: Name of the model.
        namespace_file: File with the namespace of the run's pod.

    Raises:
        BadConfigError: The target is empty outside of a cluster.
    """
    if target:
        return target
    try:
        namespace = namespace_file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise BadConfigError(
            "target ''",
            "a target, because this step is not in a pod with a service account",
            "Set TARGET to file:///folder/of/models or kserve://namespace/inference-service.",
        ) from error
    return f"kserve://{namespace}/{name}"


def inference_service_of(target: SplitResult) -> tuple[str, str]:
    """Return namespace and name of the InferenceService of a target.

    Raises:
        BadConfigError: The target lacks one of them, or KServe does not accept the name.
    """
    name = target.path.strip("/")
    if not target.netloc or not name or "/" in name:
        raise BadConfigError(
            f"target {target.geturl()!r}",
            "kserve://namespace/inference-service",
            "Set TARGET to one namespace and one InferenceService.",
        )
    if not _SERVICE_NAME.fullmatch(name) or len(name) > _MAX_SERVICE_NAME:
        raise BadConfigError(
            f"target {target.geturl()!r}",
            f"an InferenceService of at most {_MAX_SERVICE_NAME} small letters, digits and '-' that starts with a "
            "letter, as in kserve://namespace/inference-service",
            "Set TARGET to such a name.",
        )
    return target.netloc, name
