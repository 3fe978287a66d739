"""Fixtures: small SavedModels that fulfil the contract, slices, and server processes."""

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from components.shared.contracts import GateVerdict, ModelCard
from components.shared.images.decoding import encode_png
from components.shared.images.segmentation import segment_slice
from components.shared.model_repository import CARD_FILE
from components.shared.signing import sign_folder
from tests.model_cards import model_score, specimen_threshold
from tests.waiting import wait_until

CLASSES = ("alveolina", "fallotia", "lockhartia", "orbitoides")
IMAGE_SIZE, EMBEDDING = 32, 8
START_TIMEOUT_S = 60
SPECIMEN_THRESHOLD = specimen_threshold(level=0.6, scale=0.1, thresholds=(0.45, 0.41), specimens=20)
"""Thresholds of the models of `write_saved_model`, whose score of a slice is one minus its confidence."""


def id_of_model(seed: int) -> str:
    """Return the id that `write_saved_model` gives a model."""
    return hashlib.sha256(f"model {seed}".encode()).hexdigest()


def write_saved_model(folder: Path, seed: int, channels: int = 1, factor: float = 1.0) -> None:
    """Write a small model that fulfils the contract; a factor of NaN gives scores of NaN."""
    import tensorflow as tf

    from components.evaluate.export.saved_model import name_dimensions
    from components.shared.images.crops import decode_and_crop

    shape = [IMAGE_SIZE, IMAGE_SIZE, channels]

    class Classifier(tf.Module):
        """A random projection with a seed after the real preprocessing."""

        def __init__(self) -> None:
            super().__init__()
            random = np.random.default_rng(seed)
            self.project = tf.Variable(random.normal(0, 0.002, (np.prod(shape), EMBEDDING)), dtype=tf.float32)
            self.classify = tf.Variable(factor * random.normal(0, 1, (EMBEDDING, len(CLASSES))), dtype=tf.float32)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
        def serve(self, image_bytes: Any) -> dict[str, Any]:
            with tf.device("/CPU:0"):
                images = tf.map_fn(
                    lambda image: tf.cast(decode_and_crop(image, IMAGE_SIZE, channels), tf.float32),
                    image_bytes,
                    fn_output_signature=tf.TensorSpec(shape, tf.float32),
                )
            return self.answer(images)

        @tf.function(input_signature=[tf.TensorSpec([None, *shape], tf.uint8, name="crops")])
        def serve_crops(self, crops: Any) -> dict[str, Any]:
            return self.answer(tf.cast(crops, tf.float32))

        def answer(self, images: Any) -> dict[str, Any]:
            embedding = tf.tanh(tf.reshape(images, [-1, np.prod(shape)]) @ self.project)
            scores = tf.nn.softmax(embedding @ self.classify)
            confidence = tf.reduce_max(scores, axis=1)
            return {
                "species": tf.gather(tf.constant(CLASSES), tf.argmax(scores, axis=1)),
                "confidence": confidence,
                "scores": scores,
                "unknown": confidence < 0.4,
                "embedding": embedding,
                "unknown_score": 1 - confidence,
                "model": tf.fill([tf.shape(images)[0]], id_of_model(seed)),
            }

    classifier = Classifier()
    signatures = {"serving_default": classifier.serve, "crops": classifier.serve_crops}
    tf.saved_model.save(classifier, str(folder), signatures=signatures)
    name_dimensions(folder, CLASSES, SPECIMEN_THRESHOLD.of_model(id_of_model(seed)))


def card_of(name: str, **changes: Any) -> ModelCard:
    fields: dict[str, Any] = {
        "name": name,
        "classes": CLASSES,
        "channels": 1,
        "segmented": True,
        "members": ("projection",),
        "rule": "the only member",
        "metrics": model_score(),
        "thresholds": {"unknown": 0.4},
        "gate": GateVerdict(passed=True, accuracy=1.0, threshold=0.5, reasons=()),
        "data_hash": "0" * 64,
        "code_version": "0.1.0",
        "specimen_open_set": SPECIMEN_THRESHOLD,
    }
    return ModelCard(**{**fields, **changes})


