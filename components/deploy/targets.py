"""Deployment targets: one function for each URL scheme."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from components.deploy import local
from components.deploy.canary.settings import CanaryTrial
from components.deploy.kserve.report import RolledBackError, RolloutLog, RolloutResult
from components.deploy.model_registry import ServedVersion, record_version, registry_address
from components.deploy.monitored_models import hand_over
from components.deploy.records import DeployRecords
from components.deploy.verified_model import VerifiedModel, verify_model
from components.shared.errors import BadConfigError


def _deploy_to_folder(
    model: VerifiedModel, target: SplitResult, _trial: CanaryTrial, records: DeployRecords
) -> RolloutResult:
    if records.registry:
        registry_address(records.registry)
    version, uri = local.publish(model, target)
    result = RolloutResult(
        version, uri, RolloutLog([f"{model.name} version {version} is at {uri}"]), model_id=model.card.model_id
    )
    if records.monitored_models:
        hand_over(model, version, records.monitored_models)
    if records.registry:
        deployment = ServedVersion(model.name, version, uri, uri, "served")
        result.log.note(record_version(records.registry, model, deployment))
    return result


def _deploy_to_cluster(
    model: VerifiedModel, target: SplitResult, trial: CanaryTrial, records: DeployRecords
) -> RolloutResult:
    from components.deploy.kserve.target import roll_out  # importing kserve's client takes two seconds

    try:
        return roll_out(model, target, trial, records)
    except RolledBackError as error:  # a failed task would lose its report
        return error.result


TARGETS: dict[str, Callable[[VerifiedModel, SplitResult, CanaryTrial, DeployRecords], RolloutResult]] = {
    "file": _deploy_to_folder,
    "kserve": _deploy_to_cluster,
}


def deploy_model(
    artifact: Path,
    uri: str,
    name: str,
    target: str,
    trial: CanaryTrial | None = None,
    records: DeployRecords = DeployRecords(),  # noqa: B008 immutable
) -> RolloutResult:
    """Deploy a served model to a target.

    Args:
        artifact: Folder of the served model, the parent of the version folder.
        uri: URI of the artifact in the run's artifact store.
        name: Name of the model in the endpoint's URL.
        target: `file:///folder/of/models` or `kserve://namespace/inference-service`.
        trial: Conditions under which a cluster tries the model; None for the defaults.
        records: Places in which the deployment is recorded beside the endpoint.

    Returns:
        The version that users reach now: the new model, or the previous one after a rollback.

    Raises:
        BadConfigError: The target has an unknown scheme or is incomplete.
        ContractError: The model card is missing or damaged, or a file does not match its digest or signature.
        DeployError: The model cannot be deployed; the endpoint serves the previous version.
    """
    url = parse_target(target)
    model = verify_model(artifact, uri, name)
    return TARGETS[url.scheme](model, url, trial or CanaryTrial(), records)


def parse_target(target: str) -> SplitResult:
    """Split the URL of a target.

    Raises:
        BadConfigError: The scheme is unknown.
    """
    with suppress(ValueError):  # unbalanced brackets
        url = urlsplit(target)
        if url.scheme in TARGETS:
            return url
    raise BadConfigError(
        f"target {target!r}",
        "file:///folder/of/models or kserve://namespace/inference-service",
        "Set TARGET to one of these forms.",
    )
