"""The flag of specimens: the same from the local server, a transformer, the client and drift events."""

import asyncio
import csv
import io
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest

from components.shared.contracts import DriftEvent
from serving.client.__main__ import main
from serving.outputs import Outputs
from serving.predictors.base import Expectation
from serving.predictors.tensorflow_serving import CanaryPredictor, RemotePredictor
from serving.protocol import SIGNATURE
from serving.votes import ModelDescription, describe_model, specimen_votes
from tests.http_server import Request, Response, http_server
from tests.serving.conftest import SPECIMEN_THRESHOLD, id_of_model, raw_slice
from tests.waiting import wait_until

Body = Callable[..., dict[str, Any]]
STABLE, CANARY, OTHER = "6" * 64, "7" * 64, "f" * 64


def ask(url: str, body: Any) -> dict[str, Any]:
    return dict(httpx.post(f"{url}/v1/models/forams:predict", json=body, timeout=30).json())


def answers_of_specimens(url: str, instances_of: Body) -> dict[str, tuple[list[dict[str, Any]], dict[str, Any]]]:
    """Return rows and vote of specimens of different sizes, of which some are flagged and some are not."""
    answers = {}
    for number, size in enumerate((1, 1, 2, 3, 5, 8)):
        name = f"specimen-{number}"
        body = instances_of([raw_slice(100 * number + seed) for seed in range(size)], name)
        answer = ask(url, body)
        answers[name] = answer["predictions"], answer["specimens"][name]
    return answers


def test_a_specimen_is_flagged_by_the_thresholds_of_the_card(server: Any, instances_of: Body) -> None:
    answers = answers_of_specimens(server.url, instances_of)
    for rows, vote in answers.values():
        score = SPECIMEN_THRESHOLD.score([row["unknown_score"] for row in rows])
        assert vote["unknown_score"] == pytest.approx(score, abs=1e-6)
        assert vote["unknown"] is (score > 0)
    assert {vote["unknown"] for _, vote in answers.values()} == {True, False}


def test_drift_events_contain_the_flag_of_the_specimen(server: Any, instances_of: Body) -> None:
    vote = answers_of_specimens(server.url, instances_of)["specimen-3"][1]
    ask(server.url, instances_of([raw_slice(1)]))
    wait_until(lambda: len([event for event in events_of(server) if event.specimen == "specimen-3"]) >= 3)
    flags = {event.specimen_unknown for event in events_of(server) if event.specimen == "specimen-3"}
    assert flags == {vote["unknown"]}
    wait_until(lambda: any(event.specimen.startswith("request-") for event in events_of(server)))
    assert {event.specimen_unknown for event in events_of(server) if event.specimen.startswith("request-")} == {None}


def events_of(server: Any) -> list[DriftEvent]:
    lines = [line for file in server.events.glob("events-*.jsonl") for line in file.read_bytes().split(b"\n")[:-1]]
    return [DriftEvent.from_line(line, "a test") for line in lines]


def test_a_transformer_flags_specimens_from_signatures_alone(
    server: Any, start_transformer: Any, instances_of: Body
) -> None:
    transformer = start_transformer(urlsplit(server.url).netloc)
    direct, indirect = (answers_of_specimens(url, instances_of) for url in (server.url, transformer.url))
    for name, (_, vote) in direct.items():
        assert indirect[name][1] == pytest.approx(vote, abs=1e-6)


