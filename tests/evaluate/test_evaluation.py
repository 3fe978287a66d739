"""The evaluation: its files contain its measurements, and the served model predicts the same."""

import io
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from kfp import dsl
from PIL import Image
from tensorflow_serving.apis import prediction_log_pb2

from components.evaluate.component import evaluate
from components.evaluate.evaluation import Evaluation, evaluate_models
from components.evaluate.export.saved_model import WARMUP_FILE
from components.evaluate.model_selection import EvaluationSource, Selection, select_on_validation
from components.evaluate.predictions import load_member
from components.shared import metrics
from components.shared.contracts import ModelCard
from components.shared.errors import ContractError
from components.shared.images.decoding import decode_image, encode_png
from components.shared.images.descriptors import DESCRIPTORS, describe
from components.shared.reference_profile import read_reference
from components.shared.slices import SPLITS, UNSEEN, Slice, SlicesWriter, iterate_split, read_index, read_info
from tests.evaluate.conftest import CONFIG


@pytest.fixture(scope="module")
def serve(model_export: tuple[Evaluation, Path]) -> tf.types.experimental.ConcreteFunction:
    return tf.saved_model.load(str(model_export[1])).signatures["serving_default"]


def test_the_saved_model_predicts_every_test_slice_as_the_evaluation(
    model_export: tuple[Evaluation, Path], serve: tf.types.experimental.ConcreteFunction, segmented_slices: Path
) -> None:
    evaluation, _ = model_export
    answers = serve(image_bytes=tf.constant([png for _, _, png in iterate_split(segmented_slices, "test")]))
    scores = evaluation.measurement.scores
    np.testing.assert_allclose(answers["scores"], scores, atol=1e-5)
    species = [name.decode() for name in answers["species"].numpy()]
    assert species == [evaluation.card.classes[label] for label in scores.argmax(axis=1)]
    np.testing.assert_allclose(answers["confidence"], scores.max(axis=1), atol=1e-5)
    assert answers["embedding"].shape[0] == len(scores)
    slice_scores = answers["unknown_score"].numpy()
    threshold, specimens = evaluation.card.specimen_open_set, evaluation.measurement.slices.specimens
    assert threshold is not None
    served = [threshold.score(slice_scores[specimens == name]) for name in np.unique(specimens)]
    np.testing.assert_allclose(served, evaluation.measurement.open_set.specimens.known_scores, atol=1e-3)
    flags = evaluation.measurement.open_set.known_scores > evaluation.card.thresholds["unknown_above"]
    assert answers["unknown"].numpy().tolist() == flags.tolist()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_other_modes_of_the_same_slice_get_the_same_scores(
    mode: str, serve: tf.types.experimental.ConcreteFunction, segmented_slices: Path
) -> None:
    _, _, png = next(iterate_split(segmented_slices, "test"))
    file = io.BytesIO()
    Image.fromarray(decode_image(png, 1)).convert(mode).save(file, "PNG")
    answers = serve(image_bytes=tf.constant([png, file.getvalue()]))["scores"].numpy()
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-5)


def test_the_card_contains_known_slices_with_their_scores(
    model_export: tuple[Evaluation, Path], serve: tf.types.experimental.ConcreteFunction
) -> None:
    evaluation, version = model_export
    assert ModelCard.read(version / "model.json") == evaluation.card
    assert [example.species for example in evaluation.card.examples] == list(evaluation.card.classes)
    slices = [(version / example.file).read_bytes() for example in evaluation.card.examples]
    scores = np.array([example.scores for example in evaluation.card.examples])
    np.testing.assert_allclose(serve(image_bytes=tf.constant(slices))["scores"], scores, atol=1e-5)


def test_the_metrics_of_the_card_are_those_of_the_confusion_matrix(model_export: tuple[Evaluation, Path]) -> None:
    evaluation, _ = model_export
    score = evaluation.card.metrics
    assert score.accuracy == metrics.accuracy(evaluation.measurement.confusion)
    low, high = score.accuracy_interval
    assert low <= score.accuracy <= high
    assert score.accuracy > 0.5  # three species; chance is a third
    assert set(evaluation.card.backbones) == {"cnn_small", "resnet_small"}


def test_the_reference_profile_contains_all_slices_not_trained_on(
    model_export: tuple[Evaluation, Path], segmented_slices: Path
) -> None:
    evaluation, version = model_export
    profile = read_reference(version / evaluation.card.reference)
    slices = [png for split in ("validation", "test") for _, _, png in iterate_split(segmented_slices, split)]
    assert len(profile) == len(slices)
    assert profile.loc[3, list(DESCRIPTORS)].to_dict() == pytest.approx(describe(decode_image(slices[3], 1)))
    assert not profile["specimen"].isin(train_specimens(segmented_slices)).any()


