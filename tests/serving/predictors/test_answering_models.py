"""The version of an answer is decided by the model that the answer names, not by the predictor that was asked."""

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
from serving.metrics import OTHER_MODELS
from serving.predictors.answering_models import AnsweringModels, parse_versions
from serving.predictors.base import Expectation
from serving.predictors.tensorflow_serving import CanaryPredictor, RemotePredictor
from serving.protocol import Instance, PredictRequest, RequestError
from serving.slice_model import SliceTransformer
from serving.transformer import parse_arguments, predictor_of
from tests.http_server import Request, Response, http_server

STATUS = {"model_version_status": [{"version": "1", "state": "AVAILABLE"}]}
OLD, STABLE, CANARY, FOREIGN = ("5" * 64, "6" * 64, "7" * 64, "f" * 64)
VERSIONS = {OLD: 5, STABLE: 6, CANARY: 7}
SLICE = encode_png(np.full((16, 16), 9, np.uint8))


class TensorFlowServing:
    """A predictor whose rows name the models of `models`, "" for a row without a model."""

    def __init__(self, *models: str) -> None:
        self.models, self.address = models, ""

    def respond(self, request: Request) -> Response:
        if request.method == "GET":
            return Response.of_json(STATUS)
        row = {"species": "a", "confidence": 1.0, "scores": [1.0], "unknown": False, "embedding": [0.0]}
        return Response.of_json({"predictions": [row | ({"model": name} if name else {}) for name in self.models]})


@pytest.fixture
def serving() -> Iterator[TensorFlowServing]:
    predictor = TensorFlowServing(STABLE)
    with http_server(predictor.respond) as address:
        predictor.address = address
        yield predictor


class Answers:
    """Answers of a transformer in front of a predictor, with their events and messages."""

    def __init__(self, versions: dict[str, int]) -> None:
        self.events: list[PendingEvent] = []
        self.messages: list[str] = []
        self.models = AnsweringModels("forams", versions, self.messages.append)

    def ask(self, predictor: RemotePredictor, slices: int = 1, requests: int = 1) -> dict[str, Any]:
        """Send the same request several times and return the last answer."""

        async def answer() -> dict[str, Any]:
            request = PredictRequest((Instance(SLICE, "specimen-1"),) * slices)
            for _ in range(requests):
                prepared_request = await transformer.preprocess(request)
                answer = await transformer.postprocess(await transformer.predict(prepared_request))
            return answer

        with ThreadPoolExecutor(1) as workers:
            recorder: Any = SimpleNamespace(record=self.events.append)
            transformer = SliceTransformer("forams", predictor, workers, Limits(), recorder)
            return asyncio.run(answer())

    def stable(self, address: str, version: int | None = 6) -> RemotePredictor:
        return RemotePredictor("forams", address, Expectation(1, True), 5.0, version, self.models)


def count_of(version: int) -> float:
    return float(OTHER_MODELS.labels("forams", str(version))._value.get())


@pytest.mark.parametrize(
    ("model", "versions", "version"),
    [
        (STABLE, VERSIONS, 6),
        (OLD, VERSIONS, 5),
        (FOREIGN, VERSIONS, 0),
        ("", VERSIONS, 0),
        ("", {CANARY: 7}, 6),
        ("", {"": 4, STABLE: 6}, 4),
        (FOREIGN, {}, 6),
        ("", {}, 6),
    ],
)
def test_events_name_the_version_and_the_model_that_answered(
    serving: TensorFlowServing, model: str, versions: dict[str, int], version: int
) -> None:
    serving.models, answers = (model,), Answers(versions)
    answers.ask(answers.stable(serving.address))
    assert [(item.event.version, item.event.model_id) for item in answers.events] == [(version, model)]


