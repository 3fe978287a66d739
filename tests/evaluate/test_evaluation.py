"""Evaluation: what it writes is what it measured, and what is served answers the same."""

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
from components.evaluate.ensemble import choose_ensemble
from components.evaluate.evaluation import Evaluation, evaluate_models
from components.evaluate.predictions import load_member, predict_split, slices_of
from components.evaluate.served_model import WARMUP_FILE
from components.shared.contracts import ModelCard
from components.shared.descriptors import DESCRIPTORS, describe
from components.shared.errors import ContractError
from components.shared.imaging import decode_image
from components.shared.reference import read_reference
from components.shared.slices import iterate_split, read_info


@pytest.fixture(scope="module")
def evaluated(
    segmented_slices: Path, trained_backbones: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Evaluation, Path]:
    folder = tmp_path_factory.mktemp("served") / "model"
    return evaluate_models(segmented_slices, trained_backbones, "forams", 0.5, 0, folder), folder / "1"


@pytest.fixture(scope="module")
def serve(evaluated: tuple[Evaluation, Path]) -> tf.types.experimental.ConcreteFunction:
    return tf.saved_model.load(str(evaluated[1])).signatures["serving_default"]


def test_the_saved_model_answers_every_test_slice_as_the_evaluation_did(
    serve: tf.types.experimental.ConcreteFunction,
    segmented_slices: Path,
    trained_backbones: tuple[Path, ...],
) -> None:
    info = read_info(segmented_slices)
    members = {member.card.backbone: member for member in (load_member(path, info) for path in trained_backbones)}
    logits = {
        split: {name: predict_split(segmented_slices, split, member, 1).logits for name, member in members.items()}
        for split in ("validation", "test")
    }
    validation = slices_of(segmented_slices, info, "validation")
    scores = choose_ensemble(logits["validation"], validation.labels).scores(logits["test"])
    answers = serve(image_bytes=tf.constant([png for _, _, png in iterate_split(segmented_slices, "test")]))
    np.testing.assert_allclose(answers["scores"], scores, atol=1e-5)
    species = [name.decode() for name in answers["species"].numpy()]
    assert species == [info.classes[place] for place in scores.argmax(axis=1)]
    np.testing.assert_allclose(answers["confidence"], scores.max(axis=1), atol=1e-5)
    assert answers["embedding"].shape[0] == len(scores)
    assert answers["unknown"].dtype == tf.bool


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_other_forms_of_the_same_slice_get_the_same_answer(
    mode: str, serve: tf.types.experimental.ConcreteFunction, segmented_slices: Path
) -> None:
    _, _, png = next(iterate_split(segmented_slices, "test"))
    file = io.BytesIO()
    Image.fromarray(decode_image(png, 1)).convert(mode).save(file, "PNG")
    answers = serve(image_bytes=tf.constant([png, file.getvalue()]))["scores"].numpy()
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-5)


def test_the_card_holds_the_known_slices_with_their_answers(
    evaluated: tuple[Evaluation, Path], serve: tf.types.experimental.ConcreteFunction
) -> None:
    found, version = evaluated
    assert ModelCard.read(version / "model.json") == found.card
    assert [example.species for example in found.card.examples] == list(found.card.classes)
    known = [(version / example.file).read_bytes() for example in found.card.examples]
    scores = np.array([example.scores for example in found.card.examples])
    np.testing.assert_allclose(serve(image_bytes=tf.constant(known))["scores"], scores, atol=1e-5)


def test_the_metrics_of_the_card_are_those_of_the_confusion_matrix(evaluated: tuple[Evaluation, Path]) -> None:
    found, _ = evaluated
    assert found.card.metrics["accuracy"] == np.trace(found.confusion) / found.confusion.sum()
    low, high = found.card.metrics["accuracy_interval"]
    assert low <= found.card.metrics["accuracy"] <= high
    assert found.card.metrics["accuracy"] > 0.5  # three species; chance is a third
    assert set(found.card.backbones) == {"cnn_small", "resnet_small"}


