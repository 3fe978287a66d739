"""The cluster as a target: the model's InferenceService is created or changed and watched until users reach it.

A change keeps the old pods until the new ones are ready. A model that never becomes ready, or that answers known
slices otherwise than the evaluation did, is taken back.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from components.deploy.cluster import Cluster, ConflictError
from components.deploy.inference_service import (
    MODE,
    ServedModel,
    inference_service,
    model_change,
    previous_model,
    served_model,
    with_model,
)
from components.deploy.known_answers import check_known_answers
from components.deploy.publication import Publication
from components.deploy.rollout_status import (
    internal_predict_url,
    is_ready,
    predict_url,
    reasons_not_ready,
    runs_version,
)
from components.shared.errors import BadConfigError, DeployError
from components.shared.progress import Progress

_STORAGE_SCHEMES = {"minio": "s3", "s3": "s3", "gs": "gs", "pvc": "pvc"}
_ATTEMPTS = 5


@dataclass(frozen=True)
class Patience:
    """How long a roll-out may take and how often the cluster is asked, in seconds."""

    timeout: float = 900.0
    pause: float = 5.0


class OvertakenError(DeployError):
    """Somebody else changed the service while a model was rolled out."""


def roll_out(publication: Publication, target: SplitResult, patience: Patience = Patience()) -> tuple[int, str]:
    """Makes an InferenceService serve a model and waits until it does.

    Running it again after it was killed goes on where it stopped: the same artifact is never a second version.

    Args:
        publication: the checked model; its uri must be readable in the cluster.
        target: `kserve://namespace/inference-service`.
        patience: how long to wait.

    Returns:
        The version's number and the predict URL.

    Raises:
        BadConfigError: the target names no namespace or no service.
        DeployError: the uri is not in object storage, the API refused, the model never became ready, or it answers
            known slices wrongly.
    """
    namespace, name = _destination(target)
    uri = storage_uri(publication.uri)
    cluster = Cluster(namespace)
    version = _apply(cluster, name, uri)
    try:
        service = _wait(cluster, name, ServedModel(version, uri), patience)
        examples = publication.card.examples
        check_known_answers(internal_predict_url(service), publication.folder, examples, patience.pause)
    except DeployError as error:
        raise _taken_back(cluster, name, uri, error) from error
    return version, predict_url(service)


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


def _apply(cluster: Cluster, name: str, uri: str) -> int:
    """Creates or changes the InferenceService, retrying when somebody else was faster; returns the version."""
    for _ in range(_ATTEMPTS):
        try:
            return _apply_once(cluster, name, uri)
        except ConflictError:
            time.sleep(0.2)
    raise DeployError(
        f"InferenceService {name} was changed by others {_ATTEMPTS} times in a row",
        remedy="Stop the other deployments and run the step again.",
    )


def _apply_once(cluster: Cluster, name: str, uri: str) -> int:
    service = cluster.service(name)
    if service is None:
        cluster.create_service(with_model(inference_service(name), ServedModel(1, uri)))
        return 1
    _check_mode(service)
    before = served_model(service)
    if before is not None and before.uri == uri and before.version > 0:
        return before.version
    model = ServedModel(1 if before is None else before.version + 1, uri)
    cluster.patch_service(name, model_change(model, before), service["metadata"]["resourceVersion"])
    return model.version


def _check_mode(service: dict[str, Any]) -> None:
    """Raises DeployError for a service whose pods KServe leaves to Knative: its roll-outs look otherwise."""
    name = service["metadata"]["name"]
    mode = service.get("status", {}).get("deploymentMode") or service["metadata"].get("annotations", {}).get(MODE)
    if mode not in (None, "Standard", "RawDeployment"):
        raise DeployError(
            f"InferenceService {name} is in deployment mode {mode}, which cannot be changed",
            "Standard",
            "Deploy to another name, or delete the service first.",
        )


def _wait(cluster: Cluster, name: str, model: ServedModel, patience: Patience) -> dict[str, Any]:
    """Returns the InferenceService as soon as every replica serves the model.

    Raises:
        DeployError: with the conditions' messages, when the time is over.
        OvertakenError: somebody asks the service for another model.
    """
    until = time.monotonic() + patience.timeout
    progress = Progress("deploy", round(patience.timeout), "s at most")
    while True:
        service, trouble = _asked(lambda: _ready_service(cluster, name, model))
        if service is not None:
            return service
        if time.monotonic() >= until:
            raise DeployError(
                f"version {model.version} of {name} was not ready after {patience.timeout:g} s ({trouble})",
                remedy="Correct the cause and run the step again.",
            )
        time.sleep(patience.pause)
        progress.advance(round(patience.pause), remark=trouble[:120])


def _asked(question: Callable[[], tuple[dict[str, Any] | None, str]]) -> tuple[dict[str, Any] | None, str]:
    """Asks the cluster; a lost connection is a reason to ask again, not to give up."""
    try:
        return question()
    except OvertakenError:
        raise
    except DeployError as error:
        return None, str(error)


def _ready_service(cluster: Cluster, name: str, model: ServedModel) -> tuple[dict[str, Any] | None, str]:
    """Returns the InferenceService if every replica serves the model, else None and why not."""
    deployment = cluster.predictor_deployment(name)
    service = cluster.service(name)  # read after the Deployment, so that its Ready is not older
    if service is None or served_model(service) != model:
        raise OvertakenError(f"{name} was deleted or asked for another model than {model.uri} while it was rolled out")
    if deployment is None or not runs_version(deployment, model.version):
        return None, f"{name}-predictor does not serve it yet; {reasons_not_ready(service)}"
    if not is_ready(service) or not predict_url(service):
        return None, reasons_not_ready(service)
    return service, ""


def _taken_back(cluster: Cluster, name: str, uri: str, error: DeployError) -> DeployError:
    """Puts the model before back, unless somebody changed the service meanwhile, and says so."""
    try:
        service = cluster.service(name)
        asked = None if service is None else served_model(service)
        if service is None or asked is None or asked.uri != uri:
            return DeployError(f"{error} Somebody changed {name} meanwhile, so it was left alone")
        previous = previous_model(service)
        if previous is None:
            return DeployError(f"{error} No model was served before")
        cluster.patch_service(name, model_change(previous, None), service["metadata"]["resourceVersion"])
    except DeployError as second:
        return DeployError(f"{error} The model before could not be put back ({second})")
    return DeployError(f"{error} Version {previous.version} was put back")
