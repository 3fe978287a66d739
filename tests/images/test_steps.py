"""Each step of each image on the preset `smoke`, in an environment of exactly the image's list of packages.

The list of python-gpu is that of python-cpu and CUDA (test_imports.py), which is too large to install here.
"""

import inspect
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from components.parameters.component import check_parameters
from pipelines.presets import load_preset
from serving.client import Client
from serving.client.volumes import SlicingOptions, iterate_slices
from tests.images.conftest import ImageEnvironment
from tests.images.image_contents import imports_of
from tests.images.test_imports import MODULES
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
Image = Callable[[str], ImageEnvironment]
RunSteps = Callable[..., dict[str, Any]]
CPU = {"python-cpu": "python-cpu", "python-gpu": "python-cpu"}
MONITORING = {"monitoring": "monitoring"}
SLICES = 12


@dataclass(frozen=True)
class Run:
    """A local run of the training pipeline.

    Attributes:
        models: Model repository with the deployed model.
        volumes: Volumes of the phantoms.
        artifacts: Folder with the artifacts of the steps.
    """

    models: Path
    volumes: list[Path]
    artifacts: Path


@pytest.fixture(scope="module")
def run(run_steps: RunSteps, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("run")
    preset = load_preset("smoke")
    assert preset.phantoms is not None
    arguments = {**preset.parameters, **preset.phantoms.model_dump(), "target": (folder / "models").as_uri()}
    run_steps(CPU, folder / "steps", "pipelines.training:build_pipelines.phantom_training", arguments=arguments)
    volumes = [path for path in (folder / "steps").rglob("*.nii.gz") if {"masks", "unseen"}.isdisjoint(path.parts)]
    return Run(folder / "models", sorted(volumes), folder / "steps")


@pytest.fixture(scope="module")
def server(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run the local server of this environment, which has TensorFlow Serving's REST API."""
    here = ImageEnvironment(Path(sys.executable), Path(__file__).parents[2])
    arguments = ["serving", "--repository", str(run.models), "--port", "0"]
    with here.server(arguments, tmp_path_factory.mktemp("server") / "log") as url:
        wait_until(lambda: httpx.get(f"{url}/readyz").status_code == 200, 60)
        yield url


@pytest.fixture(scope="module")
def events(run: Run, image: Image, server: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the drift events of a transformer that answered requests for slices of several specimens."""
    folder = tmp_path_factory.mktemp("transformer")
    arguments = ["serving.transformer", "--model_name", "foraminifera", "--predictor_host", urlsplit(server).netloc]
    arguments += ["--predictor_protocol", "v1", "--workers", "1", "--http_port", "0", "--host", "127.0.0.1"]
    arguments += ["--events", str(folder / "events"), "--keep_slices", str(folder / "kept")]
    with image("serving").server(arguments, folder / "log") as url, Client(url, 60) as client:
        wait_until(lambda: httpx.get(f"{url}/readyz").status_code == 200, 60)
        for volume in run.volumes[:6]:
            slices = [one.image for one in iterate_slices(volume, SlicingOptions(SLICES, 32, "random"))]
            predictions = client.predict("foraminifera", slices, volume.stem)
            assert len(predictions) == len(slices) > 0
    return folder / "events"


@pytest.mark.parametrize("name", ["python-cpu", "serving", "monitoring"])
def test_every_import_of_an_image_succeeds(name: str, image: Image, tmp_path: Path) -> None:
    libraries = sorted({one.name for module in MODULES[name] for one in imports_of(module)[1]})
    modules = sorted(MODULES[name] | {one.name for module in MODULES[name] for one in imports_of(module)[0]})
    assert len(libraries) > 10
    program = f"import importlib\nfor name in {libraries + modules}: importlib.import_module(name)\n"
    process = image(name).run("-c", program, cwd=tmp_path)
    assert process.returncode == 0, process.stderr[-3000:]


def test_the_steps_of_a_training_run_in_python_cpu(run: Run) -> None:
    (card,) = run.models.glob("foraminifera/*/model.json")
    assert json.loads(card.read_text())["gate"]["passed"] is True
    assert len(run.volumes) == 4 * 12
    assert list(run.artifacts.rglob("tensorboard/**/events.out.tfevents.*")), "no logs for TensorBoard"


def test_the_first_and_the_last_steps_of_a_run_work_in_python_cpu(run_steps: RunSteps, tmp_path: Path) -> None:
    checked = set(inspect.signature(check_parameters.python_func).parameters)
    parameters = {**load_preset("smoke").parameters, "seed": 0, "target": "", "canary": {}, "confined": True}
    parameters |= {"doubtful_masks": "keep", "rare_species": "unseen", "registry": ""}
    arguments = {name: value for name, value in parameters.items() if name in checked}
    run_steps(CPU, tmp_path, "components.parameters.component:check_parameters", arguments=arguments)
    end = {"outcome": "deployed", "sentence": "Version 1 is served."}
    figures = {
        "name": "forams",
        "model_id": "",
        "served_model_id": "",
        "accuracy": 0.9,
        "interval": "0.85 to 0.94",
        "threshold": 0.5,
        "version": 1,
        "address": "http://a",
    }
    call = "components.deploy.component:outcome"
    outputs = run_steps(CPU, tmp_path, call, arguments={**end, **figures, "canary": ""})
    assert "Version 1" in Path(outputs["summary"]).read_text()
    run_steps(CPU, tmp_path, "components.deploy.component:require_served", arguments=end)


def test_doctor_in_python_cpu_says_that_there_is_no_cluster(image: Image, tmp_path: Path) -> None:
    program = """
from components.doctor.in_cluster import check_run
from components.shared.errors import TaxonflowError
try:
    check_run({"pods": [], "claims": []}, "forams", "")
except TaxonflowError as error:
    print(f"sentence: {error}")
"""
    process = image("python-cpu").run("-c", program, cwd=tmp_path)
    assert process.stdout.startswith("sentence: "), process.stderr[-3000:]


def test_a_network_of_keras_hub_can_be_evaluated_in_python_cpu(image: Image, tmp_path: Path) -> None:
    program = """
import numpy as np
from components.train.backbones.build import build_backbone
from components.train.backbones.registry import InputSpec
model = build_backbone("dinov2_small", InputSpec(56, 1, 3))
model.save("network.keras")
import keras
again = keras.saving.load_model("network.keras")
assert again.predict(np.zeros((1, 56, 56, 1), np.float32), verbose=0).shape == (1, 3)
"""
    process = image("python-cpu").run("-c", program, cwd=tmp_path)
    assert process.returncode == 0, process.stderr[-3000:]


def test_the_transformer_answers_in_its_image(events: Path) -> None:
    lines = [line for file in events.glob("*.jsonl") for line in file.read_text().splitlines()]
    assert len(lines) == 6 * SLICES


def test_the_recurring_check_runs_in_the_monitors_image(
    events: Path, run: Run, run_steps: RunSteps, image: Image, tmp_path: Path
) -> None:
    sizes = {"windows": 2, "window_slices": 2 * SLICES, "window_specimens": 2, "sustained_windows": 1}
    arguments = {"events": str(events), "models": str(run.models), "name": "foraminifera", "seed": 0, **sizes}
    check = run_steps(MONITORING, tmp_path, "monitoring.component:check_drift", arguments=arguments)
    assert Path(check["report"]).read_text().lstrip().startswith("<")
    program = f"""
from types import SimpleNamespace as Artifact
from monitoring.component import collect_for_labelling
kept = {str(events.parent / "kept")!r}
drifted, table, proposal = (Artifact(path=path) for path in ({check["drifted"]!r}, "table", "proposal.md"))
collect_for_labelling.python_func(drifted, kept, "foraminifera", 5, 2, False, table, proposal)
"""  # kfp runs a component with an input artifact only in a pipeline
    process = image("monitoring").run("-c", program, cwd=tmp_path)
    assert process.returncode == 0, process.stderr[-3000:]
    assert (tmp_path / "proposal.md").read_text()


def test_the_monitor_runs_in_its_image(events: Path, run: Run, image: Image, tmp_path: Path) -> None:
    arguments = ["monitoring", "--events", str(events), "--repository", str(run.models), "--out", str(tmp_path / "out")]
    with image("monitoring").server([*arguments, "--port", "0"], tmp_path / "log") as url:
        assert "taxonflow_drift_completed_windows" in httpx.get(f"{url}/metrics").text
