"""The served model predicts the same as the evaluation, for every encoding and size of a slice."""

import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from components.evaluate.evaluation import Evaluation
from components.evaluate.export.saved_model import WARMUP_FILE
from components.evaluate.predictions import load_member, predict_split
from components.shared.contracts import ModelCard
from components.shared.contracts.specimen_threshold import SpecimenThreshold
from components.shared.images.crops import decode_and_crop
from components.shared.images.decoding import decode_image
from components.shared.images.descriptors import DESCRIPTORS
from components.shared.slices import Slice, SlicesWriter, iterate_split, read_info
from serving.outputs import OUTPUTS

ENCODINGS = ("png8", "png16", "rgb", "rgba", "palette", "jpeg", "grey alpha")
SMALLEST, LARGEST = 16, 2000


@pytest.fixture(scope="module")
def saved_model(model_export: tuple[Evaluation, Path]) -> tf.types.experimental.GenericFunction:
    return tf.saved_model.load(str(model_export[1]))


def encode(image: np.ndarray, form: str) -> bytes:
    """Encode uint8 [H, W] in one of ENCODINGS."""
    file = io.BytesIO()
    if form == "png16":
        return bytes(cv2.imencode(".png", image.astype(np.uint16) * 257)[1])
    mode = {"rgb": "RGB", "rgba": "RGBA", "palette": "P", "grey alpha": "LA"}.get(form, "L")
    Image.fromarray(image).convert(mode).save(file, "JPEG" if form == "jpeg" else "PNG", compress_level=1)
    return file.getvalue()


