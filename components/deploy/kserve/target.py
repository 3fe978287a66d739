"""KServe target: resolve namespace, InferenceService, storage URI and version, then start the rollout."""

from functools import partial
from urllib.parse import SplitResult

from components.deploy.canary.settings import CanaryTrial
from components.deploy.kserve.canary_rollout import Rollout
from components.deploy.kserve.client import Cluster, retry_conflicts
from components.deploy.kserve.endpoint_patches import PATCH_SELECTOR, patches_of
from components.deploy.kserve.inference_service import ModelVersion
from components.deploy.kserve.report import RolledBackError, RolloutResult
from components.deploy.kserve.suitability import check_pictures, check_species
from components.deploy.kserve.version_registry import RegistryEntry, register, registered_species
from components.deploy.model_registry import Outcome, ServedVersion, record_version, registry_address
from components.deploy.monitored_models import hand_over
from components.deploy.records import DeployRecords
from components.deploy.target_address import inference_service_of
from components.deploy.verified_model import VerifiedModel
from components.deploy.version_copies import copy_version, storage_uri


def roll_out(
    model: VerifiedModel,
    target: SplitResult,
    trial: CanaryTrial,
    records: DeployRecords = DeployRecords(),  # noqa: B008 immutable
) -> RolloutResult:
    """Make an InferenceService serve a model, unless the model is worse than the current one.

    A killed rollout is resumed by calling the function again; the same artifact keeps its version number.

    Args:
        model: Model to serve; its URI must be readable in the cluster.
        target: Target of the form `kserve://namespace/inference-service`.
        trial: Conditions of the canary trial.
        records: Places in which the deployment is recorded beside the endpoint.

    Raises:
        BadConfigError: The target lacks the namespace or the service, or a setting of the cluster is invalid.
        RolledBackError: The model never became ready, answers known slices incorrectly, or is worse.
        DeployError: The URI is not in object storage or was registered with other files, the service serves other
            pictures or species, or the API rejected a request.
    """
    namespace, name = inference_service_of(target)
    return roll_out_in(Cluster(namespace), name, model, trial, records)


def roll_out_in(
    cluster: Cluster, name: str, model: VerifiedModel, trial: CanaryTrial, records: DeployRecords
) -> RolloutResult:
    """Roll out a model in a cluster; arguments and errors as in `roll_out`."""
    artifact = RegistryEntry(
        uri=storage_uri(model.uri), digest=model.digest, model_id=model.card.model_id, species=model.card.classes
    )
    if records.registry:
        registry_address(records.registry)  # an invalid address is an error before anything is changed
    patches = patches_of(cluster.config_maps(PATCH_SELECTOR), name)
    service = cluster.service(name)
    check_pictures(service, model.card)
    check_species(service, registered_species(cluster, name), model.card)
    version = retry_conflicts(lambda: register(cluster, name, artifact), name, trial.retries)
    if version.uri != artifact.uri:
        copy_version(model, cluster.namespace, name, version.version)
    if records.monitored_models:
        hand_over(model, version.version, records.monitored_models)
    endpoint = f"{cluster.namespace}/{name}"
    record = partial(_record, records.registry, model, endpoint, version) if records.registry else None
    try:
        result = Rollout(cluster, name, version, model, trial, patches, record).run()
    except RolledBackError as error:
        if record:
            error.result.log.note(record("rolled_back", error.result.address))
        raise
    if record:
        result.log.note(record("served", result.address))
    return result


def _record(
    registry: str, model: VerifiedModel, endpoint: str, version: ModelVersion, outcome: Outcome, address: str
) -> str:
    """Record an outcome of the new version in the Model Registry, and return a sentence about it."""
    deployment = ServedVersion(endpoint, version.version, version.uri, address, outcome)
    return record_version(registry, model, deployment)
