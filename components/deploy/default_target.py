"""Default target of a deployment: the InferenceService of the model's name in the namespace of the run."""

from pathlib import Path

from components.shared.errors import BadConfigError

NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
"""File in which Kubernetes names the namespace of a pod."""


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