def test_every_row_and_every_vote_names_the_model(serving: TensorFlowServing) -> None:
    serving.models, answers = (STABLE, STABLE), Answers(VERSIONS)
    answer = answers.ask(answers.stable(serving.address), 2)
    assert [row["model"] for row in answer["predictions"]] == [STABLE] * 2
    assert answer["specimens"]["specimen-1"]["model"] == STABLE


def test_a_model_of_0_1_0_is_answered_as_before(serving: TensorFlowServing) -> None:
    serving.models, answers = ("",), Answers({})
    answer = answers.ask(answers.stable(serving.address, None))
    assert set(answer["predictions"][0]) == {"species", "confidence", "scores", "unknown", "embedding"}
    assert set(answer["specimens"]["specimen-1"]) == {"species", "confidence", "agreement", "slices", "unknown"}
    assert [item.event.version for item in answers.events] == [1]


@pytest.mark.parametrize("models", [(STABLE, CANARY), (STABLE, ""), (STABLE, "x" * 129), (STABLE, ["x"])])
def test_an_answer_of_several_models_is_a_502_without_events(serving: TensorFlowServing, models: tuple[Any]) -> None:
    serving.models, answers = models, Answers(VERSIONS)
    with pytest.raises(RequestError, match="violates the contract") as error:
        answers.ask(answers.stable(serving.address), 2)
    assert (error.value.status, answers.events) == (502, [])


def test_answers_of_an_older_version_are_counted_and_reported_once(serving: TensorFlowServing) -> None:
    serving.models, answers, before = (OLD,), Answers(VERSIONS), count_of(5)
    answers.ask(answers.stable(serving.address), requests=3)
    assert count_of(5) - before == 3
    assert answers.messages == ["requests for version 6 are still answered by version 5, whose pods end"]


def test_answers_of_an_unknown_model_are_reported_by_its_id(serving: TensorFlowServing) -> None:
    serving.models, answers, before = (FOREIGN,), Answers(VERSIONS), count_of(0)
    answers.ask(answers.stable(serving.address))
    assert count_of(0) - before == 1
    assert [line for line in answers.messages if FOREIGN[:12] in line and "not one of the versions" in line]


def test_the_expected_model_is_neither_counted_nor_reported(serving: TensorFlowServing) -> None:
    answers, before = Answers(VERSIONS), count_of(6)
    answers.ask(answers.stable(serving.address))
    assert (count_of(6) - before, answers.messages) == (0, [])


def test_an_answer_of_the_stable_model_to_a_canarys_request_is_its_own(serving: TensorFlowServing) -> None:
    answers, urls = Answers(VERSIONS), (serving.address, serving.address)
    for model, version in ((CANARY, 7), (STABLE, 6)):
        serving.models = (model,)
        predictor = CanaryPredictor("forams", urls, 100, Expectation(1, True), 5.0, (6, 7), answers.models)
        answers.ask(predictor)
        assert answers.events[-1].event.version == version


@pytest.mark.parametrize("text", ["[]", "{", '{"a": "1"}', '{"a": 0}', '{"a": true}', '{"a": null}', "[" * 10**5])
def test_invalid_versions_are_rejected_in_one_sentence(text: str) -> None:
    with pytest.raises(BadConfigError, match=r"the model versions .*expected \{"):
        parse_versions(text)


def test_the_versions_come_from_the_pods_annotation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAXONFLOW_MODEL_VERSIONS", f'{{"{OLD}": 5, "{STABLE}": 6}}')
    options = ["--model_name", "forams", "--predictor_host", "a:1", "--predictor_protocol", "v1"]
    canary = ["--canary_host", "b:8080", "--canary_percent", "5", "--canary_version", "7"]
    for arguments in (options, [*options, *canary]):
        assert predictor_of(parse_arguments(arguments), 5.0).models.version_of(OLD, 6) == 5
    named = predictor_of(parse_arguments([*options, "--model_versions", f'{{"{OLD}": 4}}']), 5.0)
    assert named.models.version_of(OLD, 6) == 4
