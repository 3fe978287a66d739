"""Latency and throughput of the server, compared in turns with calls of the same SavedModel in this process."""

import http.client
import itertools
import json
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from tests.benchmarks.measurement import Measurement
from tests.http_server import Response, http_server
from tests.waiting import wait_until

EDGE, SPECIES = 224, 12
ROUNDS, THROUGHPUT_ROUNDS, CLIENTS, REQUESTS = 40, 4, 8, 40
LOAD_REQUESTS = 20_000
START_TIMEOUT_S = 300
NAME = "bench"
PATH = f"/v1/models/{NAME}:predict"


def _publish_mobilenet(folder: Path) -> Path:
    """Publish a served model of one untrained mobilenet at 224 px and return the repository."""
    import keras

    from components.evaluate.ensemble.rules import SoftVote
    from components.evaluate.ensemble.selection import Ensemble
    from components.evaluate.export.saved_model import ServedGraph, export_served_model
    from components.evaluate.open_set import OpenSetScore, ScaledScore
    from components.evaluate.predictions import Member
    from components.shared.contracts import BackboneCard
    from components.train.backbones.build import build_backbone
    from components.train.backbones.registry import InputSpec

    classes = tuple(f"species-{number}" for number in range(SPECIES))
    model = build_backbone("mobilenet", InputSpec(EDGE, 1, SPECIES))
    network = keras.Model(model.inputs, [model.output, model.get_layer("embedding").output])
    card = BackboneCard(
        backbone="mobilenet",
        parameters=model.count_params(),
        image_size=EDGE,
        channels=1,
        classes=classes,
        recipe={},
        history=(),
        metrics={},
        data_hash="0" * 64,
        seconds=0,
    )
    unknown = OpenSetScore((ScaledScore("max_softmax", 0.1, 0.1),), 1.0, (), {})
    served_model = ServedGraph(
        {"mobilenet": Member(card, network)}, Ensemble(SoftVote({"mobilenet": 1.0}), 1.0), unknown, classes, 1
    )
    export_served_model(served_model, folder / "exported")
    return _publish(folder / "exported", folder / "models", 1, classes=classes, model_id=served_model.model_id)


def _publish(export: Path, repository: Path, version: int, **card: Any) -> Path:
    """Copy a SavedModel to a repository as the deploy step does, and return the repository."""
    from components.shared.signing import sign_folder
    from tests.serving.conftest import card_of

    partial = repository / NAME / f".{version}"
    shutil.copytree(export, partial)
    card_of(NAME, **card).write(partial / "model.json")
    sign_folder(partial, None)
    partial.rename(repository / NAME / str(version))
    return repository


@contextmanager
def _serving(*arguments: str, log: Path) -> Iterator[tuple[str, int]]:
    """Start one of the servers as a process; yield its URL and process id."""
    from tests.serving.conftest import is_ready, start_process

    process, url = start_process(list(arguments), log, START_TIMEOUT_S)
    try:
        wait_until(lambda: is_ready(url), START_TIMEOUT_S)
        yield url, process.pid
    finally:
        process.terminate()
        process.wait(60)


class _RequestSender:
    """A client that sends one body repeatedly over one connection."""

    def __init__(self, url: str, body: bytes) -> None:
        address = urlsplit(url)
        self.connection, self.body = http.client.HTTPConnection(str(address.hostname), address.port, timeout=120), body

    def __call__(self) -> bytes:
        self.connection.request("POST", PATH, self.body, {"Content-Type": "application/json"})
        response = self.connection.getresponse()
        content = response.read()
        if response.status != 200:
            raise RuntimeError(f"{response.status}: {content[:200]!r}")
        return content


def _in_turns(*functions: Callable[[], object], rounds: int = ROUNDS) -> list[float]:
    """Return the median seconds of each function; the functions are called in turns."""
    times_by_function: list[list[float]] = [[] for _ in functions]
    for number in range(rounds + 3):
        for times, function in zip(times_by_function, functions, strict=True):
            start = time.perf_counter()
            function()
            if number >= 3:  # the first rounds are a warm-up
                times.append(time.perf_counter() - start)
    return [median(times) for times in times_by_function]


