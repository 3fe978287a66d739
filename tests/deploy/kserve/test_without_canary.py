"""Rollout on releases of KServe that prune `spec.canary`, and on clusters that do not keep changes."""

from pathlib import Path
from typing import Any

import pytest

from components.shared.errors import DeployError
from tests.deploy.revisions import (
    NEW,
    OLD,
    PATH,
    check_one_stable_revision,
    patches,
    promotions,
    rollback_to,
)


def test_a_model_is_rolled_out_plainly_where_canaries_are_pruned(
    served_artifact: Path, cluster: Any, deploy: Any
) -> None:
    cluster.prunes_canary = True
    result = deploy(served_artifact, NEW)
    assert result.version == 2
    assert len(patches(cluster)) == 1
    check_one_stable_revision(cluster, NEW)
    events = " ".join(result.log.events)
    assert "KServe does not keep the canary in forams's spec" in events
    assert "before the change, an unknown version (a model without an id) answers the known slices" in events
    assert len(cluster.asked) == 1 + 5


def test_a_wrong_model_is_replaced_again_where_canaries_are_pruned(
    served_artifact: Path, cluster: Any, deploy: Any
) -> None:
    cluster.prunes_canary = True
    cluster.wrong_answers.add(NEW)
    with rollback_to(1, "1 of 1 known slices have other scores"):
        deploy(served_artifact, NEW)
    check_one_stable_revision(cluster, OLD)
    assert promotions(cluster) == 1


def test_a_broken_model_can_be_replaced_where_canaries_are_pruned(
    served_artifact: Path, cluster: Any, deploy: Any
) -> None:
    cluster.prunes_canary = True
    cluster.failing[OLD] = 1.0
    result = deploy(served_artifact, NEW)
    assert any("status 500" in event for event in result.log.events)
    check_one_stable_revision(cluster, NEW)


def test_a_cluster_that_drops_a_change_is_a_deploy_error(served_artifact: Path, cluster: Any, deploy: Any) -> None:
    service = cluster.services["lab", "forams"]
    cluster.answer_instead = lambda method, path: (200, service) if (method, path) == ("PATCH", PATH) else None
    with pytest.raises(DeployError, match="forams is unchanged after a step of the rollout"):
        deploy(served_artifact, NEW)
    assert len(patches(cluster)) == 1