def test_the_clients_reports_flag_a_specimen_of_several_requests(
    server: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in range(40):  # more than one request holds
        (tmp_path / f"{seed:02d}.png").write_bytes(raw_slice(seed))
    reports = {}
    arguments = [str(tmp_path), "--url", server.url, "--model", "forams", "--specimen", "drawer-1"]
    for report_format in ("json", "csv", "table"):
        assert main([*arguments, "--format", report_format]) == 0
        reports[report_format] = capsys.readouterr().out
    document = json.loads(reports["json"])
    score = SPECIMEN_THRESHOLD.score([row["unknown_score"] for row in document["slices"]])
    for vote in (document["specimens"][0], list(csv.DictReader(io.StringIO(reports["csv"])))[-1]):
        assert float(vote["unknown_score"]) == pytest.approx(score, abs=1e-5)
        assert str(vote["unknown"]).lower() == str(score > 0).lower()
    specimen_line = next(line for line in reports["table"].splitlines() if "drawer-1" in line)
    assert ("unknown species?" in specimen_line) is (score > 0)


def outputs_of(model: str, unknown_scores: list[float], flags: list[bool]) -> Outputs:
    count = len(flags)
    values = {"species": ["a"] * count, "confidence": [1.0] * count, "scores": [[1.0]] * count, "unknown": flags}
    values |= {"embedding": [[0.0]] * count, "unknown_score": unknown_scores, "model": [model] * count}
    return Outputs.from_values(values)


def test_thresholds_of_another_model_are_not_used() -> None:
    description = ModelDescription(("a",), {STABLE: SPECIMEN_THRESHOLD})
    for model, flags, is_own in ((STABLE, [False] * 3, True), (OTHER, [False] * 3, False), (OTHER, [True] * 3, False)):
        vote = specimen_votes(["s"] * 3, outputs_of(model, [0.9] * 3, flags), description)["s"]
        assert vote.unknown_score == (pytest.approx(0.9 - SPECIMEN_THRESHOLD.threshold(3)) if is_own else None)
        assert vote.unknown is (is_own or flags[0])


def test_a_slice_that_is_not_finite_counts_as_the_highest_score() -> None:
    outputs = outputs_of(STABLE, [0.0, float("nan")], [False, False])
    vote = specimen_votes(["s"] * 2, outputs, ModelDescription((), {STABLE: SPECIMEN_THRESHOLD}))["s"]
    assert vote.unknown_score == pytest.approx(0.5 - SPECIMEN_THRESHOLD.threshold(2))
    assert np.isfinite(vote.document()["unknown_score"])


class Deployment:
    """Two TensorFlow Servings on one port with different host names, of which each has a model of its own."""

    def __init__(self) -> None:
        self.metadata_requests: list[str] = []
        self.has_metadata = True

    def respond(self, request: Request) -> Response:
        model = STABLE if request.headers["host"].startswith("localhost") else CANARY
        if request.path.endswith("/metadata"):
            self.metadata_requests.append(model)
            return Response.of_json(metadata_of(model)) if self.has_metadata else Response.of_json({"error": "no"}, 500)
        if request.method == "GET":
            return Response.of_json({"model_version_status": [{"version": "1", "state": "AVAILABLE"}]})
        row = {"species": "a", "confidence": 1.0, "scores": [1.0], "unknown": False, "embedding": [0.0]}
        return Response.of_json({"predictions": [row | {"unknown_score": 0.9, "model": model}]})


def metadata_of(model: str) -> dict[str, Any]:
    """Return metadata whose threshold for one slice depends on the model."""
    threshold = SPECIMEN_THRESHOLD.model_copy(update={"thresholds": (0.5 if model == CANARY else 0.95, 0.4)})
    dimension = {"size": "-1", "name": threshold.of_model(model).to_name()}
    outputs = {"unknown_score": {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [dimension]}}}
    return {"metadata": {"signature_def": {"signature_def": {SIGNATURE: {"outputs": outputs}}}}}


def flags_of(predictor: RemotePredictor, requests: int) -> list[tuple[bool, float | None]]:
    async def answer() -> list[tuple[bool, float | None]]:
        votes = []
        for _ in range(requests):
            version = await predictor.get_version("forams", None)
            outputs, _ = await version.predict([b"png"], SIGNATURE)
            votes.append(specimen_votes(["s"], outputs, version.description)["s"])
        return [(vote.unknown, vote.unknown_score and round(vote.unknown_score, 3)) for vote in votes]

    return asyncio.run(answer())


def test_a_canarys_answer_is_flagged_by_its_own_thresholds() -> None:
    deployment = Deployment()
    with http_server(deployment.respond) as address:
        urls = f"http://localhost:{urlsplit(address).port}", f"http://127.0.0.1:{urlsplit(address).port}"
        for percent, flag in ((0, (False, -0.05)), (100, (True, 0.4))):
            predictor = CanaryPredictor("forams", urls, percent, Expectation(1, True), 5.0)
            assert flags_of(predictor, 3) == [flag] * 3
    assert deployment.metadata_requests.count(CANARY) == 1


def test_without_metadata_of_the_canary_its_slices_decide() -> None:
    deployment = Deployment()
    with http_server(deployment.respond) as address:
        urls = f"http://localhost:{urlsplit(address).port}", f"http://127.0.0.1:{urlsplit(address).port}"
        predictor = CanaryPredictor("forams", urls, 100, Expectation(1, True), 5.0)
        asyncio.run(predictor.get_version("forams", None))
        deployment.has_metadata = False
        assert flags_of(predictor, 3) == [(False, None)] * 3
    assert deployment.metadata_requests.count(CANARY) == 1


def test_metadata_without_thresholds_describe_only_the_species() -> None:
    assert describe_model({}) == ModelDescription()
    assert describe_model(metadata_of(STABLE)).thresholds.keys() == {STABLE}
    assert describe_model({"metadata": SimpleNamespace()}) == ModelDescription()


def test_a_card_with_other_thresholds_than_its_graph_is_not_served(publish: Any, tmp_path: Path) -> None:
    from components.shared.model_repository import Repository
    from serving.predictors.local import LocalPredictor

    publish(tmp_path, "forams", 1, specimen_open_set=SPECIMEN_THRESHOLD.model_copy(update={"level": 0.7}))
    messages: list[str] = []
    with ThreadPoolExecutor(1) as workers:
        predictor = LocalPredictor(Repository(tmp_path), workers, messages.append)
        predictor.refresh()
    assert predictor.names() == []
    assert "different thresholds for specimens" in messages[0]


def test_the_signatures_contain_the_thresholds_with_the_models_id(server: Any) -> None:
    metadata = httpx.get(f"{server.url}/v1/models/forams/metadata").json()
    assert describe_model(metadata).thresholds == {id_of_model(1): SPECIMEN_THRESHOLD.of_model(id_of_model(1))}
