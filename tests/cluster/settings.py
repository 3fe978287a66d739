"""Settings of the cluster tests, from environment variables."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from components import __version__

MODEL = "foraminifera"
MODELS_CLAIM = "taxonflow-test-models"
PART = {"taxonflow.dev/test": "cluster"}
"""Label of the objects that the tests make beside the overlay's."""


@dataclass(frozen=True)
class Settings:
    """Settings of the tests.

    Attributes:
        kubeconfig: File with the address and the credentials of the cluster.
        host: Address of Kubeflow Pipelines; "" leaves out the checks that need it.
        namespace: Namespace of runs, endpoint, claims and monitor.
        account: Service account of the runs.
        registry: Registry of the images; "" for images that the nodes hold.
        tag: Tag of the images.
        serving_image: Image with TensorFlow Serving's REST interface in place of TensorFlow Serving; "" for none.
        standin: Script that makes Deployments and Services of InferenceServices where no KServe controller runs.
        access_mode: Access mode of the claim with the tests' models; several nodes need ReadWriteMany.
        node_folder: Folder of the node in which the tests make volumes where the cluster provisions none.
        models: Folder with the models of an earlier run of the tests; None makes them again.
    """

    kubeconfig: str
    host: str
    namespace: str
    account: str
    registry: str
    tag: str
    serving_image: str
    standin: str
    access_mode: str
    node_folder: str
    models: Path | None

    @classmethod
    def from_environment(cls) -> Self:
        """Read the variables that docs/guides/testing-on-a-cluster.md lists."""
        models = _variable("MODELS")
        return cls(
            kubeconfig=_variable("KUBECONFIG"),
            host=_variable("HOST"),
            namespace=_variable("NAMESPACE") or "kubeflow",
            account=_variable("ACCOUNT") or "pipeline-runner",
            registry=_variable("REGISTRY").rstrip("/"),
            tag=_variable("TAG") or __version__,
            serving_image=_variable("TF_SERVING_IMAGE"),
            standin=_variable("KSERVE_STANDIN"),
            access_mode=_variable("ACCESS_MODE") or "ReadWriteOnce",
            node_folder=_variable("NODE_FOLDER"),
            models=Path(models).resolve() if models else None,
        )

    def image(self, name: str) -> str:
        """Return the address of one of Taxonflow's images."""
        return f"{self.registry}/taxonflow/{name}:{self.tag}" if self.registry else f"taxonflow/{name}:{self.tag}"


def _variable(name: str) -> str:
    return os.environ.get(name, "").strip()