@pytest.fixture(scope="session")
def saved_models(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Return the folders of SavedModels by the seed of their weights."""
    folders = {seed: tmp_path_factory.mktemp("saved-models") / str(seed) for seed in (1, 2)}
    for seed, folder in folders.items():
        write_saved_model(folder, seed)
    return folders


Publish = Callable[..., Path]


@pytest.fixture(scope="session")
def publish(saved_models: dict[int, Path]) -> Publish:
    """Return a function that publishes a version as the deploy step does: by one rename of a complete folder."""

    def publish_version(
        repository: Path, name: str, version: int, seed: int = 1, key: Path | None = None, **changes: Any
    ) -> Path:
        folder = repository / name / str(version)
        staging_folder = folder.parent / f".{version}.unfinished"
        shutil.copytree(saved_models[seed], staging_folder)
        card_of(name, **{"model_id": id_of_model(seed), **changes}).write(staging_folder / CARD_FILE)
        sign_folder(staging_folder, key)
        return staging_folder.rename(folder)

    return publish_version


def raw_slice(seed: int, shape: tuple[int, int] = (120, 160)) -> bytes:
    """Return a raw slice: a bright specimen in grey noise."""
    random = np.random.default_rng(seed)
    image = random.normal(40, 6, shape)
    mask = np.zeros(shape, np.uint8)
    axes = (int(random.integers(18, 50)), int(random.integers(18, 50)))
    cv2.ellipse(mask, (shape[1] // 2, shape[0] // 2), axes, float(random.integers(180)), 0, 360, 1, -1)
    image += mask * random.normal(130, 12, shape)
    return encode_png(np.clip(image, 0, 255).astype(np.uint8))


@pytest.fixture(scope="session")
def raw_slices() -> list[bytes]:
    return [raw_slice(seed) for seed in range(6)]


@pytest.fixture(scope="session")
def segmented_slices(raw_slices: list[bytes]) -> list[bytes]:
    images = [cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_GRAYSCALE) for raw in raw_slices]
    return [encode_png(segment_slice(image)) for image in images]


def b64(content: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(content).decode()}


@pytest.fixture(scope="session")
def instances_of() -> Callable[..., dict[str, Any]]:
    """Return a function that builds the body of a predict request in row format."""

    def body(images: list[bytes], specimen: str | None = None) -> dict[str, Any]:
        extra = {"specimen": specimen} if specimen else {}
        return {"instances": [{"image_bytes": b64(image), **extra} for image in images]}

    return body


@dataclass
class Server:
    """A server process."""

    process: subprocess.Popen[str]
    url: str
    events: Path
    repository: Path
    log: Path


def start_process(
    arguments: list[str], log: Path, timeout_s: float = START_TIMEOUT_S
) -> tuple[subprocess.Popen[str], str]:
    """Start a module and return its process and the address from its log."""
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments], stdout=output, stderr=subprocess.STDOUT, text=True, env=os.environ
        )
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline and process.poll() is None:
        lines = [line for line in log.read_text().splitlines() if "listening on http" in line]
        if lines:
            return process, lines[0].split("listening on ")[1].split(";")[0]
        time.sleep(0.05)
    process.kill()
    raise AssertionError(f"the server did not start: {log.read_text()}")


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.TransportError:
        return False


Start = Callable[..., Server]


@pytest.fixture(scope="session")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Yield a function that starts servers; stop them after the tests."""
    servers: list[Server] = []

    def start(repository: Path, *options: str, ready: bool = True) -> Server:
        folder = tmp_path_factory.mktemp("server")
        events, log = folder / "events", folder / "log.txt"
        arguments = [
            "serving",
            "--repository",
            str(repository),
            "--port",
            "0",
            "--events",
            str(events),
            "--poll",
            "0.2",
            *options,
        ]
        process, url = start_process(arguments, log)
        servers.append(Server(process, url, events, repository, log))
        if ready:
            wait_until(lambda: is_ready(url), START_TIMEOUT_S)
        return servers[-1]

    yield start
    for server in servers:
        server.process.kill()
        server.process.wait()


@pytest.fixture(scope="session")
def start_transformer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Yield a function that starts transformers of the model `forams`; stop them after the tests."""
    transformers: list[Server] = []

    def start(predictor_host: str, *options: str, ready: bool = True) -> Server:
        folder = tmp_path_factory.mktemp("transformer")
        events, log = folder / "events", folder / "log.txt"
        arguments = ["serving.transformer", "--model_name", "forams", "--predictor_host", predictor_host, *options]
        arguments += ["--predictor_protocol", "v1", "--workers", "1", "--http_port", "0", "--host", "127.0.0.1"]
        process, url = start_process([*arguments, "--events", str(events)], log)
        transformers.append(Server(process, url, events, folder, log))
        if ready:
            wait_until(lambda: is_ready(url), START_TIMEOUT_S)
        return transformers[-1]

    yield start
    for transformer in transformers:
        transformer.process.kill()
        transformer.process.wait()


@pytest.fixture(scope="session")
def reference(saved_models: dict[int, Path]) -> dict[int, Any]:
    """Return the SavedModels as functions of a list of encoded images, by seed."""
    import tensorflow as tf

    models = {seed: tf.saved_model.load(str(folder)) for seed, folder in saved_models.items()}
    return {seed: ReferenceModel(model) for seed, model in models.items()}


class ReferenceModel:
    """A SavedModel as a function."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def __call__(self, images: list[bytes]) -> dict[str, Any]:
        import tensorflow as tf

        outputs = self.model.signatures["serving_default"](image_bytes=tf.constant(images))
        return {name: value.numpy() for name, value in outputs.items()}


@pytest.fixture(scope="session")
def server(start_server: Start, publish: Publish, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """Start a server of the model `forams`, version 1, that several tests share."""
    repository = tmp_path_factory.mktemp("repository")
    publish(repository, "forams", 1)
    return start_server(repository)
