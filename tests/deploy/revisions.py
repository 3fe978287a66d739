"""Assertions on the model that a fake cluster serves after a rollout, and on the patches that it received."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest

from components.deploy.kserve.inference_service import ModelVersion, requested_model
from components.deploy.kserve.report import RolledBackError

KEY = ("lab", "forams")
OLD, NEW = "pvc://runs/a", "pvc://runs/b"
PATH = "/apis/serving.kserve.io/v1beta1/namespaces/lab/inferenceservices/forams"


def stable(cluster: Any) -> ModelVersion | None:
    return requested_model(cluster.services[KEY])


@contextmanager
def rollback_to(version: int, reason: str) -> Iterator[None]:
    """Check that the block ends in a rollback to a version for a reason."""
    with pytest.raises(RolledBackError, match=reason) as error:
        yield
    assert error.value.result.version == version


def patches(cluster: Any) -> list[dict[str, Any]]:
    return [body["spec"] for method, path, body in cluster.requests if (method, path) == ("PATCH", PATH)]


def promotions(cluster: Any) -> int:
    """Return how often the stable predictor started to serve the new model."""
    uris = [OLD, *(spec["predictor"]["model"]["storageUri"] for spec in patches(cluster) if "predictor" in spec)]
    return sum(after == NEW != before for before, after in pairwise(uris))


def check_one_stable_revision(cluster: Any, uri: str) -> None:
    assert stable(cluster).uri == uri
    assert cluster.canary(KEY) is None
    assert {name for _, name in cluster.deployments} == {"forams-predictor", "forams-transformer"}
    assert "--canary_host" not in cluster.services[KEY]["spec"]["transformer"]["containers"][0]["args"]
    assert cluster.users
    assert None not in cluster.users
