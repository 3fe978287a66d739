"""Endpoint patches: what they may change, and how others are refused."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from components.deploy.kserve.endpoint_patches import apply_patches, patches_of
from components.deploy.kserve.inference_service import inference_service
from components.shared.errors import BadConfigError

GPU = """
- op: add
  path: /spec/predictor/model/resources/limits/nvidia.com~1gpu
  value: "1"
- op: replace
  path: /spec/predictor/model/runtimeVersion
  value: 2.19.1-gpu
- {op: add, path: /spec/predictor/nodeSelector, value: {nvidia.com/gpu.present: "true"}}
- {op: replace, path: /metadata/annotations/serving.kserve.io~1autoscalerClass, value: hpa}
- {op: add, path: /metadata/labels/team, value: palaeontology}
- {op: add, path: /spec/predictor/model/args/-, value: --enable_batching=true}
- {op: replace, path: /spec/transformer/volumes/1, value: {name: events, persistentVolumeClaim: {claimName: e}}}
"""


def config_map(name: str, endpoint: str = "", **data: str) -> dict[str, Any]:
    annotations = {"taxonflow.dev/endpoint": endpoint} if endpoint else {}
    keys = {f"{key}.yaml": text for key, text in data.items()}
    return {"metadata": {"name": name, "annotations": annotations}, "data": keys}


def patched(*config_maps: dict[str, Any], service: str = "forams") -> dict[str, Any]:
    return apply_patches(inference_service(service), patches_of(config_maps, service))


def append(value: str) -> str:
    return f"- {{op: add, path: /spec/predictor/model/args/-, value: --{value}}}"


def test_patches_add_gpus_nodes_claims_and_options(complaints_of_crd: Callable[[dict[str, Any]], list[str]]) -> None:
    service = patched(config_map("gpu", a=GPU))
    model = service["spec"]["predictor"]["model"]
    assert (model["resources"]["limits"]["nvidia.com/gpu"], model["runtimeVersion"]) == ("1", "2.19.1-gpu")
    assert (service["metadata"]["labels"]["team"], model["args"]) == ("palaeontology", ["--enable_batching=true"])
    assert service["spec"]["transformer"]["volumes"][1]["persistentVolumeClaim"] == {"claimName": "e"}
    assert complaints_of_crd(service) == []


def test_patches_are_applied_by_name_of_config_map_and_key() -> None:
    service = patched(config_map("b", a=append("3")), config_map("a", b=append("2"), a=append("1")))
    assert service["spec"]["predictor"]["model"]["args"] == ["--1", "--2", "--3"]


def test_a_config_map_can_be_restricted_to_one_endpoint() -> None:
    maps = config_map("a", "forams", a=append("1")), config_map("b", "fish", a=append("2"))
    assert patched(*maps)["spec"]["predictor"]["model"]["args"] == ["--1"]
    assert patched(*maps, service="fish")["spec"]["predictor"]["model"]["args"] == ["--2"]


def test_the_document_itself_is_not_changed() -> None:
    document = inference_service("forams")
    before = copy.deepcopy(document)
    apply_patches(document, patches_of([config_map("gpu", a=GPU)], "forams"))
    assert document == before


def operation(op: str, path: str, value: Any = None) -> str:
    return json.dumps([{"op": op, "path": path, **({} if op == "remove" else {"value": value})}])


PROTECTED = {
    "address": operation("add", "/spec/predictor/model/storageUri", "s3://other/model"),
    "storage": operation("add", "/spec/predictor/model/storage", {"path": "x"}),
    "command": operation("replace", "/spec/predictor/model/command", ["/usr/bin/tensorflow_model_server"]),
    "digest": operation("remove", "/spec/predictor/model/env/1"),
    "second digest": operation("add", "/spec/predictor/model/env/-", {"name": "MODEL_DIGEST", "value": ""}),
    "id": operation("add", "/spec/predictor/annotations", {"taxonflow.dev/model-id": "x"}),
    "versions": operation("add", "/spec/transformer/annotations", {"taxonflow.dev/model-versions": "{}"}),
    "settings": operation("add", "/metadata/annotations/taxonflow.dev~1endpoint-settings", "x"),
    "pod security": operation("replace", "/spec/predictor/securityContext/runAsUser", 0),
    "security": operation("replace", "/spec/predictor/model/securityContext/privileged", True),
    "transformer security": operation("remove", "/spec/transformer/containers/0/securityContext"),
    "host network": operation("add", "/spec/transformer/hostNetwork", True),
    "token": operation("replace", "/spec/predictor/automountServiceAccountToken", True),
    "sidecar": operation("add", "/spec/transformer/containers/-", {"name": "x", "image": "x"}),
    "init container": operation("add", "/spec/predictor/initContainers", [{"name": "x", "image": "x"}]),
    "whole model": operation("replace", "/spec/predictor/model", {"args": []}),
    "base path": operation("add", "/spec/predictor/model/args/-", "--model_base_path=/tmp"),
    "configuration": operation("add", "/spec/predictor/model/args/-", "--model_config_file=/tmp/x"),
    "abbreviation": operation("add", "/spec/transformer/containers/0/args/-", "--canary_h"),
    "predictor": operation("add", "/spec/transformer/containers/0/args/-", "--predictor_host=x"),
    "mount": operation("add", "/spec/predictor/model/volumeMounts/-", {"name": "t", "mountPath": "/mnt/models/1/x"}),
    "parent mount": operation("add", "/spec/predictor/model/volumeMounts/-", {"name": "t", "mountPath": "/mnt/"}),
    "percent": operation("add", "/spec/predictor/canaryTrafficPercent", 50),
    "versions option": operation("add", "/spec/transformer/containers/0/args/-", "--model_versions={}"),
}


@pytest.mark.parametrize("text", PROTECTED.values(), ids=PROTECTED)
def test_what_belongs_to_the_deploy_step_cannot_be_changed(text: str) -> None:
    with pytest.raises(BadConfigError, match=r"ConfigMap wishes, key a\.yaml.* belongs to the deploy step\. Remove it"):
        patches_of([config_map("wishes", a=text)], "forams")


MALFORMED = {
    "not YAML": ("[", "is not YAML"),
    "not a list": ("op: add", "a list of at most 200 operations"),
    "empty": ("", "holds None"),
    "many operations": (json.dumps([{"op": "remove", "path": "/spec/predictor/x"}] * 201), "at most 200"),
    "no operation": ("- 3", "operation 1 is 3"),
    "unknown operation": ("- {op: merge, path: /spec/predictor/x}", "op .add, replace"),
    "op of a list": ("- {op: [add], path: /spec/predictor/x}", "operation 1 .* is"),
    "no value": ("- {op: add, path: /spec/predictor/x}", "operation 1 .'add' '/spec/predictor/x'. is"),
    "no from": ("- {op: move, path: /spec/predictor/x}", "value or from"),
    "name": (operation("replace", "/metadata/name", "x"), "has the path '/metadata/name': expected a path below"),
    "spec": (operation("add", "/spec/canary", []), "has the path '/spec/canary'"),
    "whole predictor": (operation("remove", "/spec/predictor"), "belongs to the deploy step"),
    "other prefix": (operation("add", "/spec/predictors/x", 1), "has the path"),
    "from": ("- {op: copy, from: /metadata/name, path: /spec/predictor/x}", "has the from '/metadata/name'"),
    "number as path": ("- {op: remove, path: 3}", "has the path 3"),
    "missing path": (operation("remove", "/spec/predictor/nodeSelector"), "operation 1 .* does not apply"),
    "missing index": (operation("replace", "/spec/predictor/volumes/9", {}), "operation 1 .* does not apply"),
    "below text": (operation("add", "/spec/predictor/serviceAccountName/x", 1), "does not apply"),
    "bad pointer": (operation("remove", "/spec/predictor/~2"), "does not apply"),
    "failed test": (operation("test", "/spec/predictor/minReplicas", 7), "the test fails: expected the value 7"),
    "no options": (operation("remove", "/spec/predictor/model/args"), "/spec/predictor/model/args is missing"),
    "numbers as options": (operation("replace", "/spec/predictor/model/args", [1]), "args is missing or of another"),
    "number as label": (operation("add", "/metadata/labels/x", 1), "/metadata/labels is missing or of another type"),
    "number as annotation": (operation("add", "/spec/predictor/annotations", {"x": 1}), "annotations is missing or of"),
    "mounts": (operation("replace", "/spec/predictor/model/volumeMounts", [3]), "belongs to the deploy step"),
    "date": ("- {op: add, path: /spec/predictor/x, value: 2026-01-01}", "values of JSON"),
    "NaN": ("- {op: add, path: /spec/predictor/x, value: .nan}", "values of JSON"),
    "number as key": ("- {op: add, path: /spec/predictor/x, value: {1: a}}", "values of JSON"),
    "binary": ("- {op: add, path: /spec/predictor/x, value: !!binary aGk=}", "values of JSON"),
    "code": ("- !!python/object/apply:os.system [id]", "is not YAML"),
    "alias": ("- &a {op: remove, path: /spec/predictor/x}\n- *a", "alias"),
    "deep": (f"- {'[' * 5000}{']' * 5000}", "nested deeply"),
    "long": (f"# {'x' * 2**16}", "characters: expected at most 65536"),
    "control character": ("- \x01", "is not YAML"),
}


@pytest.mark.parametrize(("text", "reason"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_patch_is_refused_by_config_map_and_key(text: str, reason: str) -> None:
    with pytest.raises(BadConfigError, match=rf"(?s)ConfigMap wishes, key a\.yaml.*{reason}") as raised:
        patches_of([config_map("wishes", a=text)], "forams")
    assert len(str(raised.value)) < 600


def test_a_key_with_another_suffix_is_refused() -> None:
    with pytest.raises(BadConfigError, match=r"key patch\.yml: expected a key that ends in \.yaml"):
        patched({"metadata": {"name": "wishes"}, "data": {"patch.yml": "[]"}})


def test_a_config_map_without_keys_changes_nothing() -> None:
    for empty in ({"metadata": {"name": "a"}}, {"metadata": {"name": "a", "annotations": None}, "data": None}):
        assert patched(empty) == inference_service("forams")


def test_a_patch_may_be_written_as_json() -> None:
    as_json = json.dumps(yaml.safe_load(GPU))
    assert patched(config_map("gpu", a=GPU)) == patched(config_map("gpu", a=as_json))
