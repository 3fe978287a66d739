"""Fixtures: an evaluation of the trained backbones and its exported model, which no test may change."""

from pathlib import Path

import pytest

from components.evaluate.config import EvaluationConfig
from components.evaluate.evaluation import Evaluation, evaluate_models
from components.evaluate.gate import GateConfig

CONFIG = EvaluationConfig(name="forams", gate=GateConfig(threshold=0.5))


@pytest.fixture(scope="session")
def model_export(
    segmented_slices: Path, trained_backbones: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Evaluation, Path]:
    """Evaluate the trained backbones; return the evaluation and the folder of the exported version."""
    folder = tmp_path_factory.mktemp("served") / "model"
    return evaluate_models(segmented_slices, trained_backbones, folder, CONFIG), folder / "1"
