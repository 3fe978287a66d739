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

from components.evaluate.assessment import accuracy_of
from components.evaluate.champion import ask_champion
from components.evaluate.component import evaluate
from components.evaluate.config import EvaluationConfig
from components.evaluate.evaluation import Evaluation, evaluate_models
from components.evaluate.export.saved_model import WARMUP_FILE
from components.evaluate.gate import GateConfig
from components.evaluate.model_selection import Choice, Source, choose_on_validation
from components.evaluate.predictions import load_member
from components.shared.contracts import ModelCard
from components.shared.errors import ContractError
from components.shared.images.decoding import decode_image, encode_png
from components.shared.images.descriptors import DESCRIPTORS, describe
from components.shared.reference_profile import read_reference
from components.shared.slices import SPLITS, UNSEEN, Slice, SlicesWriter, iterate_split, read_index, read_info

CONFIG = EvaluationConfig(name="forams", gate=GateConfig(threshold=0.5))


@pytest.fixture(scope="module")
def evaluated(
    segmented_slices: Path, trained_backbones: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Evaluation, Path]:
    folder = tmp_path_factory.mktemp("served") / "model"
    return evaluate_models(segmented_slices, trained_backbones, folder, CONFIG), folder / "1"


@pytest.fixture(scope="module")
def serve(evaluated: tuple[Evaluation, Path]) -> tf.types.experimental.ConcreteFunction:
    return tf.saved_model.load(str(evaluated[1])).signatures["serving_default"]


def test_the_saved_model_answers_every_test_slice_as_the_evaluation_did(
    evaluated: tuple[Evaluation, Path], serve: tf.types.experimental.ConcreteFunction, segmented_slices: Path
) -> None:
    found, _ = evaluated
    answers = serve(image_bytes=tf.constant([png for _, _, png in iterate_split(segmented_slices, "test")]))
    scores = found.measured.scores
    np.testing.assert_allclose(answers["scores"], scores, atol=1e-5)
    species = [name.decode() for name in answers["species"].numpy()]
    assert species == [found.card.classes[place] for place in scores.argmax(axis=1)]
    np.testing.assert_allclose(answers["confidence"], scores.max(axis=1), atol=1e-5)
    assert answers["embedding"].shape[0] == len(scores)
    known = found.measured.unknown.known > found.card.thresholds["unknown_above"]
    assert answers["unknown"].numpy().tolist() == known.tolist()


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
    assert found.card.metrics["accuracy"] == accuracy_of(found.measured.confusion)
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
    other = evaluate_models(permuted, trained_backbones, tmp_path / "served", CONFIG)
    assert (other.card.rule, other.card.thresholds) == (evaluated[0].card.rule, evaluated[0].card.thresholds)
    assert as_bytes(other.choice) == as_bytes(evaluated[0].choice)
    assert other.card.metrics["accuracy"] < evaluated[0].card.metrics["accuracy"]


def as_bytes(choice: Choice) -> list[bytes]:
    """All that was chosen, to the last bit."""
    arrays = [array for around in choice.unknown.surroundings for array in vars(around).values()]
    words = (
        choice.ensemble,
        choice.unknown.parts,
        choice.unknown.threshold,
        choice.unknown.separation,
        choice.candidates,
    )
    return [repr(words).encode(), *(array.tobytes() for array in arrays)]


def test_permuted_validation_labels_do_change_what_is_chosen(
    evaluated: tuple[Evaluation, Path], segmented_slices: Path, trained_backbones: tuple[Path, ...], tmp_path: Path
) -> None:
    permuted = Path(shutil.copytree(segmented_slices, tmp_path / "slices"))
    index = pd.read_parquet(permuted / "index.parquet")
    rows = index["split"] == "validation"
    index.loc[rows, "species"] = index.loc[rows, "species"].sample(frac=1, random_state=5).to_numpy()
    index.to_parquet(permuted / "index.parquet")
    info = read_info(permuted)
    members = {member.card.backbone: member for member in (load_member(path, info) for path in trained_backbones)}
    source = Source(permuted, info, members, tmp_path)
    choice = choose_on_validation(source)
    assert choice.ensemble.temperature > evaluated[0].choice.ensemble.temperature
    assert as_bytes(choice) != as_bytes(evaluated[0].choice)


