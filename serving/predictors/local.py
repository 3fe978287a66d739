"""The predictor in this process: the models of a repository, with several loaded versions of each."""

import asyncio
import gc
import threading
from collections.abc import Callable
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
from components.shared.files import folder_without_wildcards
from components.shared.images.decoding import encode_png
from components.shared.model_repository import GRAPH_FILE, Repository, StoredVersion
from components.shared.signing import verify_folder
from serving.metrics import FAILED_LOADS, VERSION
from serving.outputs import REQUIRED_OUTPUTS, Outputs
from serving.predictors.base import Expectation
from serving.protocol import SIGNATURE, RequestError, SignatureInput, status_answer
from serving.votes import ModelDescription, describe_model

RETAINED_VERSIONS = 2
_LOADING = "is being loaded"
_WARM_UP_BATCHES = (1, 2, 1)


class LocalPredictor:
    """The newest versions of every model of a repository, in memory.

    One thread calls `refresh` (`RepositoryWatcher`), any thread the other methods. A request holds the version that it
    started with, so a replaced version finishes its requests.

    Args:
        repository: Repository that `refresh` scans.
        workers: Executor of the graphs.
        report: Function that takes a message when a version is loaded or cannot be loaded.
        public_key: Key that verifies the signatures of versions; None checks only their digests.
    """

    def __init__(
        self,
        repository: Repository,
        workers: Executor,
        report: Callable[[str], None],
        public_key: Path | None = None,
    ) -> None:
        self.repository, self.workers, self.report, self.public_key = repository, workers, report, public_key
        self._loaded: dict[str, dict[int, LoadedVersion]] = {}
        self._newest: dict[str, int] = {}
        self._failures: dict[StoredVersion, str] = {}
        self._unserved: dict[str, str] = {}
        self._has_refreshed = False
        self._lock = threading.Lock()

    def refresh(self) -> None:
        """Load new versions from the repository; a served version is replaced once its successor is warmed up."""
        names = self.names()
        models = sorted({*self.repository.models(), *names})
        with self._lock:
            self._unserved = {model: self._unserved.get(model, _LOADING) for model in models if model not in names}
        for model in models:
            newest = self._newest_usable(model)
            if newest:
                self._serve(newest)
            elif model not in names:
                self._unserved[model] = self._newest_failure(model)
        self._failures = {entry: reason for entry, reason in self._failures.items() if entry.folder.is_dir()}
        self._has_refreshed = True

    def _newest_usable(self, model: str) -> "LoadedVersion | None":
        for candidate in self.repository.versions(model):
            version = self._loaded.get(model, {}).get(candidate.version)
            if version and version.source == candidate:
                return version
            if candidate not in self._failures and (version := self._load(candidate)):
                return version
        return None

    def _load(self, candidate: StoredVersion) -> "LoadedVersion | None":
        try:
            return LoadedVersion(candidate, self.workers, self.public_key)
        except Exception as error:  # a damaged SavedModel can raise anything; the old version stays in service
            reason = str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
            self._failures[candidate] = reason
            FAILED_LOADS.labels(candidate.model).inc()
            self.report(f"{candidate.model} version {candidate.version} cannot be loaded and is skipped: {reason}")
            return None

    def _newest_failure(self, model: str) -> str:
        failures = {entry.version: reason for entry, reason in self._failures.items() if entry.model == model}
        newest = max(failures, default=0)
        return f"cannot be loaded: version {newest}, {failures[newest]}" if failures else "has no version"

    def _serve(self, newest: "LoadedVersion") -> None:
        model, number = newest.source.model, newest.version
        versions = self._loaded.get(model, {})
        if self._newest.get(model) == number and versions.get(number) is newest:
            return
        versions = {other: old for other, old in versions.items() if old.source.folder.is_dir()} | {number: newest}
        numbers = {number, *sorted(versions, reverse=True)[:RETAINED_VERSIONS]}
        with self._lock:
            self._loaded[model] = {other: old for other, old in versions.items() if other in numbers}
            self._newest[model] = number
            self._unserved.pop(model, None)
        VERSION.labels(model).set(number)
        self.report(f"{model} version {number} is being served")
        del versions
        gc.collect()  # graphs contain reference cycles

    def names(self) -> list[str]:
        """Return the sorted names of the loaded models."""
        with self._lock:
            return sorted(self._newest)

    def unserved(self) -> dict[str, str]:
        """Return why a model of the repository does not answer requests, by name: it is being loaded, or cannot be."""
        with self._lock:
            return dict(self._unserved)

    async def get_version(self, model: str, version: int | None) -> "LoadedVersion":
        """Return a loaded version, the newest one for None.

        Raises:
            RequestError: 404 for an unknown model or version, 503 for a model that is being loaded and before the first
                scan of the repository has ended.
        """
        with self._lock:
            versions = self._loaded.get(model, {})
            match = versions.get(self._newest.get(model, 0) if version is None else version)
        if match:
            return match
        reason = self.unserved().get(model, "")
        if reason == _LOADING:
            raise RequestError(503, f"the model {model} {reason}", "", "Retry in a few seconds.")
        if reason:
            raise RequestError(404, f"the model {model} {reason}", "", "Publish a version that can be loaded.")
        if not self._has_refreshed:
            raise RequestError(503, "the models are still being loaded", "", "Retry in a few seconds.")
        if versions:
            raise RequestError(404, f"version {version} of {model} is not loaded", f"one of {sorted(versions)}")
        names = ", ".join(self.names()) or "none, because the repository holds no model yet"
        raise RequestError(404, f"the model {model[:64]!r} is not known", names)

    async def status(self, model: str, version: int | None) -> dict[str, Any]:
        """Return the answer to a status request; raises RequestError as `get_version` does."""
        failures = {
            candidate.version: ("END", reason)
            for candidate, reason in list(self._failures.items())
            if candidate.model == model
        }
        if version not in failures and (version is not None or not failures):
            await self.get_version(model, version)
        with self._lock:
            states = failures | dict.fromkeys(self._loaded.get(model, {}), ("AVAILABLE", ""))
        return status_answer({number: state for number, state in states.items() if version in (None, number)})

    async def metadata(self, model: str, version: int | None) -> dict[str, Any]:
        """Return the answer to a metadata request; raises RequestError as `get_version` does."""
        match = await self.get_version(model, version)
        return {
            "model_spec": {"name": model, "signature_name": "", "version": str(match.version)},
            "metadata": {"signature_def": {"signature_def": match.signature_def}},
        }

    async def unready_reason(self) -> str | None:
        """Return why requests cannot be answered; None if every model is loaded or has failed, and one is loaded."""
        if not self._has_refreshed:
            models = ", ".join(model for model, reason in sorted(self.unserved().items()) if reason == _LOADING)
            return "the models are still being loaded" + (f": {models}" if models else "")
        if self.names():
            return None
        return f"{self.repository.root} holds no model that can be served"


