"""The served model: decoding, cropping, every member, the rule, the calibration and the names in one SavedModel.

It has two signatures with the same outputs, those of the contract of the served model:

- `serving_default`: `image_bytes` string [N], encoded segmented slices;
- `crops`: `crops` uint8 [N, S, S, C], slices already decoded and cropped to the specimen as
  `components.shared.images.crops.decode_and_crop` does it. S is the largest input size of the members; a member of
  another size sees them resized, so that its answers may differ from those to the encoded slice by rounding.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2

from components.evaluate.ensemble.calibration import Ensemble
from components.evaluate.ensemble.selection import SMALLEST_SHARE
from components.evaluate.export.named_scores import name_scores
from components.evaluate.export.tf_rules import ServedUnknown, combined_shares
from components.evaluate.open_set import UnknownScore
from components.evaluate.predictions import Member
from components.shared.images.crops import decode_and_crop

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
IMAGE_SIGNATURE, CROP_SIGNATURE = "serving_default", "crops"
IMAGE_INPUT, CROP_INPUT = "image_bytes", "crops"


class ServedModel(tf.Module):
    """Answers encoded slices as the contract of the served model says.

    Args:
        members: the backbones that have a vote, by name.
        ensemble: rule and temperature.
        unknown: score and threshold of unknown species.
        classes: species in the order of the scores.
        channels: 1 or 3.
    """

    def __init__(
        self,
        members: Mapping[str, Member],
        ensemble: Ensemble,
        unknown: UnknownScore,
        classes: Sequence[str],
        channels: int,
    ) -> None:
        super().__init__(name="taxonflow")
        self.networks = [members[name].network for name in ensemble.members]
        self._sizes = [members[name].card.image_size for name in ensemble.members]
        self._ensemble, self.unknown = ensemble, ServedUnknown(unknown)
        self.classes, self._names, self.channels = tuple(classes), tf.constant(list(classes)), channels
        self.crop_size = max(self._sizes)
        self.crops = tf.function(self._answer_crops, input_signature=[self._crop_spec()])

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name=IMAGE_INPUT)])
    def serving_default(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Names the species of encoded segmented slices, string [N]."""
        return self._answer({size: self._decoded(image_bytes, size) for size in sorted(set(self._sizes))})

    def signatures(self) -> dict[str, dict[str, Any]]:
        """Describes the signatures for the model card: input, dtype and shape of each, None for any number."""
        specs = {IMAGE_SIGNATURE: self.serving_default.input_signature[0], CROP_SIGNATURE: self._crop_spec()}
        return {
            name: {"input": spec.name, "dtype": spec.dtype.name, "shape": list(spec.shape)}
            for name, spec in specs.items()
        }

    def _crop_spec(self) -> tf.TensorSpec:
        return tf.TensorSpec([None, self.crop_size, self.crop_size, self.channels], tf.uint8, name=CROP_INPUT)

    def _answer_crops(self, crops: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._answer({size: _resized(crops, size) for size in sorted(set(self._sizes))})

    def _answer(self, crops: Mapping[int, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Names the species of uint8 [N, size, size, C] by size, the same slices in each."""
        count = tf.shape(crops[self.crop_size])[0]
        said = [
            network(_never_empty(crops[size]), training=False)
            for network, size in zip(self.networks, self._sizes, strict=True)
        ]
        logits, embeddings = [first[:count] for first, _ in said], [second[:count] for _, second in said]
        shares = combined_shares(self._ensemble.rule, dict(zip(self._ensemble.members, logits, strict=True)))
        logarithms = tf.math.log(tf.maximum(shares, SMALLEST_SHARE))
        scores = tf.nn.softmax(logarithms / self._ensemble.temperature)
        return {
            "species": tf.gather(self._names, tf.argmax(scores, axis=1)),
            "confidence": tf.reduce_max(scores, axis=1),
            "scores": scores,
            "unknown": self.unknown.flags(shares, logits, embeddings),
            "embedding": tf.concat(embeddings, axis=1),
        }

    def _decoded(self, image_bytes: tf.Tensor, size: int) -> tf.Tensor:
        """Decodes on the CPU, where alone the kernels are: uint8 [N, size, size, C]."""
        with tf.device("/CPU:0"):
            return tf.map_fn(
                lambda encoded: decode_and_crop(encoded, size, self.channels),
                image_bytes,
                fn_output_signature=tf.TensorSpec([size, size, self.channels], tf.uint8),
            )


def _resized(crops: tf.Tensor, size: int) -> tf.Tensor:
    """Returns uint8 [N, size, size, C]."""
    if crops.shape[1] == size:
        return crops
    resized = tf.image.resize(tf.cast(crops, tf.float32), (size, size), antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(resized), 0.0, 255.0), tf.uint8)


def _never_empty(crops: tf.Tensor) -> tf.Tensor:
    """Returns float32 [max(N, 1), S, S, C]: depthwise convolutions refuse an empty batch."""
    missing = tf.maximum(1 - tf.shape(crops)[0], 0)
    return tf.cast(tf.pad(crops, [[0, missing], [0, 0], [0, 0], [0, 0]]), tf.float32)


def export_served_model(model: ServedModel, folder: Path) -> None:
    """Writes a model as TensorFlow Serving loads it."""
    signatures = {IMAGE_SIGNATURE: model.serving_default, CROP_SIGNATURE: model.crops}
    tf.saved_model.save(model, str(folder), signatures=signatures)
    name_scores(folder, model.classes)


def write_warmup_requests(folder: Path, name: str, model: ServedModel, slices: Sequence[bytes]) -> None:
    """Writes requests that TensorFlow Serving replays before a model takes traffic.

    Args:
        folder: the version folder.
        name: the model's name.
        model: what was exported.
        slices: encoded slices, one request to each signature for each.
    """
    (folder / WARMUP_FILE).parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(folder / WARMUP_FILE)) as file:
        for encoded in slices:
            crop = decode_and_crop(encoded, model.crop_size, model.channels)
            file.write(_warmup_request(name, IMAGE_SIGNATURE, IMAGE_INPUT, tf.constant([encoded])))
            file.write(_warmup_request(name, CROP_SIGNATURE, CROP_INPUT, crop[tf.newaxis]))


def _warmup_request(name: str, signature: str, key: str, value: tf.Tensor) -> bytes:
    request = predict_pb2.PredictRequest(
        model_spec=model_pb2.ModelSpec(name=name, signature_name=signature),
        inputs={key: tf.make_tensor_proto(value.numpy())},
    )
    log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
    return bytes(log.SerializeToString())
