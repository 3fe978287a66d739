"""Settings of existing InferenceServices, recorded on a cluster: updated once, without another model."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.deploy.kserve.endpoint_patches import EndpointPatch, patches_of
from components.deploy.kserve.endpoint_settings import SETTINGS_ANNOTATION, merge_patch, patched_service, with_settings
from components.deploy.kserve.inference_service import ModelVersion, previous_model, requested_model, with_model
from tests.deploy.fake_cluster import merge

RECORDED = Path(__file__).parents[4] / "shared" / "cluster"


def recorded(moment: str) -> dict[str, Any]:
    """Return the InferenceService that was recorded at a moment of a real rollout."""
    if not RECORDED.is_dir():
        pytest.skip("the recorded objects are not beside the repository")
    (file,) = RECORDED.glob(f"{moment}-*.yaml")
    documents = yaml.load_all(file.read_text(), yaml.CSafeLoader)
    return next(document for document in documents if document["kind"] == "InferenceService")


def patches(*operations: dict[str, Any]) -> list[EndpointPatch]:
    text = yaml.safe_dump(list(operations))
    return patches_of([{"metadata": {"name": "wishes"}, "data": {"a.yaml": text}}], "foraminifera")


def updated(service: dict[str, Any], *operations: dict[str, Any]) -> dict[str, Any]:
    return merge(service, with_settings(service, patches(*operations)))


def add(path: str, value: Any) -> dict[str, Any]:
    return {"op": "add", "path": path, "value": value}


def served() -> dict[str, Any]:
    """Return a new InferenceService with a model."""
    service = with_model(patched_service("foraminifera", []), ModelVersion(3, "s3://runs/c", "d3", "id3"))
    service["metadata"]["namespace"] = "lab"
    return service


@pytest.mark.parametrize("moment", "12345")
def test_a_recorded_service_gets_the_current_document_and_keeps_its_model(
    moment: str, complaints_of_crd: Callable[[dict[str, Any]], list[str]]
) -> None:
    before = recorded(moment)
    after = updated(before, add("/spec/predictor/nodeSelector", {"zone": "a"}))
    for model in (requested_model, previous_model):
        assert repr(model(after)) == repr(model(before))
    assert after["spec"].get("canary") == before["spec"].get("canary")
    arguments = [service["spec"]["transformer"]["containers"][0]["args"] for service in (before, after)]
    assert arguments[0] == arguments[1]
    predictor = after["spec"]["predictor"]
    assert (predictor["nodeSelector"], predictor["model"]["resources"]["requests"]["cpu"]) == ({"zone": "a"}, "200m")
    assert after["spec"]["transformer"]["volumes"][1]["emptyDir"]
    assert complaints_of_crd(after) == []


@pytest.mark.parametrize("moment", "13")
def test_settings_that_are_current_are_not_patched_again(moment: str) -> None:
    after = updated(recorded(moment), add("/spec/predictor/minReplicas", 2))
    after["spec"]["predictor"]["model"]["name"] = ""  # as KServe's webhook completes it
    assert with_settings(after, patches(add("/spec/predictor/minReplicas", 2))) == {}
    assert with_settings(after, patches(add("/spec/predictor/minReplicas", 3)))


def test_a_service_without_a_model_of_0_1_0_is_repaired() -> None:
    service = recorded("1")
    del service["spec"]["predictor"]["model"]["storageUri"], service["spec"]["predictor"]["annotations"]
    after = updated(service)
    assert requested_model(after) is None
    assert "claimName" not in json.dumps(after["spec"])
    assert after["spec"]["predictor"]["model"]["startupProbe"]


def test_the_patch_contains_only_what_differs() -> None:
    patch = with_settings(served(), patches(add("/spec/transformer/minReplicas", 2)))
    assert patch["spec"] == {"predictor": {}, "transformer": {"minReplicas": 2}}


def test_a_removed_patch_is_undone_with_its_labels_and_annotations() -> None:
    operations = (
        add("/metadata/labels/team", "x"),
        add("/metadata/annotations/note", "y"),
        add("/spec/predictor/nodeSelector", {"zone": "a"}),
        {"op": "replace", "path": "/metadata/annotations/serving.kserve.io~1autoscalerClass", "value": "hpa"},
    )
    original = served()
    original["metadata"]["labels"]["others"] = "kept"
    with_patch = updated(original, *operations)
    assert with_patch["metadata"]["labels"]["team"] == "x"
    assert updated(with_patch) == original


def test_arguments_that_depend_on_the_model_are_kept() -> None:
    arguments = ["--channels", "3", "--image_size", "96", "--no-segmented"]
    service = with_model(patched_service("foraminifera", [], arguments), ModelVersion(1, "s3://runs/a"))
    operation = add("/spec/transformer/containers/0/args/-", "--verbose")
    after = updated(service, operation)["spec"]["transformer"]["containers"][0]["args"]
    assert after == ["--events", "/var/taxonflow/events", "--workers", "1", "--verbose", *arguments]


def test_a_service_without_a_transformer_gets_none() -> None:
    service = served()
    del service["spec"]["transformer"], service["metadata"]["annotations"][SETTINGS_ANNOTATION]
    assert "transformer" not in updated(service)["spec"]


def test_a_service_in_knative_mode_is_not_changed() -> None:
    service = served()
    service["status"] = {"deploymentMode": "Knative"}
    assert with_settings(service, patches(add("/spec/predictor/minReplicas", 2))) == {}


def test_the_deployment_mode_of_an_existing_service_is_kept() -> None:
    service = recorded("1")
    service["status"]["deploymentMode"] = "RawDeployment"
    assert updated(service)["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] == "RawDeployment"


def test_a_merge_patch_makes_one_object_equal_to_another() -> None:
    current = {"a": 1, "b": {"c": 1, "d": [1], "e": {}}, "f": {"g": 1}}
    desired = {"a": 2, "b": {"c": 1, "d": [1, 2]}, "f": "text", "h": {"i": 1}}
    before = copy.deepcopy(current)
    assert merge(current, merge_patch(current, desired)) == desired
    assert merge_patch(desired, desired) == {}
    assert current == before