def train_specimens(folder: Path) -> set[str]:
    index = pd.read_parquet(folder / "index.parquet")
    return set(index.loc[index["split"] == "train", "specimen"])


def test_the_warm_up_requests_are_prediction_logs(model_export: tuple[Evaluation, Path]) -> None:
    records = list(tf.data.TFRecordDataset(str(model_export[1] / WARMUP_FILE)).as_numpy_iterator())
    request = prediction_log_pb2.PredictionLog.FromString(records[0]).predict_log.request
    assert request.model_spec.name == "forams"
    assert tf.make_ndarray(request.inputs["image_bytes"]).shape == (1,)


def test_permuted_test_labels_do_not_change_the_selection(
    model_export: tuple[Evaluation, Path], segmented_slices: Path, trained_backbones: tuple[Path, ...], tmp_path: Path
) -> None:
    slices = Path(shutil.copytree(segmented_slices, tmp_path / "slices"))
    index = pd.read_parquet(slices / "index.parquet")
    test = index["split"] == "test"
    index.loc[test, "species"] = index.loc[test, "species"].sample(frac=1, random_state=5).to_numpy()
    index.to_parquet(slices / "index.parquet")
    other = evaluate_models(slices, trained_backbones, tmp_path / "served", CONFIG)
    assert (other.card.rule, other.card.thresholds) == (model_export[0].card.rule, model_export[0].card.thresholds)
    assert as_bytes(other.selection) == as_bytes(model_export[0].selection)
    assert other.card.metrics.accuracy < model_export[0].card.metrics.accuracy


def as_bytes(selection: Selection) -> list[bytes]:
    """Return all results of model selection, to the last bit."""
    open_set = selection.open_set
    banks = [part for bank in open_set.banks for part in (bank, *bank.layers)]
    arrays = [array for bank in banks for array in vars(bank).values() if isinstance(array, np.ndarray)]
    values = (selection.ensemble, open_set.terms, open_set.threshold, open_set.separation, selection.candidates)
    return [repr(values).encode(), *(array.tobytes() for array in arrays)]


def test_permuted_validation_labels_change_the_selection(
    model_export: tuple[Evaluation, Path], segmented_slices: Path, trained_backbones: tuple[Path, ...], tmp_path: Path
) -> None:
    slices = Path(shutil.copytree(segmented_slices, tmp_path / "slices"))
    index = pd.read_parquet(slices / "index.parquet")
    rows = index["split"] == "validation"
    index.loc[rows, "species"] = index.loc[rows, "species"].sample(frac=1, random_state=5).to_numpy()
    index.to_parquet(slices / "index.parquet")
    info = read_info(slices)
    members = {member.card.backbone: member for member in (load_member(path, info) for path in trained_backbones)}
    source = EvaluationSource(slices, info, members, tmp_path)
    selection = select_on_validation(source)
    assert selection.ensemble.temperature > model_export[0].selection.ensemble.temperature
    assert as_bytes(selection) != as_bytes(model_export[0].selection)


def test_the_selection_needs_no_test_slices(
    model_export: tuple[Evaluation, Path], segmented_slices: Path, trained_backbones: tuple[Path, ...], tmp_path: Path
) -> None:
    without = Path(shutil.copytree(segmented_slices, tmp_path / "slices"))
    for shard in without.glob("slices-test-*"):
        shard.unlink()
    index = pd.read_parquet(without / "index.parquet")
    index[index["split"] != "test"].to_parquet(without / "index.parquet")
    info = read_info(without)
    members = {member.card.backbone: member for member in (load_member(path, info) for path in trained_backbones)}
    source = EvaluationSource(without, info, members, tmp_path)
    assert as_bytes(select_on_validation(source)) == as_bytes(model_export[0].selection)


def with_unseen_species(source: Path, folder: Path) -> Path:
    """Copy a data set and add slices of noise as a species outside the model."""
    folder.mkdir()
    info, rng = read_info(source), np.random.default_rng(0)
    images = {id_: png for split in SPLITS for id_, _, png in iterate_split(source, split)}
    rows = read_index(source)[["id", "species", "specimen", "split", "plane", "spacing_mm"]].to_dict("records")
    for number in range(20):
        noise = encode_png(rng.integers(1, 256, (info.image_size, info.image_size), dtype=np.uint8))
        images[f"noise-{number}"] = noise
        rows.append({**rows[0], "id": f"noise-{number}", "species": "Noise", "specimen": "noise", "split": UNSEEN})
    with SlicesWriter(folder, info.classes) as writer:
        for row in rows:
            png = images[row["id"]]
            writer.add(Slice(**row, foreground_ratio=0.5, descriptors=describe(decode_image(png, 1)), png=png))
        writer.finish(info.model_copy(update={"counts": writer.counts()}))
    return folder


