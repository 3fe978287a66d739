"""The champion: the served model is measured on the same test slices, also one of an older version."""

from pathlib import Path

import numpy as np
import pytest

from components.evaluate.champion import measure_champion
from components.evaluate.config import EvaluationConfig
from components.evaluate.evaluation import Evaluation, evaluate_models
from components.evaluate.gate import GateConfig

OLD_MODEL = Path(__file__).parents[1] / "fixtures" / "served-model-0.1.0" / "foraminifera"


@pytest.fixture(scope="module")
def model_export(
    segmented_slices: Path, trained_backbones: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Evaluation, Path]:
    folder = tmp_path_factory.mktemp("served") / "model"
    config = EvaluationConfig(name="forams", gate=GateConfig(threshold=0.5, champion=str(OLD_MODEL)))
    return evaluate_models(segmented_slices, trained_backbones[:1], folder, config), folder / "1"


def test_the_served_model_is_measured_on_the_same_slices(
    model_export: tuple[Evaluation, Path], segmented_slices: Path
) -> None:
    evaluation, version = model_export
    for source in (str(version), str(version.parent), f"file://{version.parent}"):
        champion = measure_champion(source, segmented_slices, evaluation.card.classes, evaluation.held_out, 0)
        assert (champion.accuracy, champion.problem, champion.p) == (evaluation.card.metrics.accuracy, "", 1.0)
        assert (champion.split, champion.new_accuracy) == ("test", champion.accuracy)


def test_a_model_of_0_1_0_can_be_the_champion(model_export: tuple[Evaluation, Path], segmented_slices: Path) -> None:
    evaluation, _ = model_export
    champion = measure_champion(str(OLD_MODEL), segmented_slices, evaluation.card.classes, evaluation.held_out, 0)
    assert champion.problem == ""
    assert champion.accuracy > 0.9  # its own evaluation measured 0.967 on phantoms of the same three species
    assert f"{champion.accuracy:.4f}" in " ".join(evaluation.card.gate.reasons)


@pytest.mark.parametrize(("source", "text"), [("/nowhere", "nowhere"), ("s3://bucket/model", "Mount it")])
def test_a_champion_that_cannot_be_measured_has_a_problem(
    source: str, text: str, model_export: tuple[Evaluation, Path], segmented_slices: Path
) -> None:
    evaluation, _ = model_export
    champion = measure_champion(source, segmented_slices, evaluation.card.classes, evaluation.held_out, 0)
    assert np.isnan(champion.accuracy)
    assert text in champion.problem