def test_the_reference_profile_describes_every_held_out_slice(
    evaluated: tuple[Evaluation, Path], segmented_slices: Path
) -> None:
    found, version = evaluated
    profile = read_reference(version / found.card.reference)
    held_out = [png for split in ("validation", "test") for _, _, png in iterate_split(segmented_slices, split)]
    assert len(profile) == len(held_out)
    assert profile.loc[3, list(DESCRIPTORS)].to_dict() == pytest.approx(describe(decode_image(held_out[3], 1)))
    assert not profile["specimen"].isin(train_specimens(segmented_slices)).any()


def train_specimens(folder: Path) -> set[str]:
    index = pd.read_parquet(folder / "index.parquet")
    return set(index.loc[index["split"] == "train", "specimen"])


def test_the_warm_up_requests_are_what_tensorflow_serving_replays(evaluated: tuple[Evaluation, Path]) -> None:
    records = list(tf.data.TFRecordDataset(str(evaluated[1] / WARMUP_FILE)).as_numpy_iterator())
    request = prediction_log_pb2.PredictionLog.FromString(records[0]).predict_log.request
    assert request.model_spec.name == "forams"
    assert tf.make_ndarray(request.inputs["image_bytes"]).shape == (1,)


def test_permuted_test_labels_do_not_change_what_is_chosen(
    evaluated: tuple[Evaluation, Path], segmented_slices: Path, trained_backbones: tuple[Path, ...], tmp_path: Path
) -> None:
    permuted = Path(shutil.copytree(segmented_slices, tmp_path / "slices"))
    index = pd.read_parquet(permuted / "index.parquet")
    test = index["split"] == "test"
    index.loc[test, "species"] = index.loc[test, "species"].sample(frac=1, random_state=5).to_numpy()
    index.to_parquet(permuted / "index.parquet")
    other = evaluate_models(permuted, trained_backbones, "forams", 0.5, 0, tmp_path / "served")
    assert (other.card.rule, other.card.thresholds) == (evaluated[0].card.rule, evaluated[0].card.thresholds)
    assert other.card.metrics["accuracy"] < evaluated[0].card.metrics["accuracy"]


def test_a_model_of_other_data_is_refused(
    segmented_slices: Path, trained_backbones: tuple[Path, ...], tmp_path: Path
) -> None:
    other = Path(shutil.copytree(segmented_slices, tmp_path / "slices"))
    read_info(other).model_copy(update={"sources_hash": "other"}).write(other / "dataset.json")
    with pytest.raises(ContractError, match="cnn_small was trained on other data"):
        evaluate_models(other, trained_backbones, "forams", 0.5, 0, tmp_path / "served")
    assert not (tmp_path / "served").exists()


def test_the_same_backbone_twice_is_refused(
    segmented_slices: Path, trained_backbones: tuple[Path, ...], tmp_path: Path
) -> None:
    with pytest.raises(ContractError, match="2 models of 1 backbones"):
        evaluate_models(segmented_slices, [trained_backbones[0]] * 2, "forams", 0.5, 0, tmp_path / "served")


def test_the_component_leaves_verdict_metrics_matrix_and_report(
    segmented_slices: Path, trained_backbones: tuple[Path, ...], tmp_path: Path
) -> None:
    metrics = dsl.Metrics(uri=str(tmp_path / "metrics"))
    confusion = dsl.ClassificationMetrics(uri=str(tmp_path / "confusion"))
    passed, reasons = evaluate.python_func(
        slices=dsl.Dataset(uri=str(segmented_slices)),
        models=[dsl.Model(uri=str(path)) for path in trained_backbones],
        name="forams",
        threshold=1.01,
        seed=0,
        served=dsl.Model(uri=str(tmp_path / "served")),
        metrics=metrics,
        confusion=confusion,
        report=dsl.HTML(uri=str(tmp_path / "report.html")),
    )
    assert passed is False
    assert "1.0100 slice accuracy required" in reasons
    assert 0 <= metrics.metadata["macro_f1"] <= 1
    assert len(confusion.metadata["confusionMatrix"]["rows"]) == 3
    report = (tmp_path / "report.html").read_text()
    assert "is refused" in report
    assert "http" not in report.replace("http-equiv", "")