def test_unseen_species_change_only_their_own_metrics(
    model_export: tuple[Evaluation, Path], segmented_slices: Path, trained_backbones: tuple[Path, ...], tmp_path: Path
) -> None:
    slices = with_unseen_species(segmented_slices, tmp_path / "slices")
    evaluation = evaluate_models(slices, trained_backbones, tmp_path / "served", CONFIG)
    score, without = evaluation.card.metrics, model_export[0].card.metrics
    assert score.unknown_auroc is not None
    assert score.unknown_auroc > 0.9
    assert score.unknown_auroc_by_species == {"Noise": score.unknown_auroc}
    assert score.unknown_flagged_by_species == {"Noise": score.unknown_flagged_unseen}
    assert score.unknown_flagged_unseen is not None
    assert score.unknown_flagged_unseen > score.unknown_flagged_known
    assert (score.unknown_specimens, without.unknown_specimens) == (1, 0)
    assert (score.unknown_specimen_auroc, score.unknown_specimens_flagged_unseen) == (1.0, 1.0)
    assert (without.unknown_specimen_auroc, without.unknown_specimens_flagged_unseen) == (None, None)
    assert score.unknown_specimens_flagged_known == without.unknown_specimens_flagged_known
    assert evaluation.numbers()["unknown_specimen_auroc"] == 1.0
    assert (without.unknown_auroc, without.unknown_flagged_unseen) == (None, None)
    assert as_bytes(evaluation.selection) == as_bytes(model_export[0].selection)
    assert {key: value for key, value in score if not key.startswith("unknown")} == {
        key: value for key, value in without if not key.startswith("unknown")
    }


def test_a_model_of_other_data_is_rejected(
    segmented_slices: Path, trained_backbones: tuple[Path, ...], tmp_path: Path
) -> None:
    other = Path(shutil.copytree(segmented_slices, tmp_path / "slices"))
    read_info(other).model_copy(update={"sources_hash": "other"}).write(other / "dataset.json")
    with pytest.raises(ContractError, match="cnn_small was trained on other data"):
        evaluate_models(other, trained_backbones, tmp_path / "served", CONFIG)
    assert not (tmp_path / "served").exists()


def test_the_same_backbone_twice_is_rejected(
    segmented_slices: Path, trained_backbones: tuple[Path, ...], tmp_path: Path
) -> None:
    with pytest.raises(ContractError, match="2 models of 1 backbones"):
        evaluate_models(segmented_slices, [trained_backbones[0]] * 2, tmp_path / "served", CONFIG)


def test_the_component_writes_verdict_metrics_matrix_and_report(
    segmented_slices: Path, trained_backbones: tuple[Path, ...], tmp_path: Path
) -> None:
    metrics = dsl.Metrics(uri=str(tmp_path / "metrics"))
    confusion = dsl.ClassificationMetrics(uri=str(tmp_path / "confusion"))
    passed, reasons, accuracy, interval, model_id = evaluate.python_func(
        slices=dsl.Dataset(uri=str(segmented_slices)),
        models=[dsl.Model(uri=str(path)) for path in trained_backbones],
        name="forams",
        threshold=0.0,
        gate={"smallest_recall": 0.0, "fewest_test_specimens": 99},
        seed=0,
        material="synthetic specimens",
        served=dsl.Model(uri=str(tmp_path / "served")),
        metrics=metrics,
        confusion=confusion,
        report=dsl.HTML(uri=str(tmp_path / "report.html")),
        findings=dsl.Artifact(uri=str(tmp_path / "findings")),
    )
    assert passed is False
    assert accuracy == metrics.metadata["accuracy"]
    assert interval == f"{metrics.metadata['accuracy_lower']:.1%} to {metrics.metadata['accuracy_upper']:.1%}"
    assert model_id == ModelCard.read(tmp_path / "served" / "1" / "model.json").model_id
    assert "99 are required" in reasons
    assert 0 <= metrics.metadata["macro_f1"] <= 1
    assert len(confusion.metadata["confusionMatrix"]["rows"]) == 3
    report = (tmp_path / "report.html").read_text()
    assert "must not be deployed" in report
    assert "All results are from synthetic specimens." in report
    assert "http" not in report.replace("http-equiv", "")
    suffixes = {path.suffix for path in (tmp_path / "findings").iterdir()}
    assert suffixes == {".html", ".md", ".json", ".csv"}
