"""Replicas of the stable predictor while a canary runs."""

from pathlib import Path
from typing import Any

import pytest

from components.shared.errors import DeployError
from tests.deploy.revisions import NEW, check_one_stable_revision, patches, rollback_to


@pytest.mark.parametrize("maximum", [None, 3])
@pytest.mark.parametrize("fate", ["promoted", "rolled back"])
def test_the_stable_model_keeps_its_replicas_beside_a_canary(
    served_artifact: Path, cluster: Any, deploy: Any, fate: str, maximum: int | None
) -> None:
    predictor = cluster.services["lab", "forams"]["spec"]["predictor"]
    predictor["minReplicas"] = 3
    if maximum:
        predictor["maxReplicas"] = maximum
    cluster.restore(cluster.services["lab", "forams"], NEW)
    cluster.stable_replicas.clear()
    if fate == "promoted":
        deploy(served_artifact, NEW)
    else:
        cluster.failing[NEW] = 0.5
        with rollback_to(1, "errors: the canary did worse"):
            deploy(served_artifact, NEW, pairs=100)
    assert set(cluster.stable_replicas) == {3}
    predictor = cluster.services["lab", "forams"]["spec"]["predictor"]
    assert (predictor["minReplicas"], predictor.get("maxReplicas")) == (3, maximum)
    raised = patches(cluster)[0]["predictor"]
    assert raised == {"minReplicas": 4, **({"maxReplicas": 4} if maximum else {})}


def test_replicas_survive_a_canary_that_replaces_another(served_artifact: Path, cluster: Any, deploy: Any) -> None:
    cluster.services["lab", "forams"]["spec"]["predictor"]["minReplicas"] = 2
    cluster.restore(cluster.services["lab", "forams"], NEW)
    cluster.lose_connection = lambda _method, _path: "before" if len(patches(cluster)) >= 1 else ""
    with pytest.raises(DeployError):
        deploy(served_artifact, "pvc://runs/killed")
    cluster.lose_connection = lambda _method, _path: ""
    deploy(served_artifact, NEW)
    assert cluster.services["lab", "forams"]["spec"]["predictor"]["minReplicas"] == 2
    check_one_stable_revision(cluster, NEW)
