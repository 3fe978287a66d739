"""The compiled pipelines are fit to be uploaded in the Kubeflow UI."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp import dsl

from components.shared.container_images import COMPONENT_IMAGE, TRAINING_IMAGE
from components.shared.errors import ContractError
from pipelines.compile import REPOSITORY, RESOURCES, compile_pipeline, compile_pipelines
from pipelines.gitops import pipeline_resources, version_name
from pipelines.training import PIPELINES

NAMES = sorted(PIPELINES)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("compiled")
    paths = compile_pipelines(folder)
    assert sorted(folder.glob("*.yaml")) == sorted(paths)
    return {path.stem: path.read_text() for path in paths}


@pytest.fixture(params=NAMES)
def text(request: pytest.FixtureRequest, compiled: dict[str, str]) -> str:
    return compiled[PIPELINES[request.param].name]


@pytest.fixture
def specification(text: str) -> dict[str, Any]:
    (document,) = yaml.safe_load_all(text)
    return document


def tasks(specification: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Executors by the name of their component, without the suffix of repeated use."""
    executors = specification["deploymentSpec"]["executors"]
    components = specification["components"].items()
    return {
        name.removeprefix("comp-"): executors[component["executorLabel"]]
        for name, component in components
        if "executorLabel" in component and "container" in executors[component["executorLabel"]]
    }


def test_each_parameter_has_a_type_a_description_and_a_default_or_is_required(specification: dict[str, Any]) -> None:
    parameters = specification["root"]["inputDefinitions"]["parameters"]
    assert len(parameters) >= 10
    for name, parameter in parameters.items():
        assert parameter["parameterType"], name
        assert len(parameter["description"]) > 10, name
        assert "defaultValue" in parameter or not parameter.get("isOptional"), name
    assert [name for name, p in parameters.items() if "defaultValue" not in p] in ([], ["volumes"])


def test_every_image_is_one_of_ours(specification: dict[str, Any]) -> None:
    images = {name: task["container"]["image"] for name, task in tasks(specification).items()}
    assert {"ingest-plan", "ingest-cut", "ingest", "segment", "train", "evaluate", "deploy", "refuse"} <= images.keys()
    assert images.pop("train") == TRAINING_IMAGE
    assert set(images.values()) == {COMPONENT_IMAGE}


def test_the_training_task_alone_asks_for_a_gpu(specification: dict[str, Any]) -> None:
    asking = {
        name: task["container"]["resources"]["accelerator"]
        for name, task in tasks(specification).items()
        if "accelerator" in task["container"].get("resources", {})
    }
    assert asking.keys() == {"train"}
    assert asking["train"]["resourceType"] == "nvidia.com/gpu"
    assert asking["train"]["resourceCount"] == "1"


def test_shards_are_cut_side_by_side_and_collected(specification: dict[str, Any]) -> None:
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
    assert loop["taskInfo"]["name"] == "shards"
    assert set(steps["ingest"]["dependentTasks"]) == {"ingest-plan", next(n for n, t in steps.items() if t is loop)}


def test_nothing_of_this_machine_is_in_the_text(text: str) -> None:
    for place in (REPOSITORY, Path(sys.prefix), Path(sys.executable).parent):
        assert str(place) not in text
    assert "pip install" not in text


def test_no_task_installs_packages_when_it_starts(specification: dict[str, Any]) -> None:
    for name, task in tasks(specification).items():
        assert not [part for part in task["container"]["command"] if "pip" in part.split()], name


def test_compiling_again_in_another_process_gives_the_same_text(compiled: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipelines.compile", "--out", str(tmp_path)]
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True)
    assert {path.stem: path.read_text() for path in tmp_path.glob("*.yaml")} == compiled
    assert "taxonflow-training.yaml" in done.stdout
    assert done.stderr == ""


def test_the_resources_for_git_fit_their_crd_schemas_and_hold_the_same_pipeline(
    text: str, complaints_of_crd: Callable[[dict[str, Any]], list[str]]
) -> None:
    pipeline, version = yaml.safe_load_all(pipeline_resources(text))
    assert [pipeline["kind"], version["kind"]] == ["Pipeline", "PipelineVersion"]
    assert complaints_of_crd(pipeline) == complaints_of_crd(version) == []
    assert version["spec"]["pipelineName"] == pipeline["metadata"]["name"]
    assert version["spec"]["pipelineSpec"] == yaml.safe_load(text)
    assert all("namespace" not in document["metadata"] for document in (pipeline, version))


def test_another_text_is_another_version(text: str) -> None:
    assert version_name(text) == version_name(text) != version_name(text + "\n")


def test_the_resources_for_git_are_written_beside(tmp_path: Path) -> None:
    paths = compile_pipelines(tmp_path)
    for path in paths:
        assert (tmp_path / RESOURCES / path.name).read_text() == pipeline_resources(path.read_text())


def test_a_registry_and_a_tag_are_taken_from_the_environment(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipelines.compile", "--out", str(tmp_path)]
    environment = {**os.environ, "TAXONFLOW_REGISTRY": "registry.example.org/lab/", "TAXONFLOW_TAG": "7"}
    subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, check=True)
    specification = yaml.safe_load((tmp_path / "taxonflow-training.yaml").read_text())
    images = {task["container"]["image"] for task in tasks(specification).values()}
    prefix = "registry.example.org/lab/taxonflow"
    assert images == {f"{prefix}/python-cpu:7", f"{prefix}/python-gpu:7"}


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    command = [sys.executable, "-m", "pipelines.compile", "--out", str(tmp_path / "file" / "below")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert str(tmp_path / "file") in done.stderr


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
    """Takes a path.

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
def test_a_pipeline_that_is_not_fit_is_refused(pipeline: Any, complaint: str) -> None:
    with pytest.raises(ContractError, match=complaint):
        compile_pipeline(pipeline)
