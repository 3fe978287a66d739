"""The model that users of an endpoint reach, for a run that does not change it."""

from dataclasses import dataclass

from components.deploy.target_address import inference_service_of, resolve_target
from components.deploy.targets import parse_target
from components.shared.errors import TaxonflowError
from components.shared.progress import log


@dataclass(frozen=True)
class ServedModel:
    """Model that users reach.

    Attributes:
        version: Number of the version; 0 if no model is served or it is not known.
        model_id: Id of the model; empty if it is not known.
        address: Predict URL; empty if it is not known.
    """

    version: int = 0
    model_id: str = ""
    address: str = ""


def served_model(target: str, name: str) -> ServedModel:
    """Return the model that an InferenceService serves; without one, or if the cluster does not answer, an empty one.

    Args:
        target: Target of the deployment; empty for the default one.
        name: Name of the model.
    """
    try:
        return _read(resolve_target(target, name))
    except TaxonflowError as error:  # a run that changes nothing must not fail because of what it reports
        log("deploy", f"the served model of {name} is not known: {error}")
        return ServedModel()


def _read(target: str) -> ServedModel:
    url = parse_target(target)
    if url.scheme != "kserve":
        return ServedModel()
    from components.deploy.kserve.canary_rollout import mode_of  # importing kserve's client takes two seconds
    from components.deploy.kserve.checks.readiness import predict_url
    from components.deploy.kserve.client import Cluster

    namespace, name = inference_service_of(url)
    service = Cluster(namespace).service(name)
    stable = mode_of(service).stable_model(service) if service else None
    if service is None or stable is None:
        return ServedModel()
    return ServedModel(stable.version, stable.model_id, predict_url(service))