def test_what_is_chosen_needs_no_test_slices(
    evaluated: tuple[Evaluation, Path], segmented_slices: Path, trained_backbones: tuple[Path, ...], tmp_path: Path
) -> None:
    without = Path(shutil.copytree(segmented_slices, tmp_path / "slices"))
    for shard in without.glob("slices-test-*"):
        shard.unlink()
    index = pd.read_parquet(without / "index.parquet")
    index[index["split"] != "test"].to_parquet(without / "index.parquet")
    info = read_info(without)
    members = {member.card.backbone: member for member in (load_member(path, info) for path in trained_backbones)}
    source = Source(without, info, members, tmp_path)
    assert as_bytes(choose_on_validation(source)) == as_bytes(evaluated[0].choice)


def with_strangers(source: Path, folder: Path) -> Path:
    """Copies a data set and adds slices of noise as a species outside the model."""
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


def test_species_outside_the_model_are_measured_and_change_nothing_else(
    evaluated: tuple[Evaluation, Path], segmented_slices: Path, trained_backbones: tuple[Path, ...], tmp_path: Path
) -> None:
    slices = with_strangers(segmented_slices, tmp_path / "slices")
    found = evaluate_models(slices, trained_backbones, tmp_path / "served", CONFIG)
    told, untold = found.card.metrics, evaluated[0].card.metrics
    assert told["unknown_auroc"] > 0.9
    assert told["unknown_auroc_by_species"] == {"Noise": told["unknown_auroc"]}
    assert told["unknown_flagged_by_species"] == {"Noise": told["unknown_flagged_unseen"]}
    assert told["unknown_flagged_unseen"] > told["unknown_flagged_known"]
    assert (untold["unknown_auroc"], untold["unknown_flagged_unseen"]) == (None, None)
    assert as_bytes(found.choice) == as_bytes(evaluated[0].choice)
    assert {key: value for key, value in told.items() if not key.startswith("unknown")} == {
        key: value for key, value in untold.items() if not key.startswith("unknown")
    }


def test_the_model_now_served_is_asked_about_the_same_slices(
    evaluated: tuple[Evaluation, Path], segmented_slices: Path
) -> None:
    found, version = evaluated
    test = found.measured.test.slices
    right = found.measured.scores.argmax(axis=1) == test.labels
    for source in (str(version), str(version.parent), f"file://{version.parent}"):
        champion = ask_champion(source, segmented_slices, found.card.classes, test, right, 0)
        assert (champion.accuracy, champion.problem, champion.p) == (found.card.metrics["accuracy"], "", 1.0)


@pytest.mark.parametrize(("source", "words"), [("/nowhere", "nowhere"), ("s3://bucket/model", "Mount it")])
def test_a_model_that_cannot_be_asked_refuses_through_the_gate(
    source: str, words: str, evaluated: tuple[Evaluation, Path], segmented_slices: Path
) -> None:
    found, _ = evaluated
    test = found.measured.test.slices
    champion = ask_champion(source, segmented_slices, found.card.classes, test, np.ones(len(test.ids), dtype=bool), 0)
    assert np.isnan(champion.accuracy)
    assert words in champion.problem


def test_a_model_of_other_data_is_refused(
    segmented_slices: Path, trained_backbones: tuple[Path, ...], tmp_path: Path
) -> None:
    other = Path(shutil.copytree(segmented_slices, tmp_path / "slices"))
    read_info(other).model_copy(update={"sources_hash": "other"}).write(other / "dataset.json")
    with pytest.raises(ContractError, match="cnn_small was trained on other data"):
        evaluate_models(other, trained_backbones, tmp_path / "served", CONFIG)
    assert not (tmp_path / "served").exists()


def test_the_same_backbone_twice_is_refused(
    segmented_slices: Path, trained_backbones: tuple[Path, ...], tmp_path: Path
) -> None:
    with pytest.raises(ContractError, match="2 models of 1 backbones"):
        evaluate_models(segmented_slices, [trained_backbones[0]] * 2, tmp_path / "served", CONFIG)


def test_the_component_leaves_verdict_metrics_matrix_and_report(
    segmented_slices: Path, trained_backbones: tuple[Path, ...], tmp_path: Path
) -> None:
    metrics = dsl.Metrics(uri=str(tmp_path / "metrics"))
    confusion = dsl.ClassificationMetrics(uri=str(tmp_path / "confusion"))
    passed, reasons = evaluate.python_func(
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
    assert "99 are required" in reasons
    assert 0 <= metrics.metadata["macro_f1"] <= 1
    assert len(confusion.metadata["confusionMatrix"]["rows"]) == 3
    report = (tmp_path / "report.html").read_text()
    assert "must not be used yet" in report
    assert "All figures were made with synthetic specimens." in report
    assert "http" not in report.replace("http-equiv", "")
    written = {path.suffix for path in (tmp_path / "findings").iterdir()}
    assert written == {".html", ".md", ".json", ".csv"}
