"""The recurring pipeline: the monitor's check on stored traffic, and what follows sustained drift."""

from typing import Any

from kfp import dsl, kubernetes

from monitoring.component import check_drift, collect_for_labelling
from pipelines.placement import defined_anew

EVENTS_CLAIM, EVENTS = "taxonflow-events", "/var/taxonflow/events"
MODELS_CLAIM, MODELS = "taxonflow-models", "/var/taxonflow/models"

_TRAINING = defined_anew("training")
training, GATE = _TRAINING["training"], _TRAINING["GATE"]


def beside_the_endpoint(task: dsl.PipelineTask) -> dsl.PipelineTask:
    """Gives a task the claims that the endpoint and its monitor use; its result is never taken from the cache."""
    kubernetes.mount_pvc(task, EVENTS_CLAIM, EVENTS)
    kubernetes.mount_pvc(task, MODELS_CLAIM, MODELS)
    return task.set_caching_options(False)


@dsl.pipeline(name="taxonflow-drift", description="Checks stored traffic for drift; made to run again and again.")
def drift(
    name: str = "foraminifera",
    events: str = EVENTS,
    models: str = MODELS,
    kept_slices: str = f"{EVENTS}/kept",
    windows: int = 6,
    window_slices: int = 200,
    window_specimens: int = 20,
    sustained_windows: int = 2,
    most_slices: int = 200,
    most_of_specimen: int = 10,
    retrain: bool = False,
    volumes: str = "",
    target: str = "kserve://taxonflow/foraminifera",
    backbones: list[str] = ["cnn_small", "resnet_small"],  # noqa: B006 kfp reads the default as the UI's
    recipe: dict[str, Any] = {"epochs": 20},  # noqa: B006 kfp reads the default as the UI's
    image_size: int = 224,
    slices_per_species: int = 10000,
    planes: str = "published",
    segmentation: str = "specimen",
    threshold: float = 0.95,
    canary: dict[str, Any] = {"percent": 10},  # noqa: B006 kfp reads the default as the UI's
    gate: dict[str, Any] = GATE,
    material: str = "specimens",
    seed: int = 0,
    shards: int = 1,
) -> None:
    """Judges the latest windows of the stored traffic; after sustained drift it collects slices and proposes training.

    Args:
        name: Name of the model, as in the endpoint's address.
        events: Folder of the drift events.
        models: Model repository with the cards and reference profiles of the served versions.
        kept_slices: Folder that the transformer keeps answered slices in (--keep_slices); it need not exist.
        windows: How many of the latest windows are judged.
        window_slices: Fewest slices of a window.
        window_specimens: Fewest specimens of a window.
        sustained_windows: Drift in this many windows in a row is sustained.
        most_slices: Most slices that are collected for labelling.
        most_of_specimen: Most of them from one specimen.
        retrain: Start a training on volumes when drift is sustained, without waiting for labels.
        volumes: What retraining takes, as in taxonflow-training. Only needed with retrain.
        target: Where retraining deploys to.
        backbones: Networks that retraining trains.
        recipe: How retraining trains. Keys as in components/train/recipe.py.
        image_size: Edge of a slice in pixels.
        slices_per_species: Slices to cut for each species, spread evenly over its specimens.
        planes: Cutting planes, published or random.
        segmentation: What is done with the background, specimen (all but the specimen becomes black) or none.
        threshold: Slice accuracy that the ensemble must reach on the test specimens.
        canary: How retraining tries the new version on users, as in taxonflow-training.
        gate: What retraining asks of a model besides, as in taxonflow-training.
        material: What the images show, as in taxonflow-training.
        seed: Seed of every random choice.
        shards: Pods that cut volumes at the same time.
    """
    checked = beside_the_endpoint(
        check_drift(
            events=events,
            models=models,
            name=name,
            windows=windows,
            window_slices=window_slices,
            window_specimens=window_specimens,
            sustained_windows=sustained_windows,
            seed=seed,
        )
    )
    with dsl.If(checked.outputs["Output"] == True, name="drift-sustained"):  # noqa: E712 kfp builds the condition
        beside_the_endpoint(
            collect_for_labelling(
                drifted=checked.outputs["drifted"],
                kept_slices=kept_slices,
                name=name,
                most_slices=most_slices,
                most_of_specimen=most_of_specimen,
                retrain=retrain,
            )
        )
        with dsl.If(retrain == True, name="retrain"):  # noqa: E712 kfp builds the condition
            training(
                volumes=volumes,
                name=name,
                target=target,
                backbones=backbones,
                recipe=recipe,
                image_size=image_size,
                slices_per_species=slices_per_species,
                planes=planes,
                segmentation=segmentation,
                threshold=threshold,
                canary=canary,
                gate=gate,
                material=material,
                seed=seed,
                shards=shards,
            )
