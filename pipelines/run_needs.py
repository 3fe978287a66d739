"""What the runs of a pipeline need of a cluster: the input of the task doctor, a constant of the compiled pipeline."""

from typing import Any

from components.doctor.needs import PodNeeds, RunNeeds
from components.shared.container_images import COMPONENT_IMAGE, MONITORING_IMAGE, TRAINING_IMAGE
from pipelines.resources import PodResources, TaskResources, TrainingResources


def models_claim(monitored_models: str) -> str:
    """Return the claim with the monitor's models; empty for none and for a URL."""
    return "" if "://" in monitored_models else monitored_models


def training_needs(resources: TrainingResources, sizes: tuple[str, ...], claims: tuple[str, ...]) -> dict[str, Any]:
    """Return the needs of a training pipeline.

    Args:
        resources: Resources of the tasks.
        sizes: Sizes of the backbones that the pipeline trains, "standard" and "large".
        claims: Claims of its tasks beside those for checkpoints.
    """
    trainings: list[TaskResources] = [getattr(resources, size) for size in sizes]
    pods = [
        _pod("deploy", COMPONENT_IMAGE, resources.control),
        _pod("ingest-cut", COMPONENT_IMAGE, resources.data),
        *(_pod("train", _image(training), training) for training in trainings),
        _pod("evaluate", _image(resources.evaluate), resources.evaluate),
    ]
    return _document(pods, [*claims, *(training.checkpoint_claim for training in trainings)])


def drift_needs(resources: TrainingResources, claims: tuple[str, ...]) -> dict[str, Any]:
    """Return the needs of the drift pipeline; the training that it may start checks its own.

    Args:
        resources: Resources of the tasks.
        claims: Claims of its tasks.
    """
    pods = [
        _pod("doctor", COMPONENT_IMAGE, resources.control),
        _pod("check-drift", MONITORING_IMAGE, resources.control),
    ]
    return _document(pods, list(claims))


def _image(resources: PodResources) -> str:
    """Return the image of a step that uses accelerators if it has any."""
    return TRAINING_IMAGE if resources.count else COMPONENT_IMAGE


def _pod(task: str, image: str, resources: PodResources) -> PodNeeds:
    accelerator = {"accelerator": resources.accelerator, "count": resources.count} if resources.count else {}
    return PodNeeds(
        task=task,
        image=image,
        cpu=resources.cpu,
        memory=resources.memory,
        node_selector=resources.node_selector,
        tolerations=tuple(toleration.model_dump(exclude_none=True) for toleration in resources.tolerations),
        **accelerator,
    )


def _document(pods: list[PodNeeds], claims: list[str]) -> dict[str, Any]:
    needs = RunNeeds(pods=tuple(pods), claims=tuple(sorted({claim for claim in claims if claim})))
    return needs.model_dump(mode="json")
