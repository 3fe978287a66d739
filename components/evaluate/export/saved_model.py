"""The served model as one SavedModel: decoding, cropping, all members, ensemble rule, temperature and species names.

It has two signatures with the same outputs, those of the contract of the served model:

- `serving_default`: `image_bytes` string [N], encoded segmented slices;
- `crops`: `crops` uint8 [N, S, S, C], slices decoded and cropped to the specimen as in
  `components.shared.images.crops.decode_and_crop`. S is the largest input size of the members; a member of another
  size receives them images, so its outputs may differ from those for the encoded slice by rounding.

Besides the prediction, each row has the id of the model (`components.evaluate.export.model_id`): an answer names the
model that gave it, whatever route it took. Later versions of the contract only add outputs.

The signatures also contain the species, since TensorFlow Serving's metadata describe nothing but signatures: the name
of the second dimension of `scores`, which no computation uses, is the list of species as JSON for `serving.votes`,
and the name of the only dimension of `unknown_score` is the specimens' aggregation and thresholds
(`SpecimenThreshold`) as JSON with the id of the model.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2

from components.evaluate.ensemble.selection import SMALLEST_PROBABILITY, Ensemble
from components.evaluate.export.model_id import model_id
from components.evaluate.export.tf_rules import ServedOpenSetScore, combined_probabilities
from components.evaluate.open_set import OpenSetScore
from components.evaluate.predictions import Member
from components.shared.contracts.specimen_threshold import SpecimenThreshold
from components.shared.images.crops import decode_and_crop
from components.shared.model_repository import GRAPH_FILE

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
IMAGE_SIGNATURE, CROP_SIGNATURE = "serving_default", "crops"
IMAGE_INPUT, CROP_INPUT = "image_bytes", "crops"


class ServedGraph(tf.Module):
    """The TensorFlow graph of the served model.

    Args:
        members: Backbones by name, at least those of the ensemble.
        ensemble: Rule and temperature.
        open_set: Open-set score and its threshold.
        classes: Species in the order of the scores.
        channels: Number of channels of a slice, 1 or 3.
        specimen_open_set: Aggregation and thresholds that flag specimens as unknown; None for a model without them.

    Attributes:
        model_id: Id of the model, which is the output `model` of every slice.
        specimen_open_set: Aggregation and thresholds for specimens, with the id of the model.
    """

    def __init__(
        self,
        members: Mapping[str, Member],
        ensemble: Ensemble,
        open_set: OpenSetScore,
        classes: Sequence[str],
        channels: int,
        specimen_open_set: SpecimenThreshold | None = None,
    ) -> None:
        super().__init__(name="taxonflow")
        self.model_id = model_id(members, ensemble, open_set, classes, channels, specimen_open_set)
        self.specimen_open_set = specimen_open_set and specimen_open_set.of_model(self.model_id)
        self.networks = [members[name].described_network for name in ensemble.members]
        self._sizes = [members[name].card.image_size for name in ensemble.members]
        self._ensemble, self.open_set = ensemble, ServedOpenSetScore(open_set)
        self.classes, self._names, self.channels = tuple(classes), tf.constant(list(classes)), channels
        self.crop_size = max(self._sizes)
        self.crops = tf.function(self._predict_crops, input_signature=[self._crop_spec()])

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name=IMAGE_INPUT)])
    def serving_default(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Predict the species of encoded segmented slices, string [N]."""
        return self._predict({size: self._decode(image_bytes, size) for size in sorted(set(self._sizes))})

    def signatures(self) -> dict[str, dict[str, Any]]:
        """Return input, dtype and shape of each signature for the model card; None stands for any number."""
        specs = {IMAGE_SIGNATURE: self.serving_default.input_signature[0], CROP_SIGNATURE: self._crop_spec()}
        return {
            name: {"input": spec.name, "dtype": spec.dtype.name, "shape": list(spec.shape)}
            for name, spec in specs.items()
        }

    def _crop_spec(self) -> tf.TensorSpec:
        return tf.TensorSpec([None, self.crop_size, self.crop_size, self.channels], tf.uint8, name=CROP_INPUT)

    def _predict_crops(self, crops: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._predict({size: _resize(crops, size) for size in sorted(set(self._sizes))})

    def _predict(self, crops: Mapping[int, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Predict the species of crops uint8 [N, size, size, C] by size, the same slices in each size."""
        count = tf.shape(crops[self.crop_size])[0]
        outputs = [
            network(_pad_if_empty(crops[size]), training=False)
            for network, size in zip(self.networks, self._sizes, strict=True)
        ]
        logits, embeddings = ([member[number][:count] for member in outputs] for number in (0, 1))
        layers = [[statistics[:count] for statistics in member[2:]] for member in outputs]
        logits_by_name = dict(zip(self._ensemble.members, logits, strict=True))
        probabilities = combined_probabilities(self._ensemble.rule, logits_by_name)
        logarithms = tf.math.log(tf.maximum(probabilities, SMALLEST_PROBABILITY))
        scores = tf.nn.softmax(logarithms / self._ensemble.temperature)
        unknown_score = self.open_set.finite_score(probabilities, logits, embeddings, layers)
        return {
            "species": tf.gather(self._names, tf.argmax(scores, axis=1)),
            "confidence": tf.reduce_max(scores, axis=1),
            "scores": scores,
            "unknown": self.open_set.flags(unknown_score),
            "unknown_score": unknown_score,
            "embedding": tf.concat(embeddings, axis=1),
            "model": tf.fill([count], self.model_id),
        }

    def _decode(self, image_bytes: tf.Tensor, size: int) -> tf.Tensor:
        """Decode and crop encoded slices on the CPU, the only device with these kernels: uint8 [N, size, size, C]."""
        with tf.device("/CPU:0"):
            return tf.map_fn(
                lambda image: decode_and_crop(image, size, self.channels),
                image_bytes,
                fn_output_signature=tf.TensorSpec([size, size, self.channels], tf.uint8),
            )


def _resize(crops: tf.Tensor, size: int) -> tf.Tensor:
    """Return crops of another size, uint8 [N, size, size, C]."""
    if crops.shape[1] == size:
        return crops
    images = tf.image.resize(tf.cast(crops, tf.float32), (size, size), antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(images), 0.0, 255.0), tf.uint8)


def _pad_if_empty(crops: tf.Tensor) -> tf.Tensor:
    """Return crops as float32 [max(N, 1), S, S, C]; an empty batch is padded, as depthwise convolutions reject it."""
    padding = tf.maximum(1 - tf.shape(crops)[0], 0)
    return tf.cast(tf.pad(crops, [[0, padding], [0, 0], [0, 0], [0, 0]]), tf.float32)


def export_served_model(graph: ServedGraph, folder: Path) -> None:
    """Write a served model as TensorFlow Serving loads it."""
    signatures = {IMAGE_SIGNATURE: graph.serving_default, CROP_SIGNATURE: graph.crops}
    tf.saved_model.save(graph, str(folder), signatures=signatures)
    name_dimensions(folder, graph.classes, graph.specimen_open_set)


def name_dimensions(folder: Path, classes: Sequence[str], specimen_open_set: SpecimenThreshold | None = None) -> None:
    """Write what server and client need of a model besides its outputs into the signatures of a SavedModel.

    Args:
        folder: Version folder.
        classes: Species in the order of the scores, the name of the second dimension of `scores`.
        specimen_open_set: Aggregation and thresholds for specimens, the name of the dimension of `unknown_score`.
    """
    file = folder / GRAPH_FILE
    document = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    for signature in document.meta_graphs[0].signature_def.values():
        if "scores" in signature.outputs:
            signature.outputs["scores"].tensor_shape.dim[1].name = json.dumps(list(classes))
        if specimen_open_set and "unknown_score" in signature.outputs:
            signature.outputs["unknown_score"].tensor_shape.dim[0].name = specimen_open_set.to_name()
    file.write_bytes(document.SerializeToString(deterministic=True))


def write_warmup_requests(folder: Path, name: str, graph: ServedGraph, slices: Sequence[bytes]) -> None:
    """Write the requests that TensorFlow Serving replays before a model receives traffic.

    Args:
        folder: Version folder.
        name: Name of the model.
        graph: Graph that was exported.
        slices: Encoded slices; each becomes one request to each signature.
    """
    (folder / WARMUP_FILE).parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(folder / WARMUP_FILE)) as file:
        for image in slices:
            crop = decode_and_crop(image, graph.crop_size, graph.channels)
            file.write(_warmup_request(name, IMAGE_SIGNATURE, IMAGE_INPUT, tf.constant([image])))
            file.write(_warmup_request(name, CROP_SIGNATURE, CROP_INPUT, crop[tf.newaxis]))


def _warmup_request(name: str, signature: str, key: str, value: tf.Tensor) -> bytes:
    request = predict_pb2.PredictRequest(
        model_spec=model_pb2.ModelSpec(name=name, signature_name=signature),
        inputs={key: tf.make_tensor_proto(value.numpy())},
    )
    log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
    return bytes(log.SerializeToString())
