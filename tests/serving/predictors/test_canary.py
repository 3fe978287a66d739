"""A transformer that splits requests between the predictor and a canary."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from components.shared.errors import BadConfigError
from components.shared.images.decoding import encode_png
from serving.drift_events import PendingEvent
from serving.limits import Limits
from serving.predictors.base import Expectation
from serving.predictors.tensorflow_serving import CanaryPredictor, RemotePredictor
from serving.protocol import SIGNATURE, Instance, PredictRequest, RequestError
from serving.slice_model import SliceTransformer
from serving.transformer import parse_arguments, predictor_of
from tests.http_server import Request, Response, http_server

STATUS = {"model_version_status": [{"version": "1", "state": "AVAILABLE"}]}


class FakePredictors:
    """Two TensorFlow Servings on one port with different host names; each predicts its own name as the species."""

    def __init__(self) -> None:
        self.errors: dict[str, int] = {}
        self.port = 0

    def respond(self, request: Request) -> Response:
        name = "stable" if request.headers["host"].startswith("localhost") else "canary"
        if name in self.errors:
            return Response.of_json({"error": f"{name} is broken"}, self.errors[name])
        if request.method == "GET":
            return Response.of_json(STATUS)
        row = {"species": name, "confidence": 1.0, "scores": [1.0], "unknown": False, "embedding": [0.0]}
        return Response.of_json({"predictions": [row]})


@pytest.fixture
def predictors() -> Iterator[FakePredictors]:
    fake = FakePredictors()
    with http_server(fake.respond) as address:
        fake.port = int(address.rsplit(":", 1)[1])
        yield fake


def canary_predictor(port: int, percent: int, canary: str = "") -> CanaryPredictor:
    urls = f"http://localhost:{port}", canary or f"http://127.0.0.1:{port}"
    return CanaryPredictor("forams", urls, percent, Expectation(1, True), timeout_s=5.0)


def answers(predictor: RemotePredictor, count: int, version: int | None = None) -> list[str]:
    async def ask() -> list[str]:
        versions = [await predictor.get_version("forams", version) for _ in range(count)]
        return [(await predictor_version.predict([b"png"], SIGNATURE))[0].species[0] for predictor_version in versions]

    return asyncio.run(ask())


def test_the_canary_answers_its_share(predictors: FakePredictors) -> None:
    share = answers(canary_predictor(predictors.port, 25), 400).count("canary") / 400
    assert 0.25 - 0.11 < share < 0.25 + 0.11  # five standard deviations


@pytest.mark.parametrize(("percent", "who"), [(0, "stable"), (100, "canary")])
def test_zero_and_a_hundred_percent_are_exact(predictors: FakePredictors, percent: int, who: str) -> None:
    assert set(answers(canary_predictor(predictors.port, percent), 20)) == {who}


def test_a_request_for_a_version_goes_to_the_stable_model(predictors: FakePredictors) -> None:
    assert answers(canary_predictor(predictors.port, 100), 3, version=1) == ["stable"] * 3


@pytest.mark.parametrize("status", [400, 404, 500, 503])
def test_the_stable_model_answers_if_the_canary_fails(predictors: FakePredictors, status: int) -> None:
    predictors.errors["canary"] = status
    assert answers(canary_predictor(predictors.port, 100), 3) == ["stable"] * 3


def test_an_unreachable_canary_fails_no_request(predictors: FakePredictors) -> None:
    assert answers(canary_predictor(predictors.port, 100, canary="http://127.0.0.1:9"), 3) == ["stable"] * 3


def test_if_both_fail_the_stable_models_error_is_returned(predictors: FakePredictors) -> None:
    predictor = canary_predictor(predictors.port, 100, canary="http://127.0.0.1:9")

    async def ask() -> None:
        predictor_version = await predictor.get_version("forams", None)
        predictors.errors["stable"] = 400
        await predictor_version.predict([b"junk"], SIGNATURE)

    with pytest.raises(RequestError, match="stable is broken"):
        asyncio.run(ask())


def test_the_options_of_the_deploy_step_create_a_canary_predictor() -> None:
    options = ["--model_name", "m", "--predictor_host", "m-predictor.lab", "--predictor_protocol", "v1"]
    canary = ["--canary_host", "m-canary-predictor.lab", "--canary_percent", "10"]
    assert type(predictor_of(parse_arguments(options), 5.0)) is RemotePredictor
    assert isinstance(predictor_of(parse_arguments([*options, *canary]), 5.0), CanaryPredictor)
    with pytest.raises(BadConfigError, match="0 to 100"):
        predictor_of(parse_arguments([*options, *canary[:3], "101"]), 5.0)


@pytest.mark.parametrize(("errors", "version"), [({}, 7), ({"canary": 500}, 6)])
def test_drift_events_name_the_version_that_answered(
    predictors: FakePredictors, errors: dict[str, int], version: int
) -> None:
    predictors.errors.update(errors)
    urls = f"http://localhost:{predictors.port}", f"http://127.0.0.1:{predictors.port}"
    predictor = CanaryPredictor("forams", urls, 100, Expectation(1, True), 5.0, versions=(6, 7))
    events: list[PendingEvent] = []
    with ThreadPoolExecutor(1) as workers:
        transformer = SliceTransformer("forams", predictor, workers, Limits(), SimpleNamespace(record=events.append))
        asyncio.run(
            answer_request(transformer, PredictRequest((Instance(encode_png(np.full((16, 16), 9, np.uint8))),)))
        )
    assert [answer.event.version for answer in events] == [version]


async def answer_request(transformer: SliceTransformer, request: PredictRequest) -> dict[str, Any]:
    prepared_request = await transformer.preprocess(request)
    return await transformer.postprocess(await transformer.predict(prepared_request))


def test_the_versions_come_from_the_environment_and_the_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAXONFLOW_MODEL_VERSION", "6")
    options = ["--model_name", "forams", "--predictor_host", "a:1", "--predictor_protocol", "v1"]
    assert predictor_of(parse_arguments(options), 5.0).version == 6
    canary = ["--canary_host", "b:8080", "--canary_percent", "5", "--canary_version", "7"]
    predictor = predictor_of(parse_arguments([*options, *canary]), 5.0)
    assert isinstance(predictor, CanaryPredictor)
    assert (predictor.version, predictor._canary.version, predictor._canary.url) == (6, 7, "http://b:8080")
    monkeypatch.setenv("TAXONFLOW_MODEL_VERSION", "")
    assert predictor_of(parse_arguments(options), 5.0).version is None


def test_a_request_waits_at_most_a_minute_by_default() -> None:
    options = ["--model_name", "forams", "--predictor_host", "a:1", "--predictor_protocol", "v1"]
    assert parse_arguments(options).predictor_request_timeout_seconds == 60
    longer = [*options, "--predictor_request_timeout_seconds", "600"]
    assert parse_arguments(longer).predictor_request_timeout_seconds == 600


@pytest.mark.parametrize(("timeout_s", "canary_timeout_s"), [(600.0, 30.0), (60.0, 30.0), (10.0, 5.0)])
def test_a_request_waits_at_most_half_a_minute_for_a_canary(timeout_s: float, canary_timeout_s: float) -> None:
    predictor = CanaryPredictor("forams", ("http://a:1", "http://b:1"), 10, Expectation(1, True), timeout_s)
    assert predictor._canary._connections.timeout_s == canary_timeout_s