def _raw_slice(edges: tuple[int, int]) -> bytes:
    from tests.serving.conftest import raw_slice

    return raw_slice(7, edges)


def _segment(image: bytes) -> bytes:
    from components.shared.images.decoding import decode_image, encode_png
    from components.shared.images.segmentation import segment_slice

    return encode_png(segment_slice(decode_image(image, 1)))


def _body(image: bytes) -> bytes:
    from tests.serving.conftest import b64

    return json.dumps({"instances": [{"image_bytes": b64(image)}]}).encode()


def _load_model(saved_model: Path) -> Callable[[bytes], object]:
    """Return a function that calls the SavedModel in this process with an encoded image and returns every output."""
    import tensorflow as tf

    model = tf.saved_model.load(str(saved_model))
    signature = model.signatures["serving_default"]

    def answer(image: bytes, _model: Any = model) -> object:
        return {name: value.numpy() for name, value in signature(image_bytes=tf.constant([image])).items()}

    return answer


def _http(scratch: Path) -> Iterator[Measurement]:
    from components.shared.images.crops import decode_and_crop

    repository, image = _publish_mobilenet(scratch), _segment(_raw_slice((EDGE, EDGE)))
    answer = _load_model(repository / NAME / "1")
    crop = decode_and_crop(image, EDGE, 1).numpy()
    pixels = json.dumps({"signature_name": "crops", "instances": [crop.tolist()]}).encode()
    arguments = ("serving", "--repository", str(repository), "--port", "0")
    with _serving(*arguments, log=scratch / "log.txt") as (url, _):
        send_image, send_pixels = _RequestSender(url, _body(image)), _RequestSender(url, pixels)
        in_process, over_http, lists = _in_turns(lambda: answer(image), send_image, send_pixels)
        yield _times("serving p50 over HTTP", over_http, in_process, "ratio <= 1.25")
        yield _times("serving p50 of JSON pixel lists", lists, in_process, "none: the usual way")
        yield from _throughput(url, image, answer)


def _times(name: str, seconds: float, reference: float, bar: str) -> Measurement:
    return Measurement(name, seconds * 1e3, "ms", reference * 1e3, seconds / reference, bar)


def _throughput(url: str, image: bytes, answer: Callable[[bytes], object]) -> Iterator[Measurement]:
    clients = [_RequestSender(url, _body(image)) for _ in range(CLIENTS)]
    in_process, over_http = [], []
    for _ in range(THROUGHPUT_ROUNDS):
        in_process.append(_rate([lambda: answer(image)] * CLIENTS))
        over_http.append(_rate(clients))
    value, reference = median(over_http), median(in_process)
    name = f"serving throughput of {CLIENTS} clients"
    yield Measurement(name, value, "slices/s", reference, value / reference, "ratio >= 0.8")


def _rate(functions: list[Callable[[], object]]) -> float:
    """Return the calls per second with a thread for each function."""
    start = time.perf_counter()
    with ThreadPoolExecutor(len(functions)) as pool:
        for future in [pool.submit(_repeat, function) for function in functions]:
            future.result()
    return len(functions) * REQUESTS / (time.perf_counter() - start)


def _repeat(function: Callable[[], object]) -> None:
    for _ in itertools.repeat(None, REQUESTS):
        function()


@contextmanager
def _instant_predictor() -> Iterator[str]:
    """Run a stand-in for TensorFlow Serving that answers at once; yield host:port."""
    row = {"species": "a", "confidence": 1.0, "scores": [1.0], "unknown": False, "embedding": [0.0] * 64}
    status = {"model_version_status": [{"version": "1", "state": "AVAILABLE"}]}
    answers = {"GET": status, "POST": {"predictions": [row]}}
    with http_server(lambda request: Response.of_json(answers[request.method])) as address:
        yield urlsplit(address).netloc


