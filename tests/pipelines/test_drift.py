"""The recurring drift check, run on this machine and compiled for the cluster."""

import csv
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from kfp import local

from components.evaluate.gate import GateConditions
from components.shared.container_images import COMPONENT_IMAGE, MONITORING_IMAGE, TRAINING_IMAGE
from components.shared.contracts import GateVerdict, ModelCard
from components.shared.images.decoding import encode_png
from components.shared.images.descriptors import DESCRIPTORS
from components.shared.reference_profile import write_reference
from pipelines.compile import compile_pipeline, parse_documents
from pipelines.drift import EVENTS_CLAIM, MODELS_CLAIM
from pipelines.resources import TaskResources, TrainingResources
from pipelines.training import build_pipelines
from tests.model_cards import model_score
from tests.monitoring.drift_traffic import append_events, events_of

SPECIES = ("Alveolina", "Fallotia")
Rows = list[dict[str, Any]]


def answer_rows(specimens: range, shift: float) -> Rows:
    """Ten described slices of each specimen; `shift` standard deviations darker than usual."""
    rows: Rows = []
    for specimen in specimens:
        random = np.random.default_rng(specimen)
        usual = random.normal(0, 0.3, len(DESCRIPTORS))
        for _ in range(10):
            values = usual + random.normal(0, 1, len(DESCRIPTORS)) - shift
            confidence = float(random.uniform(0.5, 1))
            rows.append(
                {
                    "specimen": f"specimen-{specimen:03d}",
                    "species": SPECIES[specimen % 2],
                    "confidence": confidence,
                    "unknown": confidence < 0.6,
                    **dict(zip(DESCRIPTORS, values.tolist(), strict=True)),
                    "embedding": random.normal(0, 1, 2).tolist(),
                }
            )
    return rows


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models" / "forams" / "3"
    folder.mkdir(parents=True)
    write_reference(folder / "reference.parquet", pd.DataFrame(answer_rows(range(40), 0)))
    ModelCard(
        name="forams", classes=SPECIES, channels=1, segmented=True, members=(), rule="",
        metrics=model_score(), thresholds={},
        gate=GateVerdict(passed=True, accuracy=1, threshold=0, reasons=()), data_hash="", code_version="test",
    ).write(folder / "model.json")  # fmt: skip
    return tmp_path / "models"


def store(folder: Path, rows: Rows, slice_folder: Path | None = None) -> None:
    """Append events as the server does, and write their slices if a folder is given."""
    events = events_of(pd.DataFrame(rows), version=3, start=1e9)
    append_events(folder / "events-1.jsonl", events)
    if slice_folder:
        slice_folder.mkdir(parents=True)
        for number, event in enumerate(events):
            image = np.full((4, 4), number % 255, np.uint8)
            (slice_folder / f"{number:015d}-{event.id}.png").write_bytes(encode_png(image))


@pytest.fixture
def run(tmp_path: Path, models: Path) -> Callable[..., Path]:
    """Return a function that runs the pipeline on the stored traffic and returns the folder of its tasks."""

    def run_pipeline(**parameters: Any) -> Path:
        root = tmp_path / "root"
        local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(root))
        folders = {"events": tmp_path / "events", "models": models, "kept_slices": tmp_path / "kept"}
        sizes = {"window_slices": 100, "window_specimens": 10}
        drift = build_pipelines(None)["drift"]
        drift(name="forams", **{name: str(folder) for name, folder in folders.items()}, **sizes, **parameters)
        return root

    return run_pipeline


def outputs(root: Path, task: str) -> dict[str, Any]:
    (path,) = root.glob(f"**/{task}/executor_output.json")
    return dict(json.loads(path.read_text())["parameterValues"])


def state(root: Path) -> str:
    """Return the state in the metadata of the data set that the check wrote."""
    (path,) = root.glob("**/check-drift/executor_output.json")
    return str(json.loads(path.read_text())["artifacts"]["drifted"]["artifacts"][0]["metadata"]["state"])


