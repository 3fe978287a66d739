"""The compiled pipelines are fit to be uploaded in the Kubeflow UI."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kfp import dsl

from components.shared.container_images import COMPONENT_IMAGE, TRAINING_IMAGE
from components.shared.errors import ContractError
from components.shared.signing import SIGNING_KEY, VERIFICATION_KEY
from pipelines.compile import (
    KUBERNETES_FOLDER,
    REPOSITORY,
    compile_pipeline,
    compile_pipelines,
    main,
    parse_documents,
    pipeline_resources,
    version_name,
)
from pipelines.presets import load_preset
from pipelines.resources import TaskResources, TrainingResources
from pipelines.training import build_pipelines

PIPELINES = build_pipelines(None)
NAMES = sorted(PIPELINES.keys() - {"drift"})
LARGE_RESOURCES = TrainingResources.model_validate(
    {
        "large": {
            "accelerator": "example.org/big-gpu",
            "count": 4,
            "cpu": "32",
            "memory": "200Gi",
            "node_selector": {"gpu": "a100"},
            "tolerations": [{"key": "big", "operator": "Equal", "value": "yes", "effect": "NoExecute"}],
            "hours": 12,
            "checkpoint_claim": "kept",
        }
    }
)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("compiled")
    paths = compile_pipelines(folder, build_pipelines(LARGE_RESOURCES))
    assert sorted(folder.glob("*.yaml")) == sorted(paths)
    return {path.stem: path.read_text() for path in paths}


@pytest.fixture(params=NAMES)
def text(request: pytest.FixtureRequest, texts: dict[str, str]) -> str:
    return texts[PIPELINES[request.param].name]


@pytest.fixture
def specification(text: str) -> dict[str, Any]:
    return dict(parse_documents(text)[0])


@pytest.fixture
def pods(text: str) -> dict[str, dict[str, Any]]:
    """Return the pods' settings of kfp-kubernetes by executor."""
    platform = parse_documents(text)[1]
    return dict(platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"])


def tasks(specification: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the executors by the name of their component, without the suffix of repeated use."""
    executors = specification["deploymentSpec"]["executors"]
    components = specification["components"].items()
    return {
        name.removeprefix("comp-"): executors[component["executorLabel"]]
        for name, component in components
        if "executorLabel" in component and "container" in executors[component["executorLabel"]]
    }


def test_each_parameter_has_a_type_and_a_description(specification: dict[str, Any]) -> None:
    parameters = specification["root"]["inputDefinitions"]["parameters"]
    assert len(parameters) >= 10
    for name, parameter in parameters.items():
        assert parameter["parameterType"], name
        assert len(parameter["description"]) > 10, name
        assert "defaultValue" in parameter or not parameter.get("isOptional"), name
    assert [name for name, p in parameters.items() if "defaultValue" not in p] in ([], ["volumes"])


def test_every_image_is_a_taxonflow_image(specification: dict[str, Any]) -> None:
    images = {name: task["container"]["image"] for name, task in tasks(specification).items()}
    assert {"ingest-plan", "ingest-cut", "ingest", "segment", "train", "evaluate", "deploy", "outcome"} <= images.keys()
    assert {images.pop(name) for name in list(images) if name.startswith("train")} == {TRAINING_IMAGE}
    assert set(images.values()) == {COMPONENT_IMAGE}


def test_only_training_tasks_request_gpus_by_the_size_of_the_backbone(specification: dict[str, Any]) -> None:
    requests = {
        name: task["container"]["resources"]
        for name, task in tasks(specification).items()
        if "accelerator" in task["container"].get("resources", {})
    }
    standard = requests.pop("train")
    assert standard["accelerator"]["resourceType"] == "nvidia.com/gpu"
    assert standard["accelerator"]["resourceCount"] == "1"
    assert standard["resourceMemoryLimit"] == standard["resourceMemoryRequest"] == "16Gi"
    if specification["pipelineInfo"]["name"] == "taxonflow-large-training":
        large = requests.pop("train-2")
        assert large["accelerator"]["resourceType"] == "example.org/big-gpu"
        assert large["accelerator"]["resourceCount"] == "4"
        assert (large["resourceMemoryLimit"], large["resourceCpuRequest"]) == ("200Gi", "32")
    assert not requests


def test_training_pods_have_a_time_out_and_tolerate_gpu_nodes(pods: dict[str, dict[str, Any]]) -> None:
    (standard,) = (pod for name, pod in pods.items() if name.endswith("train"))
    assert {key: value for key, value in standard.items() if key not in ("secretAsEnv", "securityContext")} == {
        "activeDeadlineSeconds": "86400",
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
    }


def test_large_backbones_run_on_the_nodes_of_the_preset(texts: dict[str, str]) -> None:
    _, platform = parse_documents(texts["taxonflow-large-training"])
    large = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-train-2"]
    assert large["nodeSelector"] == {"labels": {"gpu": "a100"}}
    assert large["activeDeadlineSeconds"] == str(12 * 3600)
    assert large["tolerations"] == [{"key": "big", "operator": "Equal", "value": "yes", "effect": "NoExecute"}]
    assert [(mount["constant"], mount["mountPath"]) for mount in large["pvcMount"]] == [("kept", "/checkpoints")]


def training_tasks(specification: dict[str, Any]) -> list[dict[str, Any]]:
    loops = [component["dag"]["tasks"] for component in specification["components"].values() if "dag" in component]
    return [
        task for loop in loops for name, task in loop.items() if name.startswith("train") and "iterator" not in task
    ]


def test_checkpoints_are_on_the_claim_if_the_preset_has_one(texts: dict[str, str]) -> None:
    specification = parse_documents(texts["taxonflow-large-training"])[0]
    folders = {
        task["taskInfo"]["name"]: task["inputs"]["parameters"]["checkpoints"]["runtimeValue"]["constant"]
        for task in training_tasks(specification)
        if "checkpoints" in task["inputs"]["parameters"]
    }
    assert folders == {"train": "", "train-2": "/checkpoints"}


def dags(specification: dict[str, Any]) -> list[dict[str, Any]]:
    components = specification["components"].values()
    return [specification["root"]["dag"], *(component["dag"] for component in components if "dag" in component)]


def test_no_loop_has_a_custom_name_that_the_cluster_cannot_resolve(specification: dict[str, Any]) -> None:
    loops = {
        key: task["taskInfo"]["name"]
        for dag in dags(specification)
        for key, task in dag["tasks"].items()
        if "parameterIterator" in task
    }
    assert loops
    assert all(key == name for key, name in loops.items())


def test_a_preset_without_gpus_requests_none(tmp_path: Path) -> None:
    without = TrainingResources(standard=TaskResources(count=0, tolerations=(), retries=0))
    paths = {path.stem: path for path in compile_pipelines(tmp_path, build_pipelines(without))}
    specification = parse_documents(paths["taxonflow-training"].read_text())[0]
    assert "accelerator" not in tasks(specification)["train"]["container"]["resources"]


def test_large_training_has_the_parameters_of_training_and_a_second_list(texts: dict[str, str]) -> None:
    one, two = (parse_documents(texts[name])[0]["root"] for name in ("taxonflow-training", "taxonflow-large-training"))
    parameters = two["inputDefinitions"]["parameters"]
    assert parameters.keys() - {"large_backbones"} == one["inputDefinitions"]["parameters"].keys()
    kinds = [Counter(name.rstrip("-0123456789") for name in root["dag"]["tasks"]) for root in (one, two)]
    assert kinds[1] - kinds[0] == Counter(["for-loop"])
    assert not kinds[0] - kinds[1]


def test_shards_are_cut_in_parallel_and_collected(specification: dict[str, Any]) -> None:
    dags = [specification["root"], *specification["components"].values()]
    steps = next(dag["dag"]["tasks"] for dag in dags if "ingest-plan" in dag.get("dag", {}).get("tasks", {}))
    (loop,) = [
        task
        for task in steps.values()
        if "ingest-plan" in task.get("dependentTasks", []) and "parameterIterator" in task
    ]
    assert loop["parameterIterator"]["items"] == {"inputParameter": "pipelinechannel--ingest-plan-Output"}
    inside = specification["components"][loop["componentRef"]["name"]]["dag"]["tasks"]
    assert inside.keys() == {"ingest-cut"}
    loop_name = next(name for name, task in steps.items() if task is loop)
    assert set(steps["ingest"]["dependentTasks"]) - {"phantoms"} == {"ingest-plan", loop_name}


def test_the_signing_keys_are_mounted_as_optional_volumes(text: str) -> None:
    _, platform = parse_documents(text)
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    (private,) = executors["exec-evaluate"]["secretAsVolume"]
    (public,) = executors["exec-deploy"]["configMapAsVolume"]
    mounts = [(key["mountPath"], key["optional"]) for key in (private, public)]
    assert mounts == [(str(path.parent), True) for _, path in (SIGNING_KEY, VERIFICATION_KEY)]
    assert (private["secretName"], public["configMapName"]) == ("taxonflow-signing-key", "taxonflow-verification-key")
    assert [name for name, executor in executors.items() if "secretAsVolume" in executor] == ["exec-evaluate"]


def test_the_compiled_text_contains_no_path_of_this_machine(text: str) -> None:
    for place in (REPOSITORY, Path(sys.prefix), Path(sys.executable).parent):
        assert str(place) not in text
    assert "pip install" not in text


def test_no_task_installs_packages_at_its_start(specification: dict[str, Any]) -> None:
    for name, task in tasks(specification).items():
        assert not [part for part in task["container"]["command"] if "pip" in part.split()], name


def test_compiling_in_another_process_gives_the_same_text(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipelines.compile", "--out", str(tmp_path / "there")]
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    result = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True)
    here = compile_pipelines(tmp_path / "here", build_pipelines(load_preset("fossil").resources))
    there = {path.name: path.read_text() for path in (tmp_path / "there").glob("*.yaml")}
    assert there == {path.name: path.read_text() for path in here}
    assert "taxonflow-training.yaml" in result.stdout
    assert result.stderr == ""


def test_the_kubernetes_resources_are_valid_and_hold_the_pipeline(
    text: str, complaints_of_crd: Callable[[dict[str, Any]], list[str]]
) -> None:
    pipeline, version = parse_documents(pipeline_resources(text))
    specification, platform = parse_documents(text)
    assert [pipeline["kind"], version["kind"]] == ["Pipeline", "PipelineVersion"]
    assert complaints_of_crd(pipeline) == complaints_of_crd(version) == []
    assert version["spec"]["pipelineName"] == pipeline["metadata"]["name"]
    assert version["spec"]["pipelineSpec"] == specification
    assert version["spec"]["platformSpec"] == platform
    assert all("namespace" not in document["metadata"] for document in (pipeline, version))


def test_a_different_text_has_a_different_version(text: str) -> None:
    assert version_name(text) == version_name(text) != version_name(text + "\n")


def test_the_kubernetes_resources_are_written_beside_the_pipelines(tmp_path: Path) -> None:
    paths = compile_pipelines(tmp_path, build_pipelines(TrainingResources()))
    for path in paths:
        assert (tmp_path / KUBERNETES_FOLDER / path.name).read_text() == pipeline_resources(path.read_text())


def test_registry_and_tag_come_from_the_environment(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipelines.compile", "--out", str(tmp_path)]
    environment = {**os.environ, "TAXONFLOW_REGISTRY": "registry.example.org/lab/", "TAXONFLOW_TAG": "7"}
    subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, check=True)
    specification = parse_documents((tmp_path / "taxonflow-training.yaml").read_text())[0]
    images = {task["container"]["image"] for task in tasks(specification).values()}
    prefix = "registry.example.org/lab/taxonflow"
    assert images == {f"{prefix}/python-cpu:7", f"{prefix}/python-gpu:7"}


def test_an_unknown_preset_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--out", str(tmp_path), "--preset", "nothing"]) == 2
    assert "preset 'nothing'" in capsys.readouterr().err


def test_an_unwritable_folder_ends_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    command = [sys.executable, "-m", "pipelines.compile", "--out", str(tmp_path / "file" / "below")]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert str(tmp_path / "file") in result.stderr


@dsl.component(base_image="example.org/python:latest", install_kfp_package=False)
def foreign_step(text: str) -> None:
    assert text


@dsl.component(base_image=COMPONENT_IMAGE, install_kfp_package=False)
def own_step(text: str) -> None:
    assert text


@dsl.pipeline
def foreign_image() -> None:
    foreign_step(text="x")


@dsl.pipeline
def undescribed(text: str) -> None:
    own_step(text=text)


@dsl.pipeline
def at_home(text: str = str(REPOSITORY / "volumes")) -> None:
    """Take a path.

    Args:
        text: A path.
    """
    own_step(text=text)


@pytest.mark.parametrize(
    ("pipeline", "complaint"),
    [
        (foreign_image, r"example\.org/python:latest"),
        (undescribed, "no description of text"),
        (at_home, "no path of this machine"),
    ],
)
def test_an_invalid_pipeline_is_rejected(pipeline: Any, complaint: str) -> None:
    with pytest.raises(ContractError, match=complaint):
        compile_pipeline(pipeline)
