"""One server with a model of segmented grey slices and a model of photographs in colour."""

import io
import json
import shutil
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
from tests.serving.conftest import IMAGE_SIZE, ReferenceModel, card_of, write_saved_model

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
    card_of("fish", channels=3, segmented=False, image_size=IMAGE_SIZE).write(version / "model.json")
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
