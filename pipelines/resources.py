"""Cluster resources of training tasks: accelerators, CPU, memory, nodes, retries and time-outs.

They are constants of a compiled pipeline, because Kubeflow cannot read node selectors and accelerator types from the
item of a loop. Backbones are therefore of two sizes, standard and large, each with its own loop, and a preset may set
the resources of each size.
"""

from collections.abc import Sequence
from typing import Literal

from kfp import kubernetes
from kfp.dsl import PipelineTask
from pydantic import Field

from components.shared.config import Frozen
from components.train.backbones.registry import find_backbone

CHECKPOINTS = "/checkpoints"
_GPU = "nvidia.com/gpu"


class Toleration(Frozen):
    """A toleration of a node's taint, with the fields of the Kubernetes API."""

    key: str | None = None
    operator: Literal["Equal", "Exists"] = "Exists"
    value: str | None = None
    effect: Literal["NoExecute", "NoSchedule", "PreferNoSchedule"] | None = None


class TaskResources(Frozen):
    """Resources of the training task of one backbone.

    Attributes:
        accelerator: Name of the accelerator's resource, such as nvidia.com/gpu, nvidia.com/mig-3g.40gb or amd.com/gpu.
        count: Number of accelerators of the pod. With several, each batch is divided among them; 0 trains on CPUs.
        gpu_memory_gb: Memory of one accelerator in GB. A backbone whose registry entry needs more is of the large size.
        cpu: CPU request and limit of the pod, as a Kubernetes quantity.
        memory: Memory request and limit of the pod, as a Kubernetes quantity.
        node_selector: Labels that the node must have.
        tolerations: Taints of GPU nodes that the pod tolerates.
        hours: Number of hours after which the pod is stopped.
        retries: Number of retries after a failure or preemption. With checkpoints, it resumes after the last epoch.
        checkpoint_claim: PersistentVolumeClaim for the state of unfinished trainings; empty for none.
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
    """Resources of the training tasks by the size of their backbones.

    Attributes:
        standard: Resources of backbones that fit the standard accelerator.
        large: Resources of backbones that need more memory.
    """

    standard: TaskResources = TaskResources()
    large: TaskResources = TaskResources(gpu_memory_gb=40, memory="32Gi", hours=48)


def split_by_size(backbones: Sequence[str], resources: TrainingResources) -> tuple[list[str], list[str]]:
    """Return the backbones that fit the standard accelerator, and those that need the large one.

    Raises:
        BadConfigError: A backbone is not in the registry.
    """
    large = [name for name in backbones if find_backbone(name).gpu.memory_gb > resources.standard.gpu_memory_gb]
    return [name for name in backbones if name not in large], large


def request_resources(task: PipelineTask, resources: TaskResources | None) -> None:
    """Set CPU, memory and GPU requests on a training task. No-op for local runs, which have no resources."""
    if resources is None:
        return
    task.set_cpu_request(resources.cpu).set_cpu_limit(resources.cpu)
    task.set_memory_request(resources.memory).set_memory_limit(resources.memory)
    if resources.count:
        task.set_accelerator_type(resources.accelerator).set_accelerator_limit(resources.count)
    task.set_caching_options(True)
    task.set_retry(resources.retries, backoff_duration="60s", backoff_factor=2.0, backoff_max_duration="1800s")
    _configure_pod(task, resources)


def checkpoint_folder(resources: TaskResources | None) -> str:
    """Return the folder for checkpoints, which outlive the task's pod; empty without a claim for it."""
    return CHECKPOINTS if resources and resources.checkpoint_claim else ""


def _configure_pod(task: PipelineTask, resources: TaskResources) -> None:
    kubernetes.set_timeout(task, round(resources.hours * 3600))
    for label, value in resources.node_selector.items():
        kubernetes.add_node_selector(task, label, value)
    for toleration in resources.tolerations:
        kubernetes.add_toleration(task, **toleration.model_dump())
    if resources.checkpoint_claim:
        kubernetes.mount_pvc(task, resources.checkpoint_claim, CHECKPOINTS)
