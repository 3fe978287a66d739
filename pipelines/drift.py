"""The recurring pipeline: a drift check of stored traffic, and the steps after sustained drift."""

# ruff: noqa: B006, B008, E501 kfp shows the defaults in the UI and keeps the line breaks of descriptions

from dataclasses import replace
from typing import Any

from kfp import dsl, kubernetes
from kfp.dsl.base_component import BaseComponent

from components.evaluate.gate import GateConditions
from monitoring.component import check_drift, collect_for_labelling, outcome
from pipelines.resources import request_resources
from pipelines.run_needs import drift_needs
from pipelines.steps import MODELS, Cluster, add_store_credentials, check_cluster

EVENTS_CLAIM, EVENTS = "taxonflow-events", "/var/taxonflow/events"
MODELS_CLAIM = "taxonflow-models"


def build_drift(training: BaseComponent, cluster: Cluster | None) -> BaseComponent:
    """Build the recurring pipeline, which nests the training pipeline for `retrain`.

    Args:
        training: Training pipeline.
        cluster: Constants of the cluster; None for local runs.
    """
    monitored_models = (cluster.models_folder if cluster else "") or MODELS

    @dsl.pipeline(name="taxonflow-drift", description="Checks stored traffic for drift; made to run again and again.")
    def drift(
        name: str = "foraminifera",
        events: str = EVENTS,
        models: str = monitored_models,
        kept_slices: str = f"{EVENTS}/kept",
        windows: int = 6,
        window_slices: int = 200,
        window_specimens: int = 20,
        sustained_windows: int = 2,
        most_slices: int = 200,
        most_of_specimen: int = 10,
        retrain: bool = False,
        volumes: str = "",
        seed: int = 0,
        target: str = "",
        registry: str = "",
        backbones: list[str] = ["cnn_small", "resnet_small"],
        recipe: dict[str, Any] = {"epochs": 20},
        image_size: int = 224,
        slices_per_species: int = 10000,
        planes: str = "published",
        segmentation: str = "specimen",
        threshold: float = 0.95,
        canary: dict[str, Any] = {"percent": 10},
        gate: dict[str, Any] = GateConditions().model_dump(),
        shards: int = 1,
        doubtful_masks: str = "keep",
        confined: bool = True,
        rare_species: str = "unseen",
        folds: int = -1,
        material: str = "specimens",
    ) -> None:
        """Check the latest windows of the stored traffic; after sustained drift, collect slices and propose a training.

        Args:
            name: Name of the model, as in the endpoint's address.
            events: Folder of the drift events.
            models: Model repository with the cards and reference profiles of the served versions.
            kept_slices: Folder that the transformer keeps answered slices in (--keep_slices); it need not exist.
            windows: Number of latest windows to evaluate.
            window_slices: Smallest number of slices in a window.
            window_specimens: Fewest specimens of a window.
            sustained_windows: Number of consecutive drifted windows that count as sustained drift.
            most_slices: Largest number of slices to collect for labelling.
            most_of_specimen: Largest number of slices of one specimen.
            retrain: Start a training on volumes when drift is sustained, without waiting for labels.
            volumes: Volumes or photographs of the retraining, as in taxonflow-training. Only needed with retrain.
            seed: Seed of every random choice.
            target: Where to deploy. kserve://namespace/service, or file:///folder for a local model repository; empty for the service of the name in the namespace of the run.
            registry: Address of a Kubeflow Model Registry in which served versions are registered, https://host[:port]; empty for none.
            backbones: Networks to train, one task and one GPU each.
            recipe: How to train. Keys as in components/train/recipe.py, for example epochs, batch_size, learning_rate; a dictionary under backbones overrides them for single backbones.
            image_size: Edge of a slice in pixels.
            slices_per_species: Slices to cut for each species, spread evenly over its specimens. A photograph is one slice.
            planes: Cutting planes, published (three axes and 20 to 160 degrees about them) or random.
            segmentation: Treatment of the background, specimen (sets it to black) or none (keeps it).
            threshold: Slice accuracy that the ensemble must reach on the test specimens.
            canary: Trial of a new model on a cluster. Keys as in components/deploy/canary/settings.py, e.g. percent.
            gate: Further conditions of the gate. Keys as in components/evaluate/gate.py, e.g. smallest_recall of each species.
            shards: Pods that cut volumes at the same time. The slices do not depend on it.
            doubtful_masks: Treatment of scans whose segmentation is doubtful, keep (reports them) or refuse.
            confined: Whether the files of a manifest must be inside its folder. Object stores are always confined.
            rare_species: Treatment of species with fewer than three specimens, unseen (the model has to recognize them as unknown), train (outside the gate's floors) or refuse.
            folds: Folds in which every specimen is tested once, instead of a test split; 0 for none, -1 for 5 folds of up to 150 specimens.
            material: Name of the specimens in the report.
        """
        check = check_drift(
            events=events,
            models=models,
            name=name,
            sustained_windows=sustained_windows,
            seed=seed,
            windows=windows,
            window_slices=window_slices,
            window_specimens=window_specimens,
        ).after(*start_drift(cluster, name, target))
        set_up_monitoring(check, cluster)
        with dsl.If(check.outputs["Output"] == True, name="drift-sustained"):  # noqa: E712 kfp builds the condition
            most = {"most_slices": most_slices, "most_of_specimen": most_of_specimen}
            collection = collect_for_labelling(
                drifted=check.outputs["drifted"], kept_slices=kept_slices, name=name, retrain=retrain, **most
            )
            set_up_monitoring(collection, cluster)
            with dsl.If(retrain == True, name="retrain"):  # noqa: E712 kfp builds the condition
                training(
                    volumes=volumes,
                    name=name,
                    seed=seed,
                    target=target,
                    registry=registry,
                    backbones=backbones,
                    recipe=recipe,
                    image_size=image_size,
                    slices_per_species=slices_per_species,
                    planes=planes,
                    segmentation=segmentation,
                    threshold=threshold,
                    canary=canary,
                    gate=gate,
                    shards=shards,
                    doubtful_masks=doubtful_masks,
                    confined=confined,
                    rare_species=rare_species,
                    folds=folds,
                    material=material,
                )
        if cluster:
            summary = outcome(name=name, check=check.outputs["drifted"], retrain=retrain)
            request_resources(summary, cluster.resources.control)
            summary.set_caching_options(False)

    return drift


def start_drift(cluster: Cluster | None, name: Any, target: Any) -> list[dsl.PipelineTask]:
    """Add the check of the cluster; none in local runs."""
    if cluster is None:
        return []
    needs = drift_needs(cluster.resources, _claims(cluster))
    return [check_cluster(replace(cluster, needs=needs), name, target)]


def set_up_monitoring(task: dsl.PipelineTask, cluster: Cluster | None) -> None:
    """Mount the claims of the endpoint and its monitor in a task, and disable the cache for it."""
    folders = {EVENTS_CLAIM: EVENTS, **{claim: MODELS for claim in _claims(cluster) if claim != EVENTS_CLAIM}}
    for claim, folder in folders.items():
        kubernetes.mount_pvc(task, claim, folder)
    add_store_credentials(task)
    request_resources(task, cluster.resources.control if cluster else None)
    task.set_caching_options(False)


def _claims(cluster: Cluster | None) -> tuple[str, ...]:
    """Return the claims of the events and of the served models; models in an object store have none."""
    models = MODELS_CLAIM if cluster is None or not cluster.monitored_models else cluster.models_claim
    return (EVENTS_CLAIM, *([models] if models else []))
