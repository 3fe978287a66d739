"""A version of a model in this process: its SavedModel, warmed up, answering off the event loop."""

import asyncio
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.protobuf import saved_model_pb2

from components.shared.contracts import SERVED_TOLERANCE, ModelCard
from components.shared.errors import ContractError
from components.shared.images.decoding import encode_png
from components.shared.model_repository import GRAPH_FILE, StoredVersion
from components.shared.signing import verify_folder
from serving.preparation import Expectation
from serving.protocol import OUTPUTS, SIGNATURE, Input, Outputs, RequestError

_WARM_UP_BATCHES = (1, 2, 1)


class LoadedVersion:
    """A version in memory, warmed up.

    Args:
        stored: where it lies.
        workers: run the graph.
        public_key: of the signature that it must have; None is content with its digests.

    Raises:
        Exception: whatever TensorFlow raises on a damaged SavedModel.
        ContractError: a file is not what was signed, its card is damaged, its signature is not the one of the contract,
            or it answers the card's known slices otherwise than the evaluation did.
    """

    def __init__(self, stored: StoredVersion, workers: Executor, public_key: Path | None = None) -> None:
        verify_folder(stored.folder, public_key)  # a SavedModel is a program: nothing of it is read before
        card = stored.card()
        self.stored, self.version, self.workers = stored, stored.version, workers
        self.expectation, self.classes = Expectation(card.channels, card.segmented, card.image_size), card.classes
        self._graph = tf.saved_model.load(str(stored.folder))
        self._signatures = dict(self._graph.signatures)
        self.signature_def = _signature_def(stored)
        self._warm_up()
        self._check_known_answers(card)

    async def predict(self, given: Input, signature_name: str) -> tuple[Outputs, int]:
        """Answers, and says with which version, which is this one; raises RequestError as `run` does."""
        outputs = await asyncio.get_running_loop().run_in_executor(self.workers, self.run, given, signature_name)
        return outputs, self.version

    def run(self, given: Input, signature_name: str = SIGNATURE) -> Outputs:
        """Answers, and blocks until then.

        Args:
            given: what the signature takes.
            signature_name: of the signature.

        Raises:
            RequestError: 400 for an unknown signature, another shape, or an image that the graph cannot decode.
        """
        if signature_name not in self._signatures:
            raise RequestError(400, f"the signature {signature_name[:64]!r}", f"one of {sorted(self._signatures)}")
        signature = self._signatures[signature_name]
        try:
            return _call(signature, given)
        except tf.errors.InvalidArgumentError as error:
            if len(given) == 1:
                raise RequestError(400, "instance 0 is an image that the model cannot decode") from error
        return _name_the_bad_one(signature, given)

    def _check_known_answers(self, card: ModelCard) -> None:
        if not card.examples:
            return
        images = [(self.stored.folder / known.file).read_bytes() for known in card.examples]
        scores = self.run(images).scores.tolist()
        difference = max(known.difference(row) for known, row in zip(card.examples, scores, strict=True))
        if difference > SERVED_TOLERANCE:
            raise ContractError(f"scores of known slices {difference:.2g} off", f"at most {SERVED_TOLERANCE:g}")

    def _warm_up(self) -> None:
        image = np.zeros((64, 64), np.uint8)
        cv2.circle(image, (32, 32), 20, 200, -1)
        for count in _WARM_UP_BATCHES:
            self.run([encode_png(image)] * count)


def _call(signature: Any, given: Input) -> Outputs:
    ((name, wanted),) = signature.structured_input_signature[1].items()
    tensor = tf.constant(given, wanted.dtype)
    if not wanted.shape.is_compatible_with(tensor.shape):
        raise RequestError(400, f"{name} of the shape {list(tensor.shape)}", f"{list(wanted.shape)}")
    said = {output: values.numpy() for output, values in signature(**{name: tensor}).items()}
    return Outputs.of({**said, "species": [species.decode() for species in said["species"]]})


def _name_the_bad_one(signature: Any, given: Input) -> Outputs:
    for number in range(len(given)):
        try:
            _call(signature, given[number : number + 1])
        except tf.errors.InvalidArgumentError as error:
            raise RequestError(400, f"instance {number} is an image that the model cannot decode") from error
    raise RequestError(400, "a batch that the model refuses although it takes each image alone")


def _signature_def(stored: StoredVersion) -> dict[str, Any]:
    """Reads the signatures as TensorFlow Serving shows them."""
    document = saved_model_pb2.SavedModel.FromString((stored.folder / GRAPH_FILE).read_bytes())
    signatures = {
        name: json_format.MessageToDict(
            signature, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        for name, signature in document.meta_graphs[0].signature_def.items()
        if not name.startswith("__")
    }
    if SIGNATURE not in signatures or not set(OUTPUTS) <= set(signatures[SIGNATURE]["outputs"]):
        raise ContractError(f"{stored.folder} without the outputs {', '.join(OUTPUTS)}", f"a signature {SIGNATURE}")
    return signatures