def _transformer(scratch: Path) -> Iterator[Measurement]:
    raw = _raw_slice((384, 512))
    with _instant_predictor() as host:
        arguments = [
            "serving.transformer",
            "--model_name",
            NAME,
            "--predictor_host",
            host,
            "--predictor_protocol",
            "v1",
        ]
        arguments += ["--workers", "1", "--http_port", "0", "--host", "127.0.0.1", "--events", str(scratch / "events")]
        with _serving(*arguments, log=scratch / "log.txt") as (url, _):
            functions = _RequestSender(url, _body(raw)), _RequestSender(f"http://{host}", _body(_segment(raw)))
            through, direct = _in_turns(*functions)
    extra = (through - direct) * 1e3
    name = "serving transformer adds as a process of its own"
    yield Measurement(name, extra, "ms p50 for 512x384 px", 15, extra / 15, "<= 15 ms")


def _one_command(scratch: Path) -> Iterator[Measurement]:
    from tests.serving.conftest import id_of_model, write_saved_model

    write_saved_model(scratch / "exported", 1)
    repository = _publish(scratch / "exported", scratch / "models", 1, model_id=id_of_model(1))
    raw = _raw_slice((384, 512))
    answer, png = _load_model(repository / NAME / "1"), _segment(raw)
    arguments = ("serving", "--repository", str(repository), "--port", "0", "--events", str(scratch / "events"))
    with _serving(*arguments, log=scratch / "log.txt") as (url, _):
        over_http, in_process = _in_turns(_RequestSender(url, _body(raw)), lambda: answer(png))
    extra = (over_http - in_process) * 1e3
    yield Measurement(
        "serving transformer adds in one command", extra, "ms p50 for 512x384 px, with HTTP", 8, extra / 8, "<= 8 ms"
    )


def _load(scratch: Path) -> Iterator[Measurement]:
    import tensorflow as tf

    from tests.serving.conftest import b64, id_of_model, raw_slice, write_saved_model
    from tests.serving.traffic import Traffic

    for seed in (1, 2):
        write_saved_model(scratch / f"exported-{seed}", seed)
    repository = _publish(scratch / "exported-1", scratch / "models", 1, model_id=id_of_model(1))
    raw = [raw_slice(seed) for seed in range(6)]
    png = [_segment(image) for image in raw]
    signatures = [tf.saved_model.load(str(scratch / f"exported-{seed}")).signatures for seed in (1, 2)]
    scores = [one["serving_default"](image_bytes=tf.constant(png))["scores"].numpy() for one in signatures]
    bodies = [{"instances": [{"image_bytes": b64(image)}]} for image in raw]
    arguments = ("serving", "--repository", str(repository), "--port", "0", "--events", str(scratch / "events"))
    with _serving(*arguments, log=scratch / "log.txt") as (url, pid):
        traffic = Traffic(url + PATH, bodies, scores, LOAD_REQUESTS)
        start = time.perf_counter()
        resident = traffic.run(
            lambda version: _publish(
                scratch / f"exported-{version % 2 or 2}", repository, version, model_id=id_of_model(version % 2 or 2)
            ),
            pid,
        )
        seconds = time.perf_counter() - start
    failures = LOAD_REQUESTS - sum(
        count for (kind, status), count in traffic.statuses.items() if (kind, status) in {("good", 200), ("junk", 400)}
    )
    yield Measurement("serving load failed or wrong", float(failures + len(traffic.wrong)), "requests", bar="0")
    growth = float(np.max(resident)) / resident[0] - 1
    yield Measurement("serving load memory growth", growth, "of that of the first half", 0.05, growth / 0.05, "<= 0.05")
    yield Measurement("serving load rate", LOAD_REQUESTS / seconds, "requests/s", bar="none")


BENCHMARKS = {
    "serving http": _http,
    "serving transformer": _transformer,
    "serving one command": _one_command,
    "serving load": _load,
}
