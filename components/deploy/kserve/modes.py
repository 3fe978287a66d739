"""The deployment modes of KServe that a model can be rolled out in."""

from components.deploy.kserve import knative, standard
from components.deploy.kserve.inference_service import MODE
from components.deploy.kserve.mode import Mode, Service
from components.shared.errors import DeployError

MODES: dict[str, Mode] = {
    "Standard": standard,
    "RawDeployment": standard,
    "Knative": knative,
    "Serverless": knative,
}


def mode_of(service: Service) -> Mode:
    """Returns how a service's pods are run; the status knows better than the annotation.

    Raises:
        DeployError: in a mode without canaries.
    """
    annotated = service["metadata"].get("annotations", {}).get(MODE)
    mode = service.get("status", {}).get("deploymentMode") or annotated or "Standard"
    if mode not in MODES:
        raise DeployError(
            f"InferenceService {service['metadata']['name']} is in deployment mode {mode}, which cannot be changed",
            " or ".join(MODES),
            "Deploy to another name, or delete the service first.",
        )
    return MODES[mode]
