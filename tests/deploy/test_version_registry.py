"""The registry of versions: a number's address and bytes never change."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from components.deploy.kserve.client import Cluster
from components.deploy.kserve.inference_service import ServedModel
from components.deploy.kserve.version_registry import register
from components.deploy.verified_model import open_publication
from components.shared.errors import DeployError
from components.shared.signing import sign_folder

REGISTRY = ("lab", "forams-versions")


@pytest.fixture
def lab(cluster: Any) -> Cluster:  # noqa: ARG001 the cluster must answer
    return Cluster("lab")


def test_each_address_gets_the_next_number_once(lab: Cluster, cluster: Any) -> None:
    given = [register(lab, "forams", f"s3://runs/{run}", run) for run in "abab"]
    assert given == [ServedModel(number, f"s3://runs/{run}") for number, run in zip((1, 2, 1, 2), "abab", strict=True)]
    assert [json.loads(text)["digest"] for text in cluster.config_maps[REGISTRY]["data"].values()] == ["a", "b"]


def test_the_registry_is_a_valid_config_map(lab: Cluster, cluster: Any) -> None:
    register(lab, "forams", "s3://runs/a", "a")
    kubernetes_validate.validate(cluster.config_maps[REGISTRY], "1.33", strict=True)


@pytest.mark.parametrize("text", ["no JSON", '{"uri": "s3://runs/a"}', "3"])
def test_an_entry_that_somebody_else_wrote_is_one_sentence(lab: Cluster, cluster: Any, text: str) -> None:
    register(lab, "forams", "s3://runs/a", "a")
    cluster.config_maps[REGISTRY]["data"]["2"] = text
    with pytest.raises(DeployError, match="entry of version 2 is"):
        register(lab, "forams", "s3://runs/b", "b")


def test_the_same_address_with_other_bytes_is_refused(
    make_served: Callable[..., Path], cluster: Any, deploy: Any
) -> None:
    deploy(make_served("a"), "s3://runs/a")
    writes = len(cluster.written())
    with pytest.raises(DeployError, match=r"s3://runs/a is version 1 with the digest .* an address whose files never"):
        deploy(make_served("b"), "s3://runs/a")
    assert len(cluster.written()) == writes


def test_a_service_from_before_the_registry_keeps_its_number(served: Path, cluster: Any, deploy: Any) -> None:
    deploy(served, "s3://runs/a")
    deploy(served, "s3://runs/b")
    cluster.config_maps.clear()
    assert deploy(served, "s3://runs/b").version == 2
    assert deploy(served, "s3://runs/c").version == 3


def test_the_oldest_entries_are_forgotten_before_the_config_map_is_full(lab: Cluster, cluster: Any) -> None:
    register(lab, "forams", "s3://runs/0", "0")
    entry = {str(number): json.dumps({"uri": f"s3://runs/{number}", "digest": "0"}) for number in range(2, 1001)}
    cluster.config_maps[REGISTRY]["data"].update(entry)
    assert register(lab, "forams", "s3://runs/new", "1").version == 1001
    data = cluster.config_maps[REGISTRY]["data"]
    assert (len(data), "1" in data, "1001" in data) == (1000, False, True)


def digest_of(served: Path) -> str:
    sign_folder(served / "1", None)
    return open_publication(served, "s3://runs/a", "foraminifera").digest


def test_a_digest_sees_every_byte_and_every_name(make_served: Callable[..., Path]) -> None:
    served = make_served("a")
    folder = served / "1" / "variables"
    before = digest_of(served)
    assert before == digest_of(served)
    (folder / "variables.index").rename(folder / "variables.idx")
    renamed = digest_of(served)
    (folder / "variables.idx").write_bytes(b"b")
    assert len({before, renamed, digest_of(served)}) == 3
