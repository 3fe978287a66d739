"""Version registry: the URI and the files of a number never change."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from components.deploy.kserve.client import Cluster
from components.deploy.kserve.inference_service import ModelVersion
from components.deploy.kserve.version_registry import RegistryEntry, register
from components.deploy.verified_model import verify_model
from components.shared.errors import DeployError
from components.shared.signing import sign_folder

REGISTRY = ("lab", "forams-versions")


@pytest.fixture
def lab(cluster: Any) -> Cluster:  # noqa: ARG001 the cluster must answer
    return Cluster("lab")


def test_each_uri_gets_the_next_number_once(lab: Cluster, cluster: Any) -> None:
    versions = [register(lab, "forams", RegistryEntry(uri=f"pvc://runs/{run}", digest=run)) for run in "abab"]
    assert versions == [
        ModelVersion(number, f"pvc://runs/{run}") for number, run in zip((1, 2, 1, 2), "abab", strict=True)
    ]
    assert [json.loads(text)["digest"] for text in cluster.config_maps[REGISTRY]["data"].values()] == ["a", "b"]


def test_the_registry_is_a_valid_config_map(lab: Cluster, cluster: Any) -> None:
    register(lab, "forams", RegistryEntry(uri="pvc://runs/a", digest="a"))
    kubernetes_validate.validate(cluster.config_maps[REGISTRY], "1.33", strict=True)


@pytest.mark.parametrize("text", ["no JSON", '{"uri": "pvc://runs/a"}', "3"])
def test_an_invalid_entry_is_a_deploy_error(lab: Cluster, cluster: Any, text: str) -> None:
    register(lab, "forams", RegistryEntry(uri="pvc://runs/a", digest="a"))
    cluster.config_maps[REGISTRY]["data"]["2"] = text
    with pytest.raises(DeployError, match="entry of version 2"):
        register(lab, "forams", RegistryEntry(uri="pvc://runs/b", digest="b"))


def test_a_known_uri_with_other_files_is_rejected(
    make_artifact: Callable[..., Path], cluster: Any, deploy: Any
) -> None:
    deploy(make_artifact("a"), "pvc://runs/a")
    writes = len(cluster.written())
    with pytest.raises(DeployError, match="pvc://runs/a is version 1 with the digest"):
        deploy(make_artifact("b"), "pvc://runs/a")
    assert len(cluster.written()) == writes


def test_a_service_without_a_registry_keeps_its_number(artifact: Path, cluster: Any, deploy: Any) -> None:
    deploy(artifact, "pvc://runs/a")
    deploy(artifact, "pvc://runs/b")
    cluster.config_maps.clear()
    assert deploy(artifact, "pvc://runs/b").version == 2
    assert deploy(artifact, "pvc://runs/c").version == 3


def test_the_oldest_entries_are_removed_before_the_limit(lab: Cluster, cluster: Any) -> None:
    register(lab, "forams", RegistryEntry(uri="pvc://runs/0", digest="0"))
    entry = {str(number): json.dumps({"uri": f"pvc://runs/{number}", "digest": "0"}) for number in range(2, 1001)}
    cluster.config_maps[REGISTRY]["data"].update(entry)
    assert register(lab, "forams", RegistryEntry(uri="pvc://runs/new", digest="1")).version == 1001
    data = cluster.config_maps[REGISTRY]["data"]
    assert (len(data), "1" in data, "1001" in data) == (1000, False, True)


def digest_of(artifact: Path) -> str:
    sign_folder(artifact / "1", None)
    return verify_model(artifact, "pvc://runs/a", "foraminifera").digest


def test_the_digest_depends_on_every_byte_and_every_name(make_artifact: Callable[..., Path]) -> None:
    artifact = make_artifact("a")
    folder = artifact / "1" / "variables"
    original = digest_of(artifact)
    assert original == digest_of(artifact)
    (folder / "variables.index").rename(folder / "variables.idx")
    other_name = digest_of(artifact)
    (folder / "variables.idx").write_bytes(b"b")
    assert len({original, other_name, digest_of(artifact)}) == 3


def test_the_version_of_an_artifact_in_object_storage_is_its_copy(lab: Cluster) -> None:
    artifact = RegistryEntry(uri="s3://runs/a", digest="a")
    versions = [register(lab, "forams", artifact) for _ in range(2)]
    assert [(version.version, version.uri) for version in versions] == [
        (1, "s3://runs/taxonflow/served/lab/forams/1/")
    ] * 2
    assert register(lab, "forams", RegistryEntry(uri="pvc://runs/b", digest="b")).uri == "pvc://runs/b"


def test_a_version_of_an_older_release_is_still_served_in_place(lab: Cluster, cluster: Any) -> None:
    register(lab, "forams", RegistryEntry(uri="s3://runs/a", digest="a"))
    cluster.config_maps[REGISTRY]["data"]["1"] = '{"uri": "s3://runs/a", "digest": "a"}'
    assert register(lab, "forams", RegistryEntry(uri="s3://runs/a", digest="a")).uri == "s3://runs/a"


def test_a_registry_with_many_species_fits_into_a_config_map(lab: Cluster, cluster: Any) -> None:
    species = tuple(f"Genus species number {number}" for number in range(2000))
    for run in range(40):
        register(lab, "forams", RegistryEntry(uri=f"pvc://runs/{run}", digest=str(run), species=species))
    data = cluster.config_maps[REGISTRY]["data"]
    assert sum(map(len, data.values())) < 2**20
    assert "40" in data
    assert "1" not in data
