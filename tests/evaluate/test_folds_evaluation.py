"""The evaluation of a data set with folds: figures of every specimen, and a served model compared on validation."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from components.evaluate.config import EvaluationConfig
from components.evaluate.evaluation import Evaluation, evaluate_models
from components.evaluate.gate import GateConfig
from components.evaluate.report.writer import write_report
from components.shared.contracts import BackboneCard, ModelCard
from components.shared.contracts.fold_logits import FoldLogits, fold_file
from components.shared.images.crops import decode_and_crop
from components.shared.images.decoding import decode_image
from components.shared.images.descriptors import describe
from components.shared.reference_profile import read_reference
from components.shared.slices import SPLITS, Slice, SlicesWriter, iterate_slices, iterate_split, read_index, read_info

OLD_MODEL = Path(__file__).parents[1] / "fixtures" / "served-model-0.1.0" / "foraminifera"
FOLDS = 3
COLUMNS = ("id", "species", "specimen", "plane", "spacing_mm", "foreground_ratio")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def slices(segmented_slices: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the segmented slices into a data set with folds, without a test split."""
    folder, info = tmp_path_factory.mktemp("folded"), read_info(segmented_slices)
    specimens = sorted(read_index(segmented_slices)["specimen"].unique())
    with SlicesWriter(folder, info.classes) as writer:
        for row, png in iterate_slices(segmented_slices, SPLITS):
            split = "validation" if row["split"] == "validation" else "train"
            fields = {name: row[name] for name in COLUMNS}
            descriptors = describe(decode_image(png, 1))
            fold = specimens.index(row["specimen"]) % FOLDS
            writer.add(Slice(**fields, split=split, descriptors=descriptors, png=png, fold=fold))
        writer.finish(info.model_copy(update={"counts": writer.counts(), "folds": FOLDS}))
    return folder


@pytest.fixture(scope="module")
def evaluation(
    slices: Path, trained_backbones: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Evaluation, Path]:
    root = tmp_path_factory.mktemp("evaluation")
    models = [with_folds(model, slices, root / model.name) for model in trained_backbones]
    config = EvaluationConfig(name="forams", gate=GateConfig(threshold=0.1, champion=str(OLD_MODEL)))
    return evaluate_models(slices, models, root / "served", config), root


def with_folds(model: Path, slices: Path, folder: Path) -> Path:
    """Copy a trained backbone and add seeded logits of its models of the folds."""
    shutil.copytree(model, folder)
    card = BackboneCard.read(folder / "model.json")
    card.model_copy(update={"folds": FOLDS}).write(folder / "model.json")
    (folder / "folds").mkdir()
    index, rng = read_index(slices), np.random.default_rng(len(card.backbone))
    for fold in range(FOLDS):
        arrays = []
        for rows in (index[index["fold"] == (fold + 1) % FOLDS], index[index["fold"] == fold]):
            truth = np.eye(len(card.classes))[[card.classes.index(species) for species in rows["species"]]]
            logits = (2 * truth + rng.normal(size=truth.shape)).astype(np.float32)
            arrays += [rows["id"].to_numpy(dtype=str), logits]
        FoldLogits(*arrays).write(fold_file(folder, fold))
    return folder


def test_the_figures_rest_on_every_specimen(evaluation: tuple[Evaluation, Path], slices: Path) -> None:
    card = ModelCard.read(evaluation[1] / "served" / "1" / "model.json")
    index = read_index(slices)
    assert card.metrics.specimens == index["specimen"].nunique()
    assert {name: row.slices for name, row in card.metrics.species.items()} == index["species"].value_counts().to_dict()
    assert card.metrics.folds is not None
    assert (card.metrics.folds.count, card.metrics.folds.accuracy) == (FOLDS, card.metrics.accuracy)
    assert all(score.accuracy_interval for score in card.backbones.values())


def test_the_served_model_is_compared_on_validation_slices(evaluation: tuple[Evaluation, Path], slices: Path) -> None:
    card, version = evaluation[0].card, evaluation[1] / "served" / "1"
    validation = read_index(slices, "validation")
    assert card.held_out_split == "validation"
    assert {example.id for example in card.examples} <= set(validation["id"])
    profile = read_reference(version / card.reference)
    assert profile["specimen"].tolist() == validation["specimen"].tolist()
    reasons = " ".join(card.gate.reasons)
    assert "on the same validation set, the new one" in reasons
    assert f"the served model is trained on all specimens but {validation['specimen'].nunique()} validation" in reasons
    assert len(evaluation[0].measurement.open_set.known_scores) == len(validation)


def test_the_images_of_mistakes_are_those_of_their_slices(evaluation: tuple[Evaluation, Path], slices: Path) -> None:
    mistakes, images = evaluation[0].findings.mistakes, evaluation[0].images
    png = {id_: png for split in ("train", "validation") for id_, _, png in iterate_split(slices, split)}
    assert len(mistakes) == 12
    assert set(images.maps) == {mistake.row for mistake in mistakes}
    for mistake in mistakes:
        crop = decode_and_crop(png[mistake.id], 32, 1).numpy()[..., 0]
        np.testing.assert_array_equal(decode_image(images.slices[mistake.row], 1), crop)


def test_the_report_says_which_models_were_tested(evaluation: tuple[Evaluation, Path], tmp_path: Path) -> None:
    page = write_report(tmp_path / "report", evaluation[0].findings, evaluation[0].images)
    text = "The figures are those of 3 models, each tested on specimens it was not trained on"
    assert text in page
    assert "None of these specimens was used in training" not in page
    assert text in (tmp_path / "report" / "report.md").read_text()
    folds = json.loads((tmp_path / "report" / "report.json").read_text())["tables"]["folds"]
    assert [row["fold"] for row in folds] == [1, 2, 3]


def test_the_metrics_for_kubeflow_have_the_interval(evaluation: tuple[Evaluation, Path]) -> None:
    numbers, score = evaluation[0].numbers(), evaluation[0].card.metrics
    assert (numbers["accuracy_lower"], numbers["accuracy_upper"]) == score.accuracy_interval