@pytest.mark.slow
def test_sustained_drift_writes_slices_to_label_and_a_proposal(tmp_path: Path, run: Callable[..., Path]) -> None:
    store(tmp_path / "events", answer_rows(range(100, 110), 0))
    store(tmp_path / "events", answer_rows(range(200, 220), 4), tmp_path / "kept")
    root = run(most_slices=30, most_of_specimen=3)
    assert (state(root), outputs(root, "check-drift")["Output"]) == ("sustained_drift", True)
    (folder,) = root.glob("**/collect-for-labelling/to_label")
    with (folder / "to_label.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == outputs(root, "collect-for-labelling")["Output"] == 30
    assert [row["unknown"] for row in rows] == sorted((row["unknown"] for row in rows), reverse=True)
    confidences = [float(row["confidence"]) for row in rows if row["unknown"] == "0"]
    assert confidences == sorted(confidences)
    specimens = [row["specimen"] for row in rows]
    assert max(map(specimens.count, specimens)) <= 3
    assert min(int(name.removeprefix("specimen-")) for name in specimens) >= 200
    assert all((folder / row["file"]).is_file() and row["species"] == "" for row in rows)
    (proposal,) = root.glob("**/collect-for-labelling/proposal")
    assert "Collected 30 of 200 drifted slices" in proposal.read_text()
    (report,) = root.glob("**/check-drift/report")
    assert "intensity_mean" in report.read_text()


@pytest.mark.slow
def test_sustained_drift_with_retrain_deploys_a_new_version(
    tmp_path: Path, run: Callable[..., Path], volumes: Path
) -> None:
    store(tmp_path / "events", answer_rows(range(200, 220), 4))
    lenient = {"threshold": 0.0, "gate": {**GateConditions().model_dump(), "smallest_recall": 0.0}}
    small: dict[str, Any] = {"image_size": 32, "slices_per_species": 40, "planes": "random", **lenient}
    target = f"file://{tmp_path / 'models'}"
    recipe = {"epochs": 2, "batch_size": 16, "ema_momentum": 0.9}
    root = run(retrain=True, volumes=str(volumes), target=target, backbones=["cnn_small"], recipe=recipe, **small)
    assert state(root) == "sustained_drift"
    (proposal,) = root.glob("**/collect-for-labelling/proposal")
    assert "A training run was started." in proposal.read_text()
    card = ModelCard.read(tmp_path / "models" / "forams" / "4" / "model.json")
    assert (card.name, card.classes) == ("forams", ("Baculogypsina", "Coskinolina", "Fallotia"))


def test_clean_traffic_ends_after_the_check(tmp_path: Path, run: Callable[..., Path]) -> None:
    store(tmp_path / "events", answer_rows(range(100, 120), 0))
    root = run()
    assert (state(root), outputs(root, "check-drift")["Output"]) == ("no_drift", False)
    assert not list(root.glob("**/collect-for-labelling"))


def test_too_little_traffic_has_its_own_state(tmp_path: Path, run: Callable[..., Path]) -> None:
    store(tmp_path / "events", answer_rows(range(100, 103), 4))
    root = run()
    assert (state(root), outputs(root, "check-drift")["Output"]) == ("insufficient_data", False)
    (report,) = root.glob("**/check-drift/report")
    assert "30 stored slices" in report.read_text()


@cache
def compiled_drift() -> tuple[dict[str, Any], dict[str, Any]]:
    resources = TrainingResources(standard=TaskResources(accelerator="example.org/gpu"))
    specification, platform = parse_documents(compile_pipeline(build_pipelines(resources)["drift"]))
    return specification, platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


def test_the_check_mounts_the_claims_of_the_endpoint_uncached() -> None:
    specification, pods = compiled_drift()
    claims_by_pod = {name: {mount["constant"] for mount in pod.get("pvcMount", [])} for name, pod in pods.items()}
    claims = {EVENTS_CLAIM, MODELS_CLAIM}
    assert {name for name, pod_claims in claims_by_pod.items() if pod_claims == claims} == {
        "exec-check-drift",
        "exec-collect-for-labelling",
    }
    assert specification["root"]["dag"]["tasks"]["check-drift"]["cachingOptions"] == {}


def test_retraining_is_conditional_and_has_the_resources_of_the_preset() -> None:
    specification, _ = compiled_drift()
    conditions = [
        task["triggerPolicy"]["condition"]
        for component in (specification["root"], *specification["components"].values())
        for task in component.get("dag", {}).get("tasks", {}).values()
        if "triggerPolicy" in task
    ]
    for decided_by in ("check-drift-Output'] == true", "retrain'] == true"):
        assert len([condition for condition in conditions if decided_by in condition]) == 1
    images = {
        executor["container"]["image"]
        for executor in specification["deploymentSpec"]["executors"].values()
        if "container" in executor
    }
    assert images == {MONITORING_IMAGE, COMPONENT_IMAGE, TRAINING_IMAGE}
    resources = [
        executor["container"].get("resources", {})
        for executor in specification["deploymentSpec"]["executors"].values()
        if "container" in executor
    ]
    assert [each["accelerator"]["resourceType"] for each in resources if "accelerator" in each] == ["example.org/gpu"]
    parameters = specification["root"]["inputDefinitions"]["parameters"]
    assert all("defaultValue" in parameter for parameter in parameters.values())
