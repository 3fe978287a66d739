"""A transformer that divides requests between the predictor and a canary."""

import asyncio
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from serving.predictors.canary_split import DividingPredictor

from components.shared.errors import BadConfigError
from components.shared.images.decoding import encode_png
from serving.drift_events import AnsweredSlice
from serving.predictors.tensorflow_serving import RemotePredictor
from serving.preparation import Expectation
from serving.protocol import SIGNATURE, Instance, Limits, PredictRequest, RequestError
from serving.slice_model import SliceTransformer
from serving.transformer import parse_arguments, predictor_of

STATUS = {"model_version_status": [{"version": "1", "state": "AVAILABLE"}]}


class Predictors:
    """Two TensorFlow Servings of one port, told apart by their host; each answers with its name as the species."""

    def __init__(self) -> None:
        self.broken: dict[str, int] = {}
        self.asked: list[str] = []

    def answer(self, host: str, method: str) -> tuple[int, dict[str, Any]]:
        name = "stable" if host.startswith("localhost") else "canary"
        if name in self.broken:
            return self.broken[name], {"error": f"{name} is broken"}
        if method == "GET":
            return 200, STATUS
        self.asked.append(name)
        row = {"species": name, "confidence": 1.0, "scores": [1.0], "unknown": False, "embedding": [0.0]}
        return 200, {"predictions": [row]}


@pytest.fixture
def predictors() -> Iterator[tuple[Predictors, int]]:
    told = Predictors()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, document = told.answer(self.headers["Host"], self.command)
            content = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815 a name that http.server looks for

        def log_message(self, *_arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield told, server.server_port
    server.shutdown()
    server.server_close()


def divided(port: int, percent: int, canary: str = "") -> DividingPredictor:
    urls = f"http://localhost:{port}", canary or f"http://127.0.0.1:{port}"
    return DividingPredictor("forams", urls, percent, Expectation(1, True), timeout_s=5.0)


def answers(predictor: RemotePredictor, count: int, version: int | None = None) -> list[str]:
    async def ask() -> list[str]:
        asked = [await predictor.version_of("forams", version) for _ in range(count)]
        return [(await found.predict([b"png"], SIGNATURE))[0].species[0] for found in asked]

    return asyncio.run(ask())


def test_the_canary_answers_its_share(predictors: tuple[Predictors, int]) -> None:
    share = answers(divided(predictors[1], 25), 400).count("canary") / 400
    assert 0.25 - 0.11 < share < 0.25 + 0.11  # five standard deviations


@pytest.mark.parametrize(("percent", "who"), [(0, "stable"), (100, "canary")])
def test_none_and_all_are_exact(predictors: tuple[Predictors, int], percent: int, who: str) -> None:
    assert set(answers(divided(predictors[1], percent), 20)) == {who}


def test_a_request_for_a_version_goes_to_the_stable_model(predictors: tuple[Predictors, int]) -> None:
    assert answers(divided(predictors[1], 100), 3, version=1) == ["stable"] * 3


@pytest.mark.parametrize("status", [400, 404, 500, 503])
def test_what_the_canary_does_not_answer_the_stable_model_does(predictors: tuple[Predictors, int], status: int) -> None:
    predictors[0].broken["canary"] = status
    assert answers(divided(predictors[1], 100), 3) == ["stable"] * 3


def test_a_canary_that_is_gone_costs_no_request(predictors: tuple[Predictors, int]) -> None:
    assert answers(divided(predictors[1], 100, canary="http://127.0.0.1:9"), 3) == ["stable"] * 3


def test_where_both_fail_the_stable_models_error_is_told(predictors: tuple[Predictors, int]) -> None:
    predictor = divided(predictors[1], 100, canary="http://127.0.0.1:9")

    async def ask() -> None:
        found = await predictor.version_of("forams", None)
        predictors[0].broken["stable"] = 400
        await found.predict([b"junk"], SIGNATURE)

    with pytest.raises(RequestError, match="stable is broken"):
        asyncio.run(ask())


def test_the_options_of_the_deploy_step_make_it() -> None:
    given = ["--model_name", "m", "--predictor_host", "m-predictor.lab", "--predictor_protocol", "v1"]
    canary = ["--canary_host", "m-canary-predictor.lab", "--canary_percent", "10"]
    assert type(predictor_of(parse_arguments(given), 5.0)) is RemotePredictor
    assert isinstance(predictor_of(parse_arguments([*given, *canary]), 5.0), DividingPredictor)
    with pytest.raises(BadConfigError, match="0 to 100"):
        predictor_of(parse_arguments([*given, *canary[:3], "101"]), 5.0)


@pytest.mark.parametrize(("broken", "version"), [({}, 7), ({"canary": 500}, 6)])
def test_drift_events_name_the_version_that_answered(
    predictors: tuple[Predictors, int], broken: dict[str, int], version: int
) -> None:
    predictors[0].broken.update(broken)
    urls = f"http://localhost:{predictors[1]}", f"http://127.0.0.1:{predictors[1]}"
    predictor = DividingPredictor("forams", urls, 100, Expectation(1, True), 5.0, versions=(6, 7))
    recorded: list[AnsweredSlice] = []
    with ThreadPoolExecutor(1) as workers:
        transformer = SliceTransformer("forams", predictor, workers, Limits(), SimpleNamespace(record=recorded.append))
        asyncio.run(answered(transformer, PredictRequest((Instance(encode_png(np.full((16, 16), 9, np.uint8))),))))
    assert [answer.event.version for answer in recorded] == [version]


async def answered(transformer: SliceTransformer, request: PredictRequest) -> dict[str, Any]:
    prepared = await transformer.preprocess(request)
    return await transformer.postprocess(await transformer.predict(prepared))


def test_the_versions_come_from_the_pods_annotation_and_the_deploy_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAXONFLOW_MODEL_VERSION", "6")
    given = ["--model_name", "forams", "--predictor_host", "a:1", "--predictor_protocol", "v1"]
    assert predictor_of(parse_arguments(given), 5.0).version == 6
    canary = ["--canary_host", "b:8080", "--canary_percent", "5", "--canary_version", "7"]
    divided_one = predictor_of(parse_arguments([*given, *canary]), 5.0)
    assert isinstance(divided_one, DividingPredictor)
    assert (divided_one.version, divided_one._canary.version, divided_one._canary.url) == (6, 7, "http://b:8080")
    monkeypatch.setenv("TAXONFLOW_MODEL_VERSION", "")
    assert predictor_of(parse_arguments(given), 5.0).version is None
