"""The served model: decoding, cropping, every member, the rule, the calibration and the names in one SavedModel."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2

from components.evaluate.ensemble import SMALLEST_SHARE, Ensemble
from components.evaluate.predictions import Member
from components.shared.preprocessing import decode_and_crop

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"


class ServedModel(tf.Module):
    """Answers encoded slices as the contract of the served model says.

    Args:
        members: the backbones that have a vote, by name.
        ensemble: weights, temperature, threshold.
        classes: species in the order of the scores.
        channels: 1 or 3.
    """

    def __init__(
        self, members: Mapping[str, Member], ensemble: Ensemble, classes: Sequence[str], channels: int
    ) -> None:
        super().__init__(name="taxonflow")
        self.networks = [members[name].network for name in ensemble.weights]
        self._sizes = [members[name].card.image_size for name in ensemble.weights]
        self._weights = list(ensemble.weights.values())
        self._temperature, self._unknown_below = ensemble.temperature, ensemble.unknown_below
        self._classes, self._channels = tf.constant(list(classes)), channels

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def serving_default(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Names the species of encoded segmented slices, string [N]."""
        crops = {size: self._crops(image_bytes, size) for size in sorted(set(self._sizes))}
        shares, embeddings = [], []
        for network, size, weight in zip(self.networks, self._sizes, self._weights, strict=True):
            logits, embedding = network(crops[size], training=False)
            shares.append(weight * tf.nn.softmax(logits))
            embeddings.append(embedding)
        logarithms = tf.math.log(tf.maximum(tf.add_n(shares), SMALLEST_SHARE))
        scores = tf.nn.softmax(logarithms / self._temperature)
        confidence = tf.reduce_max(scores, axis=1)
        return {
            "species": tf.gather(self._classes, tf.argmax(scores, axis=1)),
            "confidence": confidence,
            "scores": scores,
            "unknown": confidence < self._unknown_below,
            "embedding": tf.concat(embeddings, axis=1),
        }

    def _crops(self, image_bytes: tf.Tensor, size: int) -> tf.Tensor:
        """Decodes on the CPU, where alone the kernels are: float32 [N, size, size, C]."""
        with tf.device("/CPU:0"):
            crops = tf.map_fn(
                lambda encoded: decode_and_crop(encoded, size, self._channels),
                image_bytes,
                fn_output_signature=tf.TensorSpec([size, size, self._channels], tf.uint8),
            )
        return tf.cast(crops, tf.float32)


def export_served_model(model: ServedModel, folder: Path) -> None:
    """Writes a model as TensorFlow Serving loads it."""
    tf.saved_model.save(model, str(folder), signatures={"serving_default": model.serving_default})


def write_warmup_requests(folder: Path, name: str, slices: Sequence[bytes]) -> None:
    """Writes requests that TensorFlow Serving replays before a model takes traffic.

    Args:
        folder: the version folder.
        name: the model's name.
        slices: encoded slices, one for each request.
    """
    (folder / WARMUP_FILE).parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(folder / WARMUP_FILE)) as file:
        for encoded in slices:
            request = predict_pb2.PredictRequest(
                model_spec=model_pb2.ModelSpec(name=name, signature_name="serving_default"),
                inputs={"image_bytes": tf.make_tensor_proto([encoded])},
            )
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            file.write(log.SerializeToString())
