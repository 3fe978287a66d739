"""One server with a model of segmented grey slices and a model of photographs in colour."""

import csv
import io
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from components.shared.images.decoding import encode_png
from components.shared.images.descriptors import descriptor_names
from components.shared.images.photographs import read_photograph
from components.shared.signing import sign_folder
from tests.serving.conftest import IMAGE_SIZE, ReferenceModel, card_of, id_of_model, write_saved_model
from tests.waiting import wait_until

Body = Callable[..., dict[str, Any]]
SIDEWAYS = 6
"""EXIF's note that the camera was held on its side."""


def photograph(seed: int) -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    exif, sink = Image.Exif(), io.BytesIO()
    exif[0x0112] = SIDEWAYS
    Image.fromarray(coarse).resize((180, 120), Image.Resampling.BICUBIC).save(sink, "JPEG", exif=exif)
    return sink.getvalue()


@pytest.fixture(scope="module")
def colour_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("colour") / "1"
    write_saved_model(folder, seed=3, channels=3)
    return folder


@pytest.fixture(scope="module")
def both(start_server: Any, publish: Any, colour_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Start a server with `forams`, version 1, and `fish`, version 4."""
    repository = tmp_path_factory.mktemp("both")
    publish(repository, "forams", 1)
    version = shutil.copytree(colour_model, repository / "fish" / "4")
    card = card_of("fish", channels=3, segmented=False, image_size=IMAGE_SIZE, model_id=id_of_model(3))
    card.write(version / "model.json")
    sign_folder(version, None)
    return start_server(repository)


def predictions(server: Any, model: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    response = httpx.post(f"{server.url}/v1/models/{model}:predict", json=body, timeout=30)
    assert response.status_code == 200, response.text
    return list(response.json()["predictions"])


def test_each_model_answers_requests_for_its_name(
    both: Any, reference: Any, colour_model: Path, segmented_slices: list[bytes], instances_of: Body
) -> None:
    import tensorflow as tf

    photographs = [photograph(seed) for seed in range(3)]
    prepared_images = [encode_png(read_photograph(content, IMAGE_SIZE).framed) for content in photographs]
    in_colour = ReferenceModel(tf.saved_model.load(str(colour_model)))
    for model, images, outputs in (
        ("fish", photographs, in_colour(prepared_images)),
        ("forams", segmented_slices, reference[1](segmented_slices)),
    ):
        rows = predictions(both, model, instances_of(images))
        np.testing.assert_allclose([row["scores"] for row in rows], outputs["scores"], atol=1e-5, rtol=0)
    assert sorted(httpx.get(f"{both.url}/v1/models").json()["models"]) == ["fish", "forams"]


def answers_while_loading(server: Any, path: str) -> list[httpx.Response]:
    """Return the server's answers to a path until it is ready, and the first one after."""
    answers: list[httpx.Response] = []

    def is_ready() -> bool:
        ready = httpx.get(f"{server.url}/v2/health/ready").status_code == 200
        answers.append(httpx.get(f"{server.url}{path}"))
        return ready

    wait_until(is_ready)
    return answers


def run_client(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "serving.client", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_the_server_is_ready_when_every_model_is_loaded(start_server: Any, publish: Any, tmp_path: Path) -> None:
    for model in ("ammonites", "fish", "forams"):
        publish(tmp_path, model, 1)
    server = start_server(tmp_path, ready=False)
    answers = answers_while_loading(server, "/v1/models")
    assert answers[-1].json() == {"models": ["ammonites", "fish", "forams"]}
    partial_answers = [answer.json() for answer in answers if 0 < len(answer.json()["models"]) < 3]
    assert all(set(answer["unserved"].values()) == {"is being loaded"} for answer in partial_answers)
    assert all(len(answer["models"]) + len(answer["unserved"]) == 3 for answer in partial_answers)


def test_a_model_answers_while_the_others_are_being_loaded(start_server: Any, publish: Any, tmp_path: Path) -> None:
    for number in range(6):
        publish(tmp_path, f"model-{number}", 1)
    server = start_server(tmp_path, ready=False)
    answers = answers_while_loading(server, "/v1/models/model-0")
    states = [answer.status_code for answer in answers]
    assert 200 in states[:-1]
    assert set(states) <= {200, 503}


@pytest.fixture(scope="module")
def half_broken(start_server: Any, publish: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Start a server of `fish` and of `forams`, whose only version is damaged."""
    repository = tmp_path_factory.mktemp("half")
    publish(repository, "fish", 1)
    (publish(repository, "forams", 2) / "saved_model.pb").write_bytes(b"damaged")
    return start_server(repository)


def test_a_failed_model_is_named_and_does_not_keep_the_server_unready(half_broken: Any) -> None:
    answer = httpx.get(f"{half_broken.url}/v2/health/ready").json()
    assert (answer["ready"], answer["models"]) == (True, ["fish"])
    assert answer.get("unserved", {}).get("forams", "").startswith("cannot be loaded: version 2, ")
    assert "forams version 2 cannot be loaded" in half_broken.log.read_text()
    assert 'taxonflow_failed_loads_total{model="forams"} 1.0' in httpx.get(f"{half_broken.url}/metrics").text
    assert httpx.get(f"{half_broken.url}/v1/models/fish").json()["model_version_status"][0]["state"] == "AVAILABLE"
    assert httpx.get(f"{half_broken.url}/v1/models/forams").json()["model_version_status"][0]["state"] == "END"
    error = httpx.get(f"{half_broken.url}/v1/models/forams/metadata").json()["error"]
    assert "the model forams cannot be loaded: version 2" in error


def test_the_client_asks_for_the_model_even_if_only_one_is_served(
    half_broken: Any, segmented_slices: list[bytes], tmp_path: Path
) -> None:
    (tmp_path / "slice.png").write_bytes(segmented_slices[0])
    process = run_client(tmp_path / "slice.png", "--url", half_broken.url, "--model", "")
    assert (process.returncode, process.stdout) == (2, "")
    assert "has the models fish, forams (which cannot be loaded: version 2" in process.stderr
    assert "Set --model, or MODEL= of `make ask`, to one of them." in process.stderr
    assert run_client(tmp_path / "slice.png", "--url", half_broken.url, "--model", "fish").returncode == 0


def test_the_client_sends_known_slices_of_the_named_model(both: Any, raw_slices: list[bytes], tmp_path: Path) -> None:
    for version, name in (("fish/1", "f1"), ("fish/4", "f4"), ("forams/9", "r9"), ("forams/10", "r10")):
        examples = tmp_path / version / "examples"
        examples.mkdir(parents=True)
        (examples / f"{name}.png").write_bytes(raw_slices[0])
    (tmp_path / "fish" / "5").mkdir()
    options = ["--url", both.url, "--format", "csv", "--examples", tmp_path]
    for model, name in (("fish", "f4"), ("forams", "r10")):
        rows = csv.DictReader(io.StringIO(run_client(*options, "--model", model).stdout))
        assert [Path(row["file"]).name for row in rows] == [f"{name}.png"]
    unnamed = run_client(*options, "--model", "")
    assert (unnamed.returncode, unnamed.stdout) == (2, "")
    assert "has the models fish, forams: expected one model" in unnamed.stderr
    missing = run_client("--url", both.url, "--model", "fish", "--examples", tmp_path / "forams")
    assert (missing.returncode, missing.stdout) == (2, "")
    assert "has no known slices of fish" in missing.stderr


def test_a_photograph_is_predicted_in_colour(both: Any, instances_of: Body) -> None:
    picture = Image.open(io.BytesIO(photograph(0)))
    images = []
    for mode in ("RGB", "L"):
        sink = io.BytesIO()
        picture.convert(mode).save(sink, "PNG")
        images.append(sink.getvalue())
    one, other = (row["scores"] for row in predictions(both, "fish", instances_of(images)))
    assert np.abs(np.subtract(one, other)).max() > 1e-3


def test_only_events_of_photographs_have_colour_descriptors(
    both: Any, segmented_slices: list[bytes], instances_of: Body
) -> None:
    predictions(both, "fish", instances_of([photograph(5)], "pike-1"))
    predictions(both, "forams", instances_of(segmented_slices[:1], "test-1"))
    events = {event["specimen"]: event for event in wait_for_events(both.events, {"pike-1", "test-1"})}
    assert (events["pike-1"]["model"], events["pike-1"]["version"]) == ("fish", 4)
    assert set(events["pike-1"]["descriptors"]) == set(descriptor_names(3))
    assert set(events["test-1"]["descriptors"]) == set(descriptor_names(1))


def wait_for_events(folder: Path, specimens: set[str]) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    for _ in range(200):
        lines = [line for file in folder.glob("*.jsonl") for line in file.read_text().splitlines()]
        events = [event for line in lines if (event := json.loads(line))["specimen"] in specimens]
        if {event["specimen"] for event in events} == specimens:
            break
        time.sleep(0.05)
    return events
