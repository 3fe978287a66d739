"""Groups of tasks that several pipelines share, from the first checks to the outcome.

All of them are in one layer, without branches: docs/design/pipelines.md gives the reason. The task of the deployment
therefore runs also for a model that the gate rejected, and then deploys nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kfp import dsl, kubernetes

from components.deploy.component import deploy, outcome, require_served
from components.doctor.component import doctor
from components.ingest.component import ingest, ingest_cut, ingest_plan
from components.parameters.component import check_parameters
from components.segment.component import segment
from components.shared.container_images import COMPONENT_IMAGE, TRAINING_IMAGE
from components.shared.object_stores import STORE_ACCESS_KEY, STORE_SECRET_KEY
from components.shared.signing import SIGNING_KEY, VERIFICATION_KEY
from components.train.component import train
from pipelines.resources import (
    TaskResources,
    TrainingResources,
    checkpoint_folder,
    mount_checkpoints,
    request_resources,
)
from pipelines.run_needs import models_claim

VOLUMES_SECRET, STORE_SECRET = "taxonflow-volumes", "mlpipeline-minio-artifact"
SIGNING_SECRET, VERIFICATION_MAP = "taxonflow-signing-key", "taxonflow-verification-key"
MODELS = "/var/taxonflow/models"
_DEPLOY_RETRIES = 3
"""Number of retries of a deployment: one whose process was killed goes on where the endpoint is."""
_VOLUMES_VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_ENDPOINT_URL",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
)
_STORE_VARIABLES = {"accesskey": STORE_ACCESS_KEY, "secretkey": STORE_SECRET_KEY}


@dataclass(frozen=True)
class Cluster:
    """Constants of a pipeline that is compiled for a cluster.

    Attributes:
        resources: Resources of the tasks.
        needs: What a run needs of the cluster, the input of the task doctor.
        monitored_models: PersistentVolumeClaim or URL in which the monitor finds the served models; empty for none.
    """

    resources: TrainingResources
    needs: dict[str, Any]
    monitored_models: str = ""

    @property
    def models_claim(self) -> str:
        """Name of the claim with the monitor's models; empty for none and for a URL."""
        return models_claim(self.monitored_models)

    @property
    def models_folder(self) -> str:
        """Folder or URL with the monitor's models; empty for none."""
        return MODELS if self.models_claim else self.monitored_models


@dataclass(frozen=True)
class Checks:
    """Tasks that check a run, and what they tell the others.

    Attributes:
        tasks: Tasks that must succeed before the others start; none in local runs.
        listing: Digest of the source's listing, on which the plan of the ingest depends; empty in local runs.
    """

    tasks: Sequence[dsl.PipelineTask]
    listing: Any


def check_run(cluster: Cluster | None, name: Any, **parameters: Any) -> Checks:
    """Add the checks of the cluster and of the parameters; local runs check their parameters before they start.

    Args:
        cluster: Constants of the cluster; None for local runs.
        name: Name of the model.
        parameters: Parameters of the step check-parameters, by name.
    """
    if cluster is None:
        return Checks((), "")
    check = check_parameters(name=name, **parameters)
    add_store_credentials(check)
    diagnosis = check_cluster(cluster, name, parameters["target"])
    request_resources(check, cluster.resources.control)
    check.set_caching_options(False)
    return Checks((diagnosis, check), check.outputs["Output"])


def check_cluster(cluster: Cluster, name: Any, target: Any) -> dsl.PipelineTask:
    """Add the task that asks the cluster for what the run needs."""
    diagnosis = doctor(needs=cluster.needs, name=name, target=target)
    request_resources(diagnosis, cluster.resources.control)
    return diagnosis.set_caching_options(False)


def segmented_slices(
    cluster: Cluster | None, checks: Checks, segmentation: Any, specimens: Any = None, **ingest_parameters: Any
) -> Any:
    """Add the steps from volumes to segmented slices; cutting is divided among pods.

    Args:
        cluster: Constants of the cluster; None for local runs.
        checks: First tasks of the run.
        segmentation: Treatment of the background.
        specimens: Artifact with synthetic specimens, which replace the volumes; None without.
        ingest_parameters: Parameters of the step ingest-plan, by name.

    Returns:
        The data set of segmented slices.
    """
    source = {} if specimens is None else {"specimens": specimens}
    plan = ingest_plan(listing=checks.listing, **source, **ingest_parameters).after(*checks.tasks)
    # A loop with a name would break Collected on the cluster (kubeflow/pipelines 13239).
    with dsl.ParallelFor(plan.outputs["Output"]) as shard:
        cut = ingest_cut(plan=plan.outputs["plan"], shard=shard, **source)
    merge = ingest(plan=plan.outputs["plan"], slice_files=dsl.Collected(cut.outputs["slice_files"]), **source)
    black = segment(slices=merge.outputs["slices"], segmentation=segmentation)
    for task in (plan, cut, merge):
        add_store_credentials(task)
    for task in (plan, cut, merge, black):
        request_resources(task, cluster.resources.data if cluster else None)
    return black.outputs["segmented"]


