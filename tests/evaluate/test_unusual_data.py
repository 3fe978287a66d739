"""Evaluations of unusual data and nan_model models: each gives its reason, and none leaves half a result."""

import shutil
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from kfp import dsl

from components.evaluate.component import evaluate
from components.evaluate.config import EvaluationConfig
from components.evaluate.evaluation import evaluate_models
from components.evaluate.gate import GateConfig
from components.evaluate.report.writer import write_report
from components.shared.contracts import ModelCard
from components.shared.errors import ContractError

NO_CONDITIONS = EvaluationConfig(name="forams", gate=GateConfig(threshold=0.0))


@pytest.fixture
def backbone(trained_backbones: tuple[Path, ...]) -> Path:
    return trained_backbones[0]


def with_index(source: Path, folder: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Path:
    """Copy a data set and change the rows of its index."""
    copy = Path(shutil.copytree(source, folder))
    change(pd.read_parquet(copy / "index.parquet")).to_parquet(copy / "index.parquet")
    return copy


def one_test_specimen(index: pd.DataFrame) -> pd.DataFrame:
    species = index["species"].min()
    return index.assign(
        species=index["species"].mask(index["split"] == "test", species),
        specimen=index["specimen"].mask(index["split"] == "test", "the only one"),
    )


def one_specimen_of_each_species(index: pd.DataFrame) -> pd.DataFrame:
    return index.assign(specimen=index["species"] + "-" + index["split"])


def test_a_test_split_of_one_specimen_is_reported_and_fails(
    segmented_slices: Path, backbone: Path, tmp_path: Path
) -> None:
    slices = with_index(segmented_slices, tmp_path / "slices", one_test_specimen)
    evaluation = evaluate_models(slices, [backbone], tmp_path / "served", NO_CONDITIONS)
    assert evaluation.card.gate.reasons[0] == f"No test slices of {', '.join(evaluation.card.classes[1:])}."
    assert evaluation.card.metrics.accuracy_interval == (0.0, 1.0)
    assert evaluation.card.metrics.auc is None
    assert evaluation.card == ModelCard.read(tmp_path / "served" / "1" / "model.json")
    assert "No test slices of" in write_report(tmp_path / "report", evaluation.findings, evaluation.images)


def test_one_specimen_of_each_species_gives_wide_intervals(
    segmented_slices: Path, backbone: Path, tmp_path: Path
) -> None:
    slices = with_index(segmented_slices, tmp_path / "slices", one_specimen_of_each_species)
    gate = GateConfig(threshold=0.95, smallest_recall=0.0, use_lower_bound=True)
    evaluation = evaluate_models(slices, [backbone], tmp_path / "served", EvaluationConfig(name="forams", gate=gate))
    assert evaluation.card.metrics.specimens == 3
    assert evaluation.card.metrics.specimens_needed >= 56  # the bound of 59 correct specimens is 95 %
    assert evaluation.card.metrics.accuracy_interval[0] < 0.6
    assert "lower bound of the 95 % interval" in evaluation.card.gate.reasons[0]


def test_a_network_with_nan_outputs_is_rejected_by_name(segmented_slices: Path, backbone: Path, tmp_path: Path) -> None:
    nan_model = Path(shutil.copytree(backbone, tmp_path / "nan_model"))
    model = keras.saving.load_model(nan_model / "model.keras", compile=False)
    weights = model.get_weights()
    model.set_weights([*weights[:-1], np.full_like(weights[-1], np.nan)])
    model.save(nan_model / "model.keras")
    with pytest.raises(ContractError, match="cnn_small returns NaN"):
        evaluate_models(segmented_slices, [nan_model], tmp_path / "served", NO_CONDITIONS)
    assert not (tmp_path / "served").exists()


def model_of_another_kind(folder: Path) -> None:
    module = tf.Module()
    module.double = tf.function(lambda x: {"y": 2 * x}, input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    tf.saved_model.save(module, str(folder), signatures=module.double)


def damaged_model(folder: Path) -> None:
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(b"no model")


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (None, "SavedModel file does not exist"),
        (Path.mkdir, "SavedModel file does not exist"),
        (damaged_model, "Cannot parse file"),
        (model_of_another_kind, "has inputs ['x'] and outputs ['y']: expected image_bytes and species"),
    ],
)
def test_a_champion_that_cannot_be_measured_fails_the_gate(
    make: Callable[[Path], None] | None, text: str, segmented_slices: Path, backbone: Path, tmp_path: Path
) -> None:
    if make:
        make(tmp_path / "champion")
    gate = GateConfig(threshold=0.0, smallest_recall=0.0, champion=str(tmp_path / "champion"))
    config = EvaluationConfig(name="forams", gate=gate)
    verdict = evaluate_models(segmented_slices, [backbone], tmp_path / "served", config).card.gate
    assert not verdict.passed
    assert verdict.reasons[0].startswith(f"The served model {tmp_path / 'champion'} cannot be compared: ")
    assert text in verdict.reasons[0]


@pytest.mark.parametrize("gate", [{"smallest_recal": 0.5}, {"smallest_recall": float("nan")}, {"champion": None}])
def test_an_impossible_gate_condition_ends_the_step_with_a_message(
    gate: dict[str, object],
    segmented_slices: Path,
    backbone: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as exit_info:
        evaluate.python_func(
            slices=dsl.Dataset(uri=str(segmented_slices)),
            models=[dsl.Model(uri=str(backbone))],
            name="forams",
            threshold=0.0,
            gate=gate,
            seed=0,
            material="synthetic specimens",
            served=dsl.Model(uri=str(tmp_path / "served")),
            metrics=dsl.Metrics(uri=str(tmp_path / "metrics")),
            confusion=dsl.ClassificationMetrics(uri=str(tmp_path / "confusion")),
            report=dsl.HTML(uri=str(tmp_path / "report.html")),
            findings=dsl.Artifact(uri=str(tmp_path / "findings")),
        )
    assert exit_info.value.code
    assert f"[evaluate] bad_input: gate key '{next(iter(gate))}'" in capsys.readouterr().out
    assert not any(tmp_path.iterdir())
