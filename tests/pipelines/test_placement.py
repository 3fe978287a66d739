"""Options that place a pipeline on a cluster: resources without GPUs, and the place of the monitor's models."""

from pathlib import Path
from typing import Any

import pytest

from components.shared.container_images import COMPONENT_IMAGE, TRAINING_IMAGE
from pipelines.compile import main, parse_documents


def compiled(folder: Path, *options: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the specification and the platform's settings of the training pipeline."""
    assert main(["--out", str(folder), *options]) == 0
    specification, platform = parse_documents((folder / "taxonflow-training.yaml").read_text())
    return specification, platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


def containers(specification: dict[str, Any]) -> dict[str, dict[str, Any]]:
    executors = specification["deploymentSpec"]["executors"].items()
    return {name: executor["container"] for name, executor in executors if "container" in executor}


@pytest.mark.slow
def test_a_pipeline_for_cpus_asks_for_no_gpu_and_no_gpu_image(tmp_path: Path) -> None:
    with_gpus, _ = compiled(tmp_path / "gpu", "--preset", "fossil")
    assert "accelerator" in containers(with_gpus)["exec-train"]["resources"]
    specification, pods = compiled(tmp_path / "cpu", "--preset", "fossil", "--resources", "cpu")
    assert [name for name, one in containers(specification).items() if "accelerator" in one.get("resources", {})] == []
    images = {one["image"] for one in containers(specification).values()}
    assert (COMPONENT_IMAGE in images, TRAINING_IMAGE in images) == (True, False)
    assert [pod for pod in pods.values() if pod.get("tolerations") or pod.get("nodeSelector")] == []


def constant(specification: dict[str, Any], task: str, name: str) -> Any:
    """Return the constant that a task of any sub-pipeline gets for a parameter."""
    graphs = [specification["root"], *specification["components"].values()]
    tasks = [graph["dag"]["tasks"][task] for graph in graphs if task in graph.get("dag", {}).get("tasks", {})]
    (value,) = {one["inputs"]["parameters"][name]["runtimeValue"]["constant"] for one in tasks}
    return value


def test_the_claim_of_the_monitors_models_is_mounted_in_deploy(tmp_path: Path) -> None:
    specification, pods = compiled(tmp_path, "--preset", "smoke", "--monitored-models", "taxonflow-models")
    (mount,) = pods["exec-deploy"]["pvcMount"]
    assert mount["pvcNameParameter"]["runtimeValue"]["constant"] == "taxonflow-models"
    assert constant(specification, "deploy", "monitored_models") == mount["mountPath"]


def test_an_address_of_the_monitors_models_reaches_deploy(tmp_path: Path) -> None:
    specification, pods = compiled(tmp_path, "--preset", "smoke", "--monitored-models", "s3://lab/models")
    assert constant(specification, "deploy", "monitored_models") == "s3://lab/models"
    assert "pvcMount" not in pods["exec-deploy"]


@pytest.mark.parametrize("place", ["/var/models", "My_Claim", "s3://", "s3://a?b", "ftp://a/b", "file:///models"])
def test_another_place_is_refused(place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--out", str(tmp_path), "--monitored-models", place]) == 2
    assert capsys.readouterr().err.count("\n") == 1
