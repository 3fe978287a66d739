"""Places outside the endpoint in which a deployment is recorded."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DeployRecords:
    """Places in which the deploy step records a served version beside the endpoint.

    Attributes:
        monitored_models: Folder or fsspec URL that the drift monitor reads; "" for none.
        registry: Address of a Kubeflow Model Registry; "" for none.
    """

    monitored_models: str = ""
    registry: str = ""