class LoadedVersion:
    """A SavedModel in memory, warmed up, that runs on worker threads.

    Args:
        source: Version in the repository.
        workers: Executor of the graph.
        public_key: Key that verifies the version's signature; None checks only its digests.

    Raises:
        Exception: Any exception that TensorFlow raises for a damaged SavedModel.
        ContractError: A file differs from its digest, the card is damaged, a required signature is missing, the graph
            names another model than the card, or the answers to the card's known slices differ from the evaluation's.
    """

    def __init__(self, source: StoredVersion, workers: Executor, public_key: Path | None = None) -> None:
        verify_folder(source.folder, public_key)  # a SavedModel is a program: verify before anything is parsed
        card = source.card()
        self.source, self.version, self.workers = source, source.version, workers
        self.expectation = Expectation(card.channels, card.segmented, card.image_size)
        threshold = card.specimen_open_set and card.specimen_open_set.of_model(card.model_id)
        self.description = ModelDescription(card.classes, {card.model_id: threshold} if threshold else {})
        with folder_without_wildcards(source.folder) as folder:
            self._graph = tf.saved_model.load(str(folder))
        self._signatures = dict(self._graph.signatures)
        self.signature_def = _signature_def(source.folder)
        self._check_model_id(card, self._warm_up())
        self._check_specimen_thresholds()
        self._check_known_answers(card)

    async def predict(self, inputs: SignatureInput, signature_name: str) -> tuple[Outputs, int]:
        """Return the outputs and this version's number; raises RequestError as `run` does."""
        outputs = await asyncio.get_running_loop().run_in_executor(self.workers, self.run, inputs, signature_name)
        return outputs, self.version

    def run(self, inputs: SignatureInput, signature_name: str = SIGNATURE) -> Outputs:
        """Run a signature in the calling thread.

        Args:
            inputs: Encoded images or crops, as the signature takes them.
            signature_name: Name of the signature.

        Raises:
            RequestError: 400 for an unknown signature, a wrong shape, or an image that the graph cannot decode.
        """
        if signature_name not in self._signatures:
            raise RequestError(400, f"the signature {signature_name[:64]!r}", f"one of {sorted(self._signatures)}")
        signature = self._signatures[signature_name]
        try:
            return _call(signature, inputs)
        except tf.errors.InvalidArgumentError as error:
            if len(inputs) == 1:
                raise RequestError(400, "instance 0 is an image that the model cannot decode") from error
        return _identify_bad_instance(signature, inputs)

    def _check_known_answers(self, card: ModelCard) -> None:
        if not card.examples:
            return
        images = [(self.source.folder / example.file).read_bytes() for example in card.examples]
        scores = self.run(images).scores.tolist()
        difference = max(example.difference(row) for example, row in zip(card.examples, scores, strict=True))
        if difference > SERVED_TOLERANCE:
            raise ContractError(
                f"scores of known slices that differ by {difference:.2g}", f"at most {SERVED_TOLERANCE:g}"
            )

    def _check_model_id(self, card: ModelCard, model_id: str) -> None:
        if model_id != card.model_id:
            names = [f"the model {value}" if value else "no model" for value in (model_id, card.model_id)]
            problem = f"a graph that names {names[0]} and a card that names {names[1]}"
            raise ContractError(problem, "the same model", "Export the model again; a graph fits only its own card.")

    def _check_specimen_thresholds(self) -> None:
        signatures = describe_model({"metadata": {"signature_def": {"signature_def": self.signature_def}}})
        if signatures.thresholds != self.description.thresholds:
            problem = "a graph and a card with different thresholds for specimens"
            raise ContractError(problem, "the same ones", "Export the model again; a graph fits only its own card.")

    def _warm_up(self) -> str:
        """Run the graph as requests do and return the id of the model that it names."""
        image = np.zeros((64, 64), np.uint8)
        cv2.circle(image, (32, 32), 20, 200, -1)
        answers = [self.run([encode_png(image)] * count) for count in _WARM_UP_BATCHES]
        return answers[-1].model_id


