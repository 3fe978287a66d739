"""What a cluster serves after a roll-out, and what it was told meanwhile."""

from itertools import pairwise
from typing import Any

from components.deploy.kserve.inference_service import ServedModel, served_model

KEY = ("lab", "forams")
OLD, NEW = "s3://runs/a", "s3://runs/b"
PATH = "/apis/serving.kserve.io/v1beta1/namespaces/lab/inferenceservices/forams"


def stable(cluster: Any) -> ServedModel | None:
    return served_model(cluster.services[KEY])


def patches(cluster: Any) -> list[dict[str, Any]]:
    return [body["spec"] for method, path, body in cluster.requests if (method, path) == ("PATCH", PATH)]


def promotions(cluster: Any) -> int:
    """Counts the times that the stable predictor began to serve the new model."""
    uris = [OLD, *(spec["predictor"]["model"]["storageUri"] for spec in patches(cluster) if "predictor" in spec)]
    return sum(after == NEW != before for before, after in pairwise(uris))


def check_one_stable_revision(cluster: Any, uri: str) -> None:
    assert stable(cluster).uri == uri
    assert cluster.canary(KEY) is None
    assert {name for _, name in cluster.deployments} == {"forams-predictor", "forams-transformer"}
    assert "--canary_host" not in cluster.services[KEY]["spec"]["transformer"]["containers"][0]["args"]
    assert cluster.users
    assert None not in cluster.users
