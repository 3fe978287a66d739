"""Presets fit the pipelines; the screen turns a log into a log."""

import inspect
import io
from pathlib import Path

import pytest
from rich.console import Console

from components.evaluate.gate import GateConditions
from components.shared.errors import BadConfigError
from components.train.backbones.registry import BACKBONES
from components.train.recipe import Recipe
from pipelines.local.console import ProgressConsole
from pipelines.local.run import pipeline_call
from pipelines.local.summary import Summary, print_outcome
from pipelines.presets import check_training, load_preset, preset_names
from pipelines.run import parse_options
from pipelines.training import phantom_training, training

LOG = """
09:25:24.096 - INFO - Executing task 'ingest-plan'
09:25:24.096 - INFO - Executing task 'ingest-cut'
    [ingest] 1/20 specimens
    [ingest] refused bad.nii.gz: it is empty
    2026-11-21 noise of a library
    [ingest] 20/20 specimens
09:25:24.096 - INFO - Executing task 'ingest'
09:25:24.096 - INFO - Executing task 'train'
09:25:24.096 - INFO - Executing task 'train'
    [train cnn_small] 2/2 epochs, validation accuracy 0.900
    [train cnn_small] failed: the loss is not a number any more
    [train resnet_small] failed: something that followed
"""


def test_the_presets_of_the_design_are_there() -> None:
    assert {"smoke", "sample", "fossil", "fish", "fish-sample"} <= set(preset_names())


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_names_only_parameters_of_the_pipelines_and_a_recipe_that_is_valid(name: str) -> None:
    preset = load_preset(name)
    known = set(inspect.signature(training.pipeline_func).parameters)
    assert set(preset.parameters) <= known
    assert set(preset.parameters["backbones"]) <= set(BACKBONES)
    check_training(preset.parameters)
    if preset.phantoms:
        assert set(preset.phantoms.model_dump()) <= set(inspect.signature(phantom_training.pipeline_func).parameters)


def test_every_condition_of_the_gate_is_shown_with_its_default() -> None:
    for pipeline in (training, phantom_training):
        shown = inspect.signature(pipeline.pipeline_func).parameters["gate"].default
        assert GateConditions(**shown) == GateConditions()
        assert set(shown) == set(GateConditions.model_fields)


def test_both_pipelines_share_their_parameters() -> None:
    own, phantom = (set(inspect.signature(p.pipeline_func).parameters) for p in (training, phantom_training))
    assert own - phantom == {"volumes", "material"}  # phantoms are always called synthetic
    assert phantom - own == {"specimens_per_species", "phantom_size", "phantom_kind", "phantom_imbalance"}


def test_photographs_are_not_segmented_whatever_the_preset(tmp_path: Path) -> None:
    for preset in ("smoke", "fish"):
        pipeline, arguments = pipeline_call(parse_options([f"--preset={preset}", f"--photos={tmp_path}"]))
        assert (pipeline, arguments["volumes"]) == ("training", str(tmp_path))
        assert (arguments["segmentation"], arguments["material"]) == ("none", "photographs")


def test_volumes_and_photographs_at_once_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadConfigError, match="VOLUMES and PHOTOS"):
        pipeline_call(parse_options([f"--volumes={tmp_path}", f"--photos={tmp_path}"]))


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


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BadConfigError, match=r"'nothing': expected one of .*smoke"):
        load_preset("nothing")


def test_a_path_in_brackets_is_shown_as_it_is(tmp_path: Path) -> None:
    said, message = io.StringIO(), "/scans/[old]/[/new] does not exist"
    summary = Summary(outcome="bad_input", message=message, synthetic=False)
    print_outcome(summary, tmp_path / "[a]" / "summary.json", tmp_path, Console(file=said, width=200))
    assert message in said.getvalue()
    assert f"{tmp_path}/[a]/summary.json" in said.getvalue()


def test_the_screen_shows_progress_and_refusals_and_the_log_keeps_everything(tmp_path: Path) -> None:
    drawn = io.StringIO()
    log = ProgressConsole(Console(file=drawn, width=200), tmp_path / "run.log").follow(io.StringIO(LOG))
    assert "20/20 specimens" in drawn.getvalue()
    assert "refused bad.nii.gz: it is empty" in drawn.getvalue()
    assert "noise" not in drawn.getvalue()
    assert (tmp_path / "run.log").read_text() == LOG
    assert list(log.seconds) == ["ingest", "train"]
    assert log.first_error == ("failed", "the loss is not a number any more")


def test_on_a_terminal_the_screen_draws_bars(tmp_path: Path) -> None:
    drawn = io.StringIO()
    console = Console(file=drawn, width=120, force_terminal=True)
    ProgressConsole(console, tmp_path / "run.log").follow(io.StringIO(LOG))
    assert "\x1b[" in drawn.getvalue()
    assert "train cnn_small" in drawn.getvalue()
