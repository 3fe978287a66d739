"""What training tasks ask of a cluster: accelerators, memory, nodes, retries, time-outs.

They are constants of a compiled pipeline: Kubeflow resolves neither node selectors nor accelerator types from a loop's
item. Backbones come in two sizes, each with a loop of its own, and a preset may say what each size asks for. A run on
this machine asks for nothing.
"""

import runpy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal

from kfp import kubernetes
from kfp.dsl import PipelineTask
from kfp.dsl.base_component import BaseComponent
from pydantic import Field

from components.shared.config import Frozen
from components.train.backbones.registry import find_backbone

Size = Literal["standard", "large"]
CHECKPOINTS = "/checkpoints"
_GPU = "nvidia.com/gpu"


class Toleration(Frozen):
    """A taint that the pod tolerates, in Kubernetes' words."""

    key: str | None = None
    operator: Literal["Equal", "Exists"] = "Exists"
    value: str | None = None
    effect: Literal["NoExecute", "NoSchedule", "PreferNoSchedule"] | None = None


class Placement(Frozen):
    """What the training task of one backbone asks for.

    Attributes:
        accelerator: the resource's name, such as nvidia.com/gpu, nvidia.com/mig-3g.40gb or amd.com/gpu.
        count: accelerators of the pod; with several, batches are shared out among them. 0 trains on processors.
        gpu_memory_gb: memory of one accelerator; a backbone whose registry entry wants more is of the large size.
        cpu: processors of the pod, as Kubernetes writes them.
        memory: main memory of the pod.
        node_selector: labels that the node has to carry.
        tolerations: taints of GPU nodes.
        hours: after which the pod is stopped.
        retries: after a failure or a preemption; training goes on from its last epoch if there are checkpoints.
        checkpoint_claim: a PersistentVolumeClaim that keeps the state of unfinished trainings; none where empty.
    """

    accelerator: str = _GPU
    count: int = Field(default=1, ge=0, le=64)
    gpu_memory_gb: int = Field(default=16, ge=1)
    cpu: str = "8"
    memory: str = "16Gi"
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = (Toleration(key=_GPU, effect="NoSchedule"),)
    hours: float = Field(default=24, gt=0)
    retries: int = Field(default=3, ge=0, le=100)
    checkpoint_claim: str = ""


class TrainingResources(Frozen):
    """What the backbones of each size ask for."""

    standard: Placement = Placement()
    large: Placement = Placement(gpu_memory_gb=40, memory="32Gi", hours=48)


_chosen: ContextVar[TrainingResources | None] = ContextVar("chosen", default=None)


def cluster_pipelines(resources: TrainingResources) -> dict[str, BaseComponent]:
    """Defines the pipelines anew, with the resources built in.

    Returns:
        `pipelines.training.PIPELINES` for a cluster, and `drift`.
    """
    with _choose(resources):
        return {**defined_anew("training")["PIPELINES"], "drift": defined_anew("drift")["drift"]}


def defined_anew(module: str) -> dict[str, Any]:
    """Runs a module of pipelines once more, so that what they nest asks for the resources chosen now.

    Returns:
        The module's names.
    """
    return runpy.run_path(str(Path(__file__).with_name(f"{module}.py")))


def by_size(backbones: Sequence[str], resources: TrainingResources) -> tuple[list[str], list[str]]:
    """Divides backbones into those that fit the standard accelerator and those that need the large one.

    Raises:
        BadConfigError: the registry has no such backbone.
    """
    large = [name for name in backbones if find_backbone(name).gpu.memory_gb > resources.standard.gpu_memory_gb]
    return [name for name in backbones if name not in large], large


def place(task: PipelineTask, size: Size) -> PipelineTask:
    """Lets a training task ask for what the chosen resources say of its size; on this machine for nothing."""
    chosen = _chosen.get()
    if chosen is None:
        return task
    placement: Placement = getattr(chosen, size)
    task.set_cpu_request(placement.cpu).set_cpu_limit(placement.cpu)
    task.set_memory_request(placement.memory).set_memory_limit(placement.memory)
    if placement.count:
        task.set_accelerator_type(placement.accelerator).set_accelerator_limit(placement.count)
    task.set_caching_options(True)
    task.set_retry(placement.retries, backoff_duration="60s", backoff_factor=2.0, backoff_max_duration="1800s")
    _place_pod(task, placement)
    return task


def checkpoints(size: Size) -> str:
    """Returns the folder that outlives a pod of this size, or an empty string."""
    chosen = _chosen.get()
    return CHECKPOINTS if chosen and getattr(chosen, size).checkpoint_claim else ""


def _place_pod(task: PipelineTask, placement: Placement) -> None:
    kubernetes.set_timeout(task, round(placement.hours * 3600))
    for label, value in placement.node_selector.items():
        kubernetes.add_node_selector(task, label, value)
    for toleration in placement.tolerations:
        kubernetes.add_toleration(task, **toleration.model_dump())
    if placement.checkpoint_claim:
        kubernetes.mount_pvc(task, placement.checkpoint_claim, CHECKPOINTS)


@contextmanager
def _choose(resources: TrainingResources) -> Iterator[None]:
    token = _chosen.set(resources)
    try:
        yield
    finally:
        _chosen.reset(token)