def trained_models(
    cluster: Cluster | None, size: str, slices: Any, backbones: Any, recipe: Any, seed: Any
) -> dsl.Collected:
    """Add one training task for each backbone and return their models.

    Args:
        cluster: Constants of the cluster; None for local runs.
        size: Size of the backbones, "standard" or "large".
        slices: Data set of segmented slices.
        backbones: Names of the networks.
        recipe: Settings of the training.
        seed: Seed of every random choice.
    """
    resources: TaskResources | None = getattr(cluster.resources, size) if cluster else None
    with dsl.ParallelFor(backbones) as backbone:
        checkpoints = checkpoint_folder(resources)
        task = train(slices=slices, backbone=backbone, recipe=recipe, seed=seed, checkpoints=checkpoints)
        add_store_credentials(task)
        mount_checkpoints(task, resources)
        request_resources(task, resources)
        if resources and not resources.count:
            task.set_container_image(COMPONENT_IMAGE)  # without the libraries of GPUs, a tenth of the size
    return dsl.Collected(task.outputs["model"])


def deployed_ensemble(
    cluster: Cluster | None, evaluation: dsl.PipelineTask, slices: Any, threshold: Any, **target: Any
) -> None:
    """Add the steps after the evaluation, which it configures too: deployment, outcome, and the check of the outcome.

    Args:
        cluster: Constants of the cluster; None for local runs.
        evaluation: Task of the evaluation.
        slices: Data set of segmented slices.
        threshold: Slice accuracy that the gate requires.
        target: Parameters name, target, canary and registry of the step deploy.
    """
    verdict = evaluation.outputs
    inputs = {"served": verdict["served"], "slices": slices, "reasons": verdict["reasons"]}
    deployment = deploy(
        gate_passed=verdict["passed"], **inputs, **target, monitored_models=cluster.models_folder if cluster else ""
    )
    _configure_evaluation(cluster, evaluation)
    kubernetes.use_config_map_as_volume(deployment, VERIFICATION_MAP, str(VERIFICATION_KEY[1].parent), optional=True)
    if cluster is None:
        return
    if cluster.models_claim:
        kubernetes.mount_pvc(deployment, cluster.models_claim, MODELS)
    add_store_credentials(deployment)
    result = {
        key: deployment.outputs[key]
        for key in ("outcome", "sentence", "version", "served_model_id", "address", "canary")
    }
    figures = {key: verdict[key] for key in ("accuracy", "interval", "model_id")} | {"threshold": threshold}
    summary = outcome(name=target["name"], **figures, **result)
    end = require_served(outcome=result["outcome"], sentence=result["sentence"]).after(summary)
    control = cluster.resources.control
    window = round((_DEPLOY_RETRIES + 1) * control.hours * 3600)
    deployment.set_retry(_DEPLOY_RETRIES, backoff_duration="10s", backoff_factor=2.0, backoff_max_duration=f"{window}s")
    for task in (deployment, summary, end):
        request_resources(task, control)
        task.set_caching_options(False)


def _configure_evaluation(cluster: Cluster | None, evaluation: dsl.PipelineTask) -> None:
    """Give the evaluation the key that signs models and, on a cluster, its resources and its image."""
    kubernetes.use_secret_as_volume(evaluation, SIGNING_SECRET, str(SIGNING_KEY[1].parent), optional=True)
    if cluster is None:
        return
    request_resources(evaluation, cluster.resources.evaluate)
    if cluster.resources.evaluate.count:
        evaluation.set_container_image(TRAINING_IMAGE)


def add_store_credentials(task: dsl.PipelineTask) -> None:
    """Set the object stores' credentials from secrets if the namespace has them; else the pod's identity is used.

    The stores hold volumes, served models, and pre-trained weights for clusters without Internet access.
    """
    variables = {name: name for name in _VOLUMES_VARIABLES}
    kubernetes.use_secret_as_env(task, secret_name=STORE_SECRET, secret_key_to_env=_STORE_VARIABLES, optional=True)
    kubernetes.use_secret_as_env(task, secret_name=VOLUMES_SECRET, secret_key_to_env=variables, optional=True)
