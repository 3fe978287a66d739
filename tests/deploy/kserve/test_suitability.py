"""A service is not given a model for other pictures or of a wholly different set of species."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.shared.errors import BadConfigError, DeployError
from tests.deploy.revisions import KEY, NEW, OLD, stable

REGISTRY = ("lab", "forams-versions")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"segmented": False}, "forams takes grey pictures with segmentation, and the new model grey pictures without"),
        ({"channels": 3, "image_size": 224}, "the new model colour pictures of 224 pixels with segmentation"),
    ],
)
def test_a_model_for_other_pictures_is_refused_without_a_write(
    make_artifact: Callable[..., Path], cluster: Any, deploy: Any, fields: dict[str, Any], reason: str
) -> None:
    deploy(make_artifact("old"), OLD)
    writes, registry = cluster.written(), json.dumps(cluster.config_maps[REGISTRY]["data"])
    with pytest.raises(DeployError, match=reason) as error:
        deploy(make_artifact("new", **fields), NEW)
    assert "Set TARGET to another name, for example kserve://lab/foraminifera" in str(error.value)
    assert (cluster.written(), json.dumps(cluster.config_maps[REGISTRY]["data"])) == (writes, registry)


def test_a_model_of_other_species_is_refused_without_a_write(
    make_artifact: Callable[..., Path], cluster: Any, deploy: Any
) -> None:
    deploy(make_artifact("old"), OLD)
    writes = cluster.written()
    with pytest.raises(DeployError, match="serves the species Alveolina, Orbitoides, and the new model knows none"):
        deploy(make_artifact("new", classes=("cod", "herring")), NEW)
    assert cluster.written() == writes


@pytest.mark.parametrize("classes", [("Alveolina", "Miniacina"), ("Alveolina", "Orbitoides", "Minoxia")])
def test_a_model_with_common_species_is_served(
    make_artifact: Callable[..., Path], cluster: Any, deploy: Any, classes: tuple[str, ...]
) -> None:
    deploy(make_artifact("old"), OLD)
    assert deploy(make_artifact("new", classes=classes), NEW).version == 2
    assert stable(cluster).uri == NEW


def test_a_version_without_registered_species_is_replaced(
    make_artifact: Callable[..., Path], cluster: Any, deploy: Any
) -> None:
    deploy(make_artifact("old"), OLD)
    data = cluster.config_maps[REGISTRY]["data"]
    data["1"] = json.dumps({name: text for name, text in json.loads(data["1"]).items() if name != "species"})
    assert deploy(make_artifact("new", classes=("cod", "herring")), NEW).version == 2


def test_other_pictures_may_have_the_name_of_a_service_without_a_model(
    make_artifact: Callable[..., Path], cluster: Any, deploy: Any
) -> None:
    deploy(make_artifact("old"), OLD)
    predictor = cluster.services[KEY]["spec"]["predictor"]
    del predictor["annotations"], predictor["model"]["storageUri"]
    assert deploy(make_artifact("new"), NEW).version == 2


@pytest.mark.parametrize("name", ["Forams", "fish.model", "2nd", "f" * 47])
def test_a_name_that_kserve_does_not_accept_is_refused(artifact: Path, cluster: Any, name: str) -> None:
    from components.deploy.targets import deploy_model

    with pytest.raises(BadConfigError, match="at most 46 small letters"):
        deploy_model(artifact, OLD, "foraminifera", f"kserve://lab/{name}")
    assert cluster.requests == []
