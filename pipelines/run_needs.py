"""Needs of a pipeline on a cluster: the constant of its first task, `doctor`."""

from typing import Any

from components.doctor.needs import PodNeeds, RunNeeds
from components.shared.container_images import COMPONENT_IMAGE, TRAINING_IMAGE
from pipelines.resources import TaskResources, TrainingResources


def run_needs(resources: TrainingResources, with_large: bool = False) -> dict[str, Any]:
    """Return the needs of a training pipeline as JSON.

    Args:
        resources: Cluster resources of the training tasks.
        with_large: Whether the pipeline also trains backbones of the large size.
    """
    sizes = {"train": resources.standard, **({"train-large": resources.large} if with_large else {})}
    pods = [PodNeeds(task="steps", image=COMPONENT_IMAGE), *(_training_pod(*size) for size in sizes.items())]
    claims = sorted({size.checkpoint_claim for size in sizes.values()} - {""})
    return RunNeeds(pods=tuple(pods), claims=tuple(claims)).model_dump()


def _training_pod(task: str, resources: TaskResources) -> PodNeeds:
    tolerations = [toleration.model_dump(exclude_none=True) for toleration in resources.tolerations]
    return PodNeeds(
        task=task,
        image=TRAINING_IMAGE,
        cpu=resources.cpu,
        memory=resources.memory,
        accelerator=resources.accelerator if resources.count else "",
        count=resources.count,
        node_selector=resources.node_selector,
        tolerations=tuple(tolerations),
    )
