"""Versions that are added and removed while requests are answered."""

import asyncio
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from components.shared.model_repository import Repository, StoredVersion
from components.shared.signing import sign_folder
from serving.predictors.local import LoadedVersion, LocalPredictor

Body = Callable[..., dict[str, Any]]
LOAD_TIMEOUT_S = 60


@pytest.fixture(scope="module")
def server(start_server: Any, publish: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Start a server of its own: the tests of this file change its repository, which no other file may see."""
    repository = tmp_path_factory.mktemp("versions")
    publish(repository, "forams", 1)
    return start_server(repository)


def states(server: Any, model: str) -> dict[str, str]:
    answer = httpx.get(f"{server.url}/v1/models/{model}").json()
    return {state["version"]: state["state"] for state in answer.get("model_version_status", [])}


def scores(server: Any, model: str, body: dict[str, Any]) -> Any:
    return np.array(
        [
            row["scores"]
            for row in httpx.post(f"{server.url}/v1/models/{model}:predict", json=body).json()["predictions"]
        ]
    )


@pytest.fixture
def wait(server: Any) -> Callable[[Callable[[], bool]], None]:
    def until(condition: Callable[[], bool]) -> None:
        pause = threading.Event()
        for _ in range(LOAD_TIMEOUT_S * 10):
            if condition():
                return
            pause.wait(0.1)
        raise AssertionError(f"waited in vain; the server says: {server.log.read_text()}")

    return until


def test_a_new_version_takes_over_without_a_failed_request(
    server: Any, publish: Any, wait: Any, reference: Any, segmented_slices: list[bytes], instances_of: Body
) -> None:
    publish(server.repository, "rolling", 1, seed=1)
    wait(lambda: states(server, "rolling") == {"1": "AVAILABLE"})
    body, stop_event, answers = instances_of(segmented_slices[:2]), threading.Event(), []

    def send_requests() -> None:
        with httpx.Client(timeout=60) as client:
            while not stop_event.is_set():
                answers.append(client.post(f"{server.url}/v1/models/rolling:predict", json=body))

    clients = [threading.Thread(target=send_requests) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        wait(lambda: len(answers) > 20)
        publish(server.repository, "rolling", 2, seed=2)
        wait(lambda: "2" in states(server, "rolling"))
        enough = len(answers) + 20
        wait(lambda: len(answers) > enough)
    finally:
        stop_event.set()
        for client in clients:
            client.join()
    assert {answer.status_code for answer in answers} == {200}
    served_scores = np.array([[row["scores"] for row in answer.json()["predictions"]] for answer in answers])
    by_old, by_new = (
        np.abs(served_scores - reference[seed](segmented_slices[:2])["scores"]).max(axis=(1, 2)) < 1e-5
        for seed in (1, 2)
    )
    assert by_old.any()
    assert by_new.any()
    assert (by_old ^ by_new).all()


def test_only_the_two_newest_versions_stay_available(
    server: Any, publish: Any, wait: Any, segmented_slices: list[bytes], instances_of: Body, reference: Any
) -> None:
    body = instances_of(segmented_slices[:1])
    for version in (3, 9, 10):
        publish(server.repository, "kept", version, seed=1 if version == 9 else 2)
        wait(lambda version=version: str(version) in states(server, "kept"))
    assert states(server, "kept") == {"9": "AVAILABLE", "10": "AVAILABLE"}
    own_scores = reference[1](segmented_slices[:1])["scores"]
    np.testing.assert_allclose(scores(server, "kept/versions/9", body), own_scores, atol=1e-5)
    assert httpx.post(f"{server.url}/v1/models/kept/versions/3:predict", json=body).status_code == 404


def test_a_removed_version_is_replaced_by_the_previous_one(
    server: Any, publish: Any, wait: Any, segmented_slices: list[bytes], instances_of: Body, reference: Any
) -> None:
    publish(server.repository, "taken-back", 1, seed=1)
    newest = publish(server.repository, "taken-back", 2, seed=2)
    wait(lambda: "2" in states(server, "taken-back"))
    newest.rename(newest.parent / ".2.withdrawn")
    wait(lambda: states(server, "taken-back") == {"1": "AVAILABLE"})
    answer = scores(server, "taken-back", instances_of(segmented_slices[:1]))
    np.testing.assert_allclose(answer, reference[1](segmented_slices[:1])["scores"], atol=1e-5)
    shutil.rmtree(newest.parent)
    assert scores(server, "taken-back", instances_of(segmented_slices[:1])).shape == (1, 4)


def test_incomplete_versions_are_skipped(server: Any, publish: Any, wait: Any, saved_models: dict[int, Path]) -> None:
    whole = publish(server.repository, "halves", 1)
    model = whole.parent
    shutil.copytree(whole, model / ".2.unfinished")
    shutil.copytree(saved_models[1], model / "3")
    shutil.copytree(whole, model / "4")
    (model / "4" / "model.json").write_text('{"schema": "taxonflow.served-model/1", "name":')
    shutil.copytree(whole, model / "5")
    (model / "5" / "saved_model.pb").unlink()
    for half in ("4", "5"):
        (model / half / "digests.json").unlink()
    shutil.copytree(whole, model / "6-new")
    publish(server.repository, "halves-marker", 1)
    wait(lambda: "1" in states(server, "halves-marker"))
    assert states(server, "halves") == {"1": "AVAILABLE"}


def test_a_broken_version_is_reported_once_and_the_old_one_stays(
    server: Any, publish: Any, wait: Any, segmented_slices: list[bytes], instances_of: Body
) -> None:
    whole = publish(server.repository, "broken", 1)
    wait(lambda: "1" in states(server, "broken"))
    staging_folder = whole.parent / ".2.unfinished"
    shutil.copytree(whole, staging_folder)
    (staging_folder / "saved_model.pb").write_bytes(b"\x0a\xff\xff junk")
    sign_folder(staging_folder, None)
    staging_folder.rename(whole.parent / "2")
    wait(lambda: states(server, "broken").get("2") == "END")
    publish(server.repository, "broken-marker", 1)
    wait(lambda: "1" in states(server, "broken-marker"))
    assert server.log.read_text().count("broken version 2 cannot be loaded") == 1
    assert states(server, "broken") == {"1": "AVAILABLE", "2": "END"}
    assert scores(server, "broken", instances_of(segmented_slices[:1])).shape == (1, 4)


def test_a_saved_model_of_another_contract_is_not_served(server: Any, publish: Any, wait: Any) -> None:
    publish(server.repository, "other", 1)
    wait(lambda: "1" in states(server, "other"))
    import tensorflow as tf

    module = tf.Module()
    module.serve = tf.function(
        lambda image_bytes: {"length": tf.strings.length(image_bytes)},
        input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")],
    )
    staging_folder = server.repository / "other" / ".2.unfinished"
    tf.saved_model.save(module, str(staging_folder), signatures={"serving_default": module.serve})
    shutil.copy(server.repository / "other" / "1" / "model.json", staging_folder)
    sign_folder(staging_folder, None)
    staging_folder.rename(server.repository / "other" / "2")
    wait(lambda: states(server, "other").get("2") == "END")
    assert states(server, "other")["1"] == "AVAILABLE"


@pytest.mark.parametrize(
    ("tamper", "reason"),
    [
        (lambda folder: flip_a_bit(folder / "variables" / "variables.data-00000-of-00001"), "changed: variables/"),
        (lambda folder: (folder / "assets" / "notes.txt").write_text("added"), "added: assets/notes.txt"),
        (lambda folder: (folder / "saved_model.pb").unlink(), "missing: saved_model.pb"),
        (lambda folder: (folder / "digests.json").unlink(), "has no digests.json"),
    ],
    ids=["flipped", "added", "missing", "unsigned"],
)
def test_a_version_that_differs_from_its_digests_is_rejected(
    publish: Any, tmp_path: Path, tamper: Callable[[Path], Any], reason: str
) -> None:
    messages: list[str] = []
    with ThreadPoolExecutor(1) as workers:
        predictor = LocalPredictor(Repository(tmp_path), workers, messages.append)
        publish(tmp_path, "forams", 1)
        predictor.refresh()
        tamper(publish(tmp_path / "elsewhere", "forams", 2))
        (tmp_path / "elsewhere" / "forams" / "2").rename(tmp_path / "forams" / "2")
        predictor.refresh()
        predictor.refresh()
    (rejection,) = [line for line in messages if "version 2 cannot be loaded and is skipped" in line]
    assert reason in rejection
    assert predictor.names() == ["forams"]
    assert asyncio.run(predictor.get_version("forams", None)).version == 1


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def test_a_server_with_a_key_loads_only_versions_signed_with_it(
    publish: Any, tmp_path: Path, key_pair: Callable[[str], tuple[Path, Path]]
) -> None:
    (ours, public), (theirs, _) = key_pair("ours"), key_pair("theirs")
    messages: list[str] = []
    with ThreadPoolExecutor(1) as workers:
        predictor = LocalPredictor(Repository(tmp_path), workers, messages.append, public)
        for version, key in ((1, ours), (2, theirs), (3, None)):
            publish(tmp_path, "forams", version, key=key)
        predictor.refresh()
    assert asyncio.run(predictor.get_version("forams", None)).version == 1
    assert [line for line in messages if "version 2" in line and "not signed by the key of" in line]
    assert [line for line in messages if "version 3" in line and "is not signed" in line]


@pytest.mark.parametrize("name", ["a[x]b", "a?b*c", "a\\b"])
def test_a_repository_whose_path_looks_like_a_pattern_is_served(
    name: str, publish: Callable[..., Path], tmp_path: Path
) -> None:
    folder = publish(tmp_path / name, "forams", 1)
    stored = Repository(tmp_path / name).newest("forams")
    assert stored is not None
    assert stored.folder == folder
    with ThreadPoolExecutor(1) as workers:
        assert failure_of(stored, workers) == ""


def failure_of(stored: StoredVersion, workers: ThreadPoolExecutor) -> str:
    """Return why a version cannot be loaded; empty if it can."""
    try:
        LoadedVersion(stored, workers)
    except OSError as error:
        return str(error)
    return ""
