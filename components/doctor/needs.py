"""What a run needs of a cluster: the pods of its tasks and the claims that they mount."""

from typing import Any

from pydantic import Field

from components.shared.config import Frozen


class PodNeeds(Frozen):
    """Requests of the pod of one task.

    Attributes:
        task: Name of the task in the pipeline.
        image: Container image of the pod.
        cpu: CPU request as a Kubernetes quantity; empty for none.
        memory: Memory request as a Kubernetes quantity; empty for none.
        accelerator: Name of the accelerator's resource, such as nvidia.com/gpu; empty for none.
        count: Number of accelerators.
        node_selector: Labels that the node must have.
        tolerations: Taints that the pod tolerates, with the fields of the Kubernetes API.
    """

    task: str
    image: str
    cpu: str = ""
    memory: str = ""
    accelerator: str = ""
    count: int = Field(default=0, ge=0)
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: tuple[dict[str, Any], ...] = ()


class RunNeeds(Frozen):
    """Needs of one pipeline.

    Attributes:
        pods: Pods of the tasks, one entry for each kind of task.
        claims: Names of the PersistentVolumeClaims that the tasks mount.
    """

    pods: tuple[PodNeeds, ...] = ()
    claims: tuple[str, ...] = ()