class RepositoryWatcher:
    """A thread that calls a function periodically.

    Args:
        refresh: Function to call; if it fails, the reason is reported and the next period tries again.
        report: Function that takes the reason of a failure, once per reason.
        pause_s: Seconds between two calls.
    """

    def __init__(self, refresh: Callable[[], None], report: Callable[[str], None], pause_s: float) -> None:
        self._refresh, self._report, self._pause_s = refresh, report, pause_s
        self._stop_event = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="repository-watcher", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_s: float = 20.0) -> None:
        """Stop the thread after the current call; wait at most `timeout_s` seconds."""
        self._stop_event.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _watch(self) -> None:
        last_reason = ""
        while not self._stop_event.is_set():
            try:
                self._refresh()
            except Exception as error:  # a dead watcher would leave an old model in service without a message
                reason = f"the repository cannot be read: {error}"
                if reason != last_reason:
                    self._report(reason)
                last_reason = reason
            self._stop_event.wait(self._pause_s)


def _call(signature: Any, inputs: SignatureInput) -> Outputs:
    ((name, spec),) = signature.structured_input_signature[1].items()
    tensor = tf.constant(inputs, spec.dtype)
    if not spec.shape.is_compatible_with(tensor.shape):
        raise RequestError(400, f"{name} of the shape {list(tensor.shape)}", f"{list(spec.shape)}")
    values = {output: result.numpy() for output, result in signature(**{name: tensor}).items()}
    texts = {name: [text.decode() for text in values[name]] for name in ("species", "model") if name in values}
    return Outputs.from_values(values | texts)


def _identify_bad_instance(signature: Any, inputs: SignatureInput) -> Outputs:
    for number in range(len(inputs)):
        try:
            _call(signature, inputs[number : number + 1])
        except tf.errors.InvalidArgumentError as error:
            raise RequestError(400, f"instance {number} is an image that the model cannot decode") from error
    raise RequestError(400, "a batch that the model rejects although it accepts each image alone")


def _signature_def(folder: Path) -> dict[str, Any]:
    """Return the signatures in the format of TensorFlow Serving's metadata."""
    document = saved_model_pb2.SavedModel.FromString((folder / GRAPH_FILE).read_bytes())
    signatures = {
        name: json_format.MessageToDict(
            signature, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        for name, signature in document.meta_graphs[0].signature_def.items()
        if not name.startswith("__")
    }
    if SIGNATURE not in signatures or not set(REQUIRED_OUTPUTS) <= set(signatures[SIGNATURE]["outputs"]):
        raise ContractError(f"{folder} without the outputs {', '.join(REQUIRED_OUTPUTS)}", f"a signature {SIGNATURE}")
    return signatures
