"""A version with wrong answers to its known slices, or of another model than its card, is not served."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from components.shared.contracts import Example
from components.shared.signing import sign_folder
from tests.serving.conftest import id_of_model

SEEDS = {"right": 1, "wrong": 2}


@pytest.fixture
def workers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def publish_with_example(
    publish: Callable[..., Path], root: Path, version: int, image: bytes, scores: Any, species: str
) -> None:
    """Publish the SavedModel of seed 1 with a known slice, by one rename."""
    example = Example(id="x", file="0.png", species=species, scores=tuple(map(float, scores)))
    staging_folder = publish(root / "elsewhere", "forams", version, seed=1, examples=(example,))
    (staging_folder / "0.png").write_bytes(image)
    sign_folder(staging_folder, None)
    (root / "forams").mkdir(exist_ok=True)
    staging_folder.rename(root / "forams" / str(version))


@pytest.mark.parametrize(("answers", "newest"), [("right", 2), ("wrong", 1)])
def test_a_version_is_served_only_if_its_known_answers_are_right(
    publish: Any, reference: Any, segmented_slices: list[bytes], tmp_path: Path, workers: Any, answers: str, newest: int
) -> None:
    from components.shared.model_repository import Repository
    from serving.predictors.local import LocalPredictor

    image, messages = segmented_slices[0], []
    publish(tmp_path, "forams", 1, seed=2)
    predictor = LocalPredictor(Repository(tmp_path), workers, messages.append)
    predictor.refresh()
    outputs = reference[SEEDS[answers]]([image])
    publish_with_example(publish, tmp_path, 2, image, outputs["scores"][0], "alveolina")
    predictor.refresh()
    rejections = [line for line in messages if "version 2 cannot be loaded and is skipped: scores of known" in line]
    assert len(rejections) == (newest == 1), messages
    assert asyncio.run(predictor.get_version("forams", None)).version == newest


@pytest.mark.parametrize("card_id", ["", "0" * 64])
def test_a_graph_that_names_another_model_than_its_card_is_not_served(
    publish: Any, tmp_path: Path, workers: Any, card_id: str
) -> None:
    from components.shared.model_repository import Repository
    from serving.predictors.local import LocalPredictor

    messages: list[str] = []
    publish(tmp_path, "forams", 1, seed=2)
    publish(tmp_path, "forams", 2, seed=1, model_id=card_id)
    predictor = LocalPredictor(Repository(tmp_path), workers, messages.append)
    predictor.refresh()
    expected = f"a graph that names the model {id_of_model(1)} and a card that names"
    assert [line for line in messages if expected in line], messages
    assert asyncio.run(predictor.get_version("forams", None)).version == 1