def variants(folder: Path, count: int) -> Iterator[bytes]:
    """Yield test slices in every encoding and in sizes from SMALLEST to LARGEST, upright and wide."""
    slices = [decode_image(png, 1) for _, _, png in iterate_split(folder, "test")]
    edges = np.geomspace(SMALLEST, LARGEST, count).round().astype(int)
    for number, edge in enumerate(edges.tolist()):
        shape = (edge, max(SMALLEST, edge * 2 // 3)) if number % 2 else (max(SMALLEST, edge * 2 // 3), edge)
        yield encode(cv2.resize(slices[number % len(slices)], shape), ENCODINGS[number % len(ENCODINGS)])


def batches(images: list[bytes], size: int = 32) -> Iterator[list[bytes]]:
    for begin in range(0, len(images), size):
        yield images[begin : begin + size]


def evaluation_scores(
    evaluation: Evaluation, models: Iterable[Path], source: Path, images: list[bytes], folder: Path
) -> np.ndarray:
    """Return the scores of the evaluation's own path: records, members, ensemble."""
    info = read_info(source)
    (folder / "slices").mkdir()
    with SlicesWriter(folder / "slices", info.classes) as writer:
        for number, image in enumerate(images):
            descriptors = dict.fromkeys(DESCRIPTORS, 0.0)
            writer.add(Slice(str(number), info.classes[0], "one", "test", "x", 0.1, 0.0, descriptors, image))
        writer.finish(info)
    members = {path.name: load_member(path, info) for path in models}
    predictions = predict_split(folder / "slices", "test", members, len(images), folder)
    return evaluation.selection.ensemble.scores({name: row.logits for name, row in predictions.items()})


@pytest.mark.parametrize("count", [42, pytest.param(500, marks=pytest.mark.slow)])
def test_every_encoding_and_size_gets_the_evaluations_scores(
    count: int,
    model_export: tuple[Evaluation, Path],
    saved_model: tf.types.experimental.GenericFunction,
    segmented_slices: Path,
    trained_backbones: tuple[Path, ...],
    tmp_path: Path,
) -> None:
    images = list(variants(segmented_slices, count))
    expected = evaluation_scores(model_export[0], trained_backbones, segmented_slices, images, tmp_path)
    serve = saved_model.signatures["serving_default"]
    scores = [serve(image_bytes=tf.constant(batch))["scores"].numpy() for batch in batches(images)]
    np.testing.assert_allclose(np.concatenate(scores), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("form", [form for form in ENCODINGS if form != "jpeg"])
def test_lossless_encodings_of_a_slice_get_the_same_scores(
    form: str, saved_model: tf.types.experimental.GenericFunction, segmented_slices: Path
) -> None:
    image = decode_image(next(iterate_split(segmented_slices, "test"))[2], 1)
    both = tf.constant([encode(image, "png8"), encode(image, form)])
    answers = saved_model.signatures["serving_default"](image_bytes=both)["scores"].numpy()
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-5, rtol=0)


def test_the_signatures_name_the_cards_thresholds_for_specimens(model_export: tuple[Evaluation, Path]) -> None:
    card = ModelCard.read(model_export[1] / "model.json")
    document = saved_model_pb2.SavedModel.FromString((model_export[1] / "saved_model.pb").read_bytes())
    signatures = document.meta_graphs[0].signature_def
    for name in ("serving_default", "crops"):
        dimension = signatures[name].outputs["unknown_score"].tensor_shape.dim[0]
        threshold = SpecimenThreshold.from_name(dimension.name)
        assert threshold is not None
        assert (threshold.model_id, threshold.of_model("")) == (card.model_id, card.specimen_open_set)
        assert dimension.size == -1


def test_both_signatures_give_the_same_answers(
    saved_model: tf.types.experimental.GenericFunction, segmented_slices: Path
) -> None:
    pngs = [png for _, _, png in iterate_split(segmented_slices, "test")]
    crops = tf.stack([decode_and_crop(png, 32, 1) for png in pngs])
    from_images = saved_model.signatures["serving_default"](image_bytes=tf.constant(pngs))
    from_crops = saved_model.signatures["crops"](crops=crops)
    assert set(from_images) == set(from_crops) == set(OUTPUTS)
    np.testing.assert_allclose(from_images["scores"], from_crops["scores"], atol=1e-6, rtol=0)
    assert from_images["species"].numpy().tolist() == from_crops["species"].numpy().tolist()


def test_every_row_names_the_cards_model_and_its_score(
    model_export: tuple[Evaluation, Path],
    saved_model: tf.types.experimental.GenericFunction,
    segmented_slices: Path,
) -> None:
    card = model_export[0].card
    pngs = [png for _, _, png in iterate_split(segmented_slices, "test")]
    answers = [
        saved_model.signatures["serving_default"](image_bytes=tf.constant(pngs)),
        saved_model.signatures["crops"](crops=tf.stack([decode_and_crop(png, 32, 1) for png in pngs])),
    ]
    assert len(card.model_id) == 64
    for answer in answers:
        assert [name.decode() for name in answer["model"].numpy()] == [card.model_id] * len(pngs)
        flags = answer["unknown_score"].numpy() > np.float32(card.thresholds["unknown_above"])
        assert answer["unknown"].numpy().tolist() == flags.tolist()
    assert ModelCard.read(model_export[1] / "model.json").model_id == card.model_id


def test_the_signatures_name_the_scores(model_export: tuple[Evaluation, Path]) -> None:
    document = saved_model_pb2.SavedModel.FromString((model_export[1] / "saved_model.pb").read_bytes())
    for name in ("serving_default", "crops"):
        scores = document.meta_graphs[0].signature_def[name].outputs["scores"]
        assert json.loads(scores.tensor_shape.dim[1].name) == list(model_export[0].card.classes)


def test_an_empty_batch_gets_empty_outputs(saved_model: tf.types.experimental.GenericFunction) -> None:
    for answers in (
        saved_model.signatures["serving_default"](image_bytes=tf.constant([], tf.string)),
        saved_model.signatures["crops"](crops=tf.zeros([0, 32, 32, 1], tf.uint8)),
    ):
        assert {name: len(values) for name, values in answers.items()} == dict.fromkeys(answers, 0)


def test_the_card_contains_versions_and_the_signatures_inputs(model_export: tuple[Evaluation, Path]) -> None:
    card = model_export[0].card
    assert card.signatures["serving_default"] == {"input": "image_bytes", "dtype": "string", "shape": [None]}
    assert card.signatures["crops"] == {"input": "crops", "dtype": "uint8", "shape": [None, 32, 32, 1]}
    assert card.versions["tensorflow"] == tf.__version__


def test_both_signatures_are_warmed_up(
    model_export: tuple[Evaluation, Path], saved_model: tf.types.experimental.GenericFunction
) -> None:
    records = list(tf.data.TFRecordDataset(str(model_export[1] / WARMUP_FILE)).as_numpy_iterator())
    requests = [prediction_log_pb2.PredictionLog.FromString(record).predict_log.request for record in records]
    assert [request.model_spec.signature_name for request in requests[:2]] == ["serving_default", "crops"]
    for request in requests:
        inputs = {name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()}
        assert len(saved_model.signatures[request.model_spec.signature_name](**inputs)["species"]) == 1
