"""Cluster resources of the tasks: accelerators, CPU, memory, nodes, retries, time-outs and security context.

They are constants of a compiled pipeline, because Kubeflow cannot read node selectors and accelerator types from the
item of a loop. Backbones are therefore of two sizes, standard and large, each with its own loop, and a preset may set
the resources of each size.
"""

from collections.abc import Sequence
from typing import Any, Literal

from kfp import kubernetes
from kfp.dsl import PipelineTask
from pydantic import Field

from components.shared.config import Frozen
from components.train.backbones.registry import find_backbone

CHECKPOINTS = "/checkpoints"
SHARED_MEMORY = "/dev/shm"  # noqa: S108 the path of POSIX shared memory
_USER = 1000  # of the images
_GPU = "nvidia.com/gpu"
_SMALL_CPU, _SMALL_MEMORY = "250m", "1Gi"


class Toleration(Frozen):
    """A toleration of a node's taint, with the fields of the Kubernetes API."""

    key: str | None = None
    operator: Literal["Equal", "Exists"] = "Exists"
    value: str | None = None
    effect: Literal["NoExecute", "NoSchedule", "PreferNoSchedule"] | None = None


class PodResources(Frozen):
    """Resources of the pod of one task.

    Attributes:
        accelerator: Name of the accelerator's resource, such as nvidia.com/gpu, nvidia.com/mig-3g.40gb or amd.com/gpu.
        count: Number of accelerators of the pod; 0 for none.
        cpu: CPU request of the pod, as a Kubernetes quantity.
        cpu_limit: CPU limit of the pod; empty for the request.
        memory: Memory request of the pod, as a Kubernetes quantity.
        memory_limit: Memory limit of the pod; empty for the request.
        node_selector: Labels that the node must have.
        tolerations: Taints that the pod tolerates.
        hours: Number of hours after which the pod is stopped.
        retries: Number of retries after a failure of the pod. Kubeflow does not retry a pod that was deleted.
    """

    accelerator: str = _GPU
    count: int = Field(default=0, ge=0, le=64)
    cpu: str = "250m"
    cpu_limit: str = "2"
    memory: str = "512Mi"
    memory_limit: str = "4Gi"
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    hours: float = Field(default=6, gt=0)
    retries: int = Field(default=0, ge=0, le=100)


class TaskResources(PodResources):
    """Resources of the training task of one backbone.

    Attributes:
        count: Number of accelerators of the pod. With several, each batch is divided among them; 0 trains on CPUs.
        gpu_memory_gb: Memory of one accelerator in GB. A backbone whose registry entry needs more is of the large size.
        retries: Number of retries after a failure of the pod, such as an eviction. With checkpoints, a training resumes
            after the last epoch. Kubeflow does not retry a pod that was deleted.
        checkpoint_claim: PersistentVolumeClaim for the state of unfinished trainings; empty for none.
    """

    count: int = Field(default=1, ge=0, le=64)
    gpu_memory_gb: int = Field(default=16, ge=1)
    cpu: str = "8"
    cpu_limit: str = ""
    memory: str = "16Gi"
    memory_limit: str = ""
    tolerations: tuple[Toleration, ...] = (Toleration(key=_GPU, effect="NoSchedule"),)
    hours: float = Field(default=24, gt=0)
    retries: int = Field(default=3, ge=0, le=100)
    checkpoint_claim: str = ""


class EvaluationResources(PodResources):
    """Resources of the evaluation."""

    cpu: str = "4"
    cpu_limit: str = "8"
    memory: str = "8Gi"
    memory_limit: str = "32Gi"
    hours: float = Field(default=12, gt=0)
    retries: int = Field(default=2, ge=0, le=100)


class DataResources(PodResources):
    """Resources of the steps that make, cut and segment slices."""

    cpu: str = "2"
    cpu_limit: str = "8"
    memory: str = "4Gi"
    memory_limit: str = "32Gi"
    hours: float = Field(default=24, gt=0)


