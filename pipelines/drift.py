"""The recurring pipeline: the monitor's check on stored traffic, and what follows sustained drift."""

from functools import partial
from typing import Any

from kfp import dsl, kubernetes

from monitoring.component import check_drift, collect_for_labelling
from pipelines.resources import defined_anew
from pipelines.shared_parameters import WithParametersOf

EVENTS_CLAIM, EVENTS = "taxonflow-events", "/var/taxonflow/events"
MODELS_CLAIM, MODELS = "taxonflow-models", "/var/taxonflow/models"

training = defined_anew("training")["training"]


def beside_the_endpoint(task: dsl.PipelineTask) -> dsl.PipelineTask:
    """Gives a task the claims that the endpoint and its monitor use; its result is never taken from the cache."""
    kubernetes.mount_pvc(task, EVENTS_CLAIM, EVENTS)
    kubernetes.mount_pvc(task, MODELS_CLAIM, MODELS)
    return task.set_caching_options(False)


@dsl.pipeline(name="taxonflow-drift", description="Checks stored traffic for drift; made to run again and again.")
@partial(WithParametersOf, other=training)
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
    seed: int = 0,
    **of_training: Any,
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
        seed: Seed of every random choice.
        **of_training: What retraining takes besides.
    """
    size = {"windows": windows, "window_slices": window_slices, "window_specimens": window_specimens}
    checked = check_drift(
        events=events, models=models, name=name, sustained_windows=sustained_windows, seed=seed, **size
    )
    beside_the_endpoint(checked)
    with dsl.If(checked.outputs["Output"] == True, name="drift-sustained"):  # noqa: E712 kfp builds the condition
        most = {"most_slices": most_slices, "most_of_specimen": most_of_specimen}
        collected = collect_for_labelling(
            drifted=checked.outputs["drifted"], kept_slices=kept_slices, name=name, retrain=retrain, **most
        )
        beside_the_endpoint(collected)
        with dsl.If(retrain == True, name="retrain"):  # noqa: E712 kfp builds the condition
            training(volumes=volumes, name=name, seed=seed, **of_training)
