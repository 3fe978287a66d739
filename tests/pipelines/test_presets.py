"""Presets fit the pipelines; the screen turns a log into a log."""

import inspect
from pathlib import Path
from typing import Any

import pytest

from components.evaluate.gate import GateConditions
from components.parameters.check import check_training
from components.shared.errors import BadConfigError
from components.train.backbones.registry import BACKBONES
from components.train.recipe import Recipe
from pipelines.local.run import pipeline_call
from pipelines.presets import load_preset, preset_names
from pipelines.run import parse_options
from pipelines.training import build_pipelines

PIPELINES = build_pipelines(None)
TRAINING, PHANTOM_TRAINING = PIPELINES["training"], PIPELINES["phantom_training"]


def complaint(parameters: dict[str, Any]) -> str:
    """Return the message with which parameters are rejected, or an empty one."""
    try:
        check_training(parameters)
    except BadConfigError as error:
        return str(error)
    return ""


def test_the_documented_presets_exist() -> None:
    assert {"smoke", "sample", "fossil", "fish", "fish-sample"} <= set(preset_names())


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_has_known_parameters_and_a_valid_recipe(name: str) -> None:
    preset = load_preset(name)
    parameters = set(inspect.signature(TRAINING.pipeline_func).parameters)
    assert set(preset.parameters) <= parameters
    assert set(preset.parameters["backbones"]) <= set(BACKBONES)
    check_training(preset.parameters)
    if preset.phantoms:
        assert set(preset.phantoms.model_dump()) <= set(inspect.signature(PHANTOM_TRAINING.pipeline_func).parameters)


def test_every_gate_condition_is_a_default_of_the_pipeline() -> None:
    for pipeline in (TRAINING, PHANTOM_TRAINING):
        default_gate = inspect.signature(pipeline.pipeline_func).parameters["gate"].default
        assert GateConditions(**default_gate) == GateConditions()
        assert set(default_gate) == set(GateConditions.model_fields)


def test_phantom_training_has_the_parameters_of_training() -> None:
    own, phantom = (set(inspect.signature(p.pipeline_func).parameters) for p in (TRAINING, PHANTOM_TRAINING))
    assert own - phantom == {"volumes", "material"}  # phantoms are always called synthetic
    assert phantom - own == {"specimens_per_species", "phantom_size", "phantom_kind", "phantom_imbalance"}


def test_photographs_are_never_segmented(tmp_path: Path) -> None:
    for preset in ("smoke", "fish"):
        pipeline, arguments = pipeline_call(parse_options([f"--preset={preset}", f"--photos={tmp_path}"]))
        assert (pipeline, arguments["volumes"]) == ("training", str(tmp_path))
        assert (arguments["segmentation"], arguments["material"]) == ("none", "photographs")


def test_volumes_together_with_photographs_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(BadConfigError, match="VOLUMES and PHOTOS"):
        pipeline_call(parse_options([f"--volumes={tmp_path}", f"--photos={tmp_path}"]))


def test_blanks_around_backbones_do_not_count() -> None:
    options = parse_options(["--backbones=cnn_small, resnet_small ,"])
    assert options.backbones == ("cnn_small", "resnet_small")


@pytest.mark.parametrize(
    "parameters",
    [
        {"backbones": ["cnn_small", "cnn_small"]},
        {"backbones": ["cnn_small"], "large_backbones": ["resnet_small", "cnn_small"]},
    ],
)
def test_a_repeated_backbone_is_rejected_before_the_run(parameters: dict[str, list[str]]) -> None:
    assert "cnn_small more than once: expected each backbone once" in complaint(parameters)


def test_the_published_recipe_of_photographs_differs_by_backbone() -> None:
    fields = load_preset("fish").parameters["recipe"]
    scratch, transfer = Recipe.parse(fields, "cnn"), Recipe.parse(fields, "efficientnetb0")
    assert (scratch.weights, scratch.frozen_epochs, scratch.patience, scratch.plateau_patience) == ("none", 0, 10, 5)
    assert (transfer.weights, transfer.frozen_epochs, transfer.epochs) == ("imagenet", 5, 15)
    assert (transfer.frozen_learning_rate, transfer.learning_rate) == (1e-3, 1e-5)
    assert (transfer.patience, transfer.plateau_patience, transfer.plateau_floor) == (7, 3, 1e-7)
    assert scratch.class_weights == transfer.class_weights == "balanced"
    assert scratch.rotation * 360 == pytest.approx(30, abs=0.01)
    with pytest.raises(BadConfigError, match="frozen_epochs"):
        Recipe.parse({**fields, "backbones": {"cnn": {"frozen_epochs": 3}}}, "cnn")


def test_an_unknown_preset_is_rejected_with_the_known_ones() -> None:
    with pytest.raises(BadConfigError, match=r"'nothing': expected one of .*smoke"):
        load_preset("nothing")


def test_only_the_users_own_manifest_is_not_confined(tmp_path: Path) -> None:
    _, own = pipeline_call(parse_options([f"--volumes={tmp_path}"]))
    _, phantoms = pipeline_call(parse_options([]))
    assert (own.get("confined"), phantoms.get("confined", True)) == (False, True)


@pytest.mark.parametrize("name", ["rare_species", "doubtful_masks", "planes"])
def test_an_unknown_choice_of_ingest_is_rejected_before_the_run(name: str) -> None:
    assert complaint({name: "sometimes"}).startswith(f"parameter {name!r} with value 'sometimes'")