class TrainingResources(Frozen):
    """Resources of the tasks of a pipeline.

    Attributes:
        standard: Resources of the training of backbones that fit the standard accelerator.
        large: Resources of the training of backbones that need more memory.
        evaluate: Resources of the evaluation; with accelerators it runs in the image of the trainings.
        data: Resources of the steps that make, cut and segment slices.
        control: Resources of the other steps: checks, deployment and outcome.
    """

    standard: TaskResources = TaskResources()
    large: TaskResources = TaskResources(gpu_memory_gb=40, memory="32Gi", hours=48)
    evaluate: EvaluationResources = EvaluationResources()
    data: DataResources = DataResources()
    control: PodResources = PodResources()


def cpu_resources(resources: TrainingResources) -> TrainingResources:
    """Return resources without accelerators and their nodes, with requests that fit a node of two CPUs.

    The limits stay, so that a task uses what its node has. The tasks of control request little in every preset.
    """
    sizes = {name: getattr(resources, name) for name in TrainingResources.model_fields if name != "control"}
    small = {name: size.model_copy(update=_small_requests(size)) for name, size in sizes.items()}
    return TrainingResources(**small, control=resources.control)


def _small_requests(size: PodResources) -> dict[str, Any]:
    """Return the fields of a pod that differ without accelerators."""
    limits = {"cpu_limit": size.cpu_limit or size.cpu, "memory_limit": size.memory_limit or size.memory}
    nodes: dict[str, Any] = {"node_selector": {}, "tolerations": ()} if size.count else {}
    return {"count": 0, "cpu": _SMALL_CPU, "memory": _SMALL_MEMORY, **limits, **nodes}


def split_by_size(backbones: Sequence[str], resources: TrainingResources) -> tuple[list[str], list[str]]:
    """Return the backbones that fit the standard accelerator, and those that need the large one.

    Raises:
        BadConfigError: A backbone is not in the registry.
    """
    large = [name for name in backbones if find_backbone(name).gpu.memory_gb > resources.standard.gpu_memory_gb]
    return [name for name in backbones if name not in large], large


def request_resources(task: PipelineTask, resources: PodResources | None) -> None:
    """Set requests, limits, node, time-out, retries and security context of a task; no-op for local runs.

    Args:
        task: Task of any step.
        resources: Resources of its pod; None for local runs.
    """
    if resources is None:
        return
    task.set_cpu_request(resources.cpu).set_cpu_limit(resources.cpu_limit or resources.cpu)
    task.set_memory_request(resources.memory).set_memory_limit(resources.memory_limit or resources.memory)
    if resources.count:
        task.set_accelerator_type(resources.accelerator).set_accelerator_limit(resources.count)
    if resources.count > 1:  # a pod's /dev/shm has 64 MiB, too little for several accelerators to exchange gradients
        kubernetes.empty_dir_mount(task, "shared-memory", SHARED_MEMORY, medium="Memory")
    _set_retries(task, resources)
    _configure_pod(task, resources)


def checkpoint_folder(resources: TaskResources | None) -> str:
    """Return the folder for checkpoints, which outlive the task's pod; empty without a claim for it."""
    return CHECKPOINTS if resources and resources.checkpoint_claim else ""


def mount_checkpoints(task: PipelineTask, resources: TaskResources | None) -> None:
    """Mount the claim for checkpoints in a training task, if there is one."""
    if resources and resources.checkpoint_claim:
        kubernetes.mount_pvc(task, resources.checkpoint_claim, CHECKPOINTS)


def _set_retries(task: PipelineTask, resources: PodResources) -> None:
    """Set retries whose window, which begins with the first attempt, admits the last attempt in full."""
    if resources.retries:
        window = round((resources.retries + 1) * resources.hours * 3600)
        task.set_retry(resources.retries, backoff_duration="60s", backoff_factor=2.0, backoff_max_duration=f"{window}s")


def _configure_pod(task: PipelineTask, resources: PodResources) -> None:
    kubernetes.set_timeout(task, round(resources.hours * 3600))
    # Kubeflow sets the rest of what the Pod Security Standard `restricted` requires.
    kubernetes.set_security_context(task, run_as_user=_USER, run_as_group=_USER, run_as_non_root=True)
    for label, value in resources.node_selector.items():
        kubernetes.add_node_selector(task, label, value)
    for toleration in resources.tolerations:
        kubernetes.add_toleration(task, **toleration.model_dump())
