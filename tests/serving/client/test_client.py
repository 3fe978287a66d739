"""The client, against the real server and against servers that behave badly."""

import csv
import io
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.shared.errors import BadInputError, BadSourceFileError, DeployError
from components.shared.images.decoding import decode_image, encode_png
from components.shared.images.segmentation import segment_slice
from serving.client import Client, SlicePrediction, volumes
from serving.client.__main__ import parse_arguments
from serving.client.endpoint import MAX_BATCH_SLICES, batches, retry_delays
from serving.client.report import SliceResult, render
from serving.client.volumes import SlicingOptions, cut_volume

REAL = Path(__file__).parents[4] / "shared" / "real_volumes"


@pytest.fixture
def client(server: Any) -> Iterator[Client]:
    with Client(server.url, 30) as opened:
        yield opened


@pytest.fixture
def busy_server() -> Iterator[tuple[str, list[int]]]:
    """A server that answers 503 twice before it tells its status, and whose predictions lack an output."""
    statuses: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            statuses.append(503 if len(statuses) < 2 else 200)
            self.send_response(statuses[-1])
            self.end_headers()
            self.wfile.write(b'{"model_version_status": []}')

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"predictions": [{"species": "a"}]}')

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", statuses
        server.shutdown()


def run_client(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "serving.client", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "COLUMNS": "300"},
    )


@pytest.fixture
def folder(tmp_path: Path, raw_slices: list[bytes]) -> Path:
    for number, image in enumerate(raw_slices):
        file = tmp_path / "slices" / "deeper" / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(image)
    (tmp_path / "slices" / "notes.txt").write_text("no image")
    return tmp_path / "slices"


def test_predictions_come_in_the_order_of_the_images(
    client: Client, segmented_slices: list[bytes], reference: Any
) -> None:
    many = segmented_slices * 12
    predictions = client.predict("forams", many, "specimen-1")
    expected = reference[1](segmented_slices)
    assert len(many) > 2 * MAX_BATCH_SLICES
    assert all(isinstance(prediction, SlicePrediction) for prediction in predictions)
    for number, prediction in enumerate(predictions):
        row = number % len(segmented_slices)
        assert prediction.species.encode() == expected["species"][row]
        assert prediction.scores == pytest.approx(expected["scores"][row].tolist(), abs=1e-5)


@pytest.mark.parametrize("name", ["two\nlines", "forams?x"])
def test_a_name_that_is_no_models_is_refused_by_the_server(client: Client, name: str) -> None:
    with pytest.raises(BadInputError, match="is not known"):
        client.status(name)


def test_names_in_brackets_are_shown_as_they_are() -> None:
    found = SlicePrediction("Fallotia [cf]", 1.0, (1.0,), False, ())
    refused = SliceResult("b.png", None, "no [/such] image")
    table = render([SliceResult("scan[old].png", found), refused], "table", ())
    assert all(name in table for name in ("scan[old].png", "Fallotia [cf]", "no [/such] image"))


def test_no_image_is_no_request(client: Client) -> None:
    assert client.predict("forams", []) == []


def test_batches_are_bounded_in_slices_and_bytes() -> None:
    assert [len(batch) for batch in batches([b"x"] * 70)] == [32, 32, 6]
    assert [len(batch) for batch in batches([b"x" * 3 * 2**20] * 5)] == [2, 2, 1]
    assert [len(batch) for batch in batches([b"x" * 20 * 2**20])] == [1]


def test_pauses_grow_and_end_when_patience_does() -> None:
    waits = list(retry_delays(5.0))
    assert waits[:4] == [0.1, 0.2, 0.4, 0.8]
    assert sum(waits) == pytest.approx(5.0)


def test_a_refusal_is_bad_input_with_the_servers_reason(client: Client) -> None:
    with pytest.raises(BadInputError, match="instance 0 is an image that cannot be read"):
        client.predict("forams", [b"junk"])
    with pytest.raises(BadInputError, match="'nothing'"):
        client.predict("nothing", [b"junk"])


def test_a_server_that_asks_to_come_again_is_asked_again(busy_server: tuple[str, list[int]]) -> None:
    url, statuses = busy_server
    with Client(url, 5) as client:
        assert client.status("forams") == {"model_version_status": []}
    assert statuses == [503, 503, 200]


def test_an_answer_that_lacks_an_output_is_a_sentence_that_names_it(busy_server: tuple[str, list[int]]) -> None:
    with (
        Client(busy_server[0], 5) as client,
        pytest.raises(DeployError, match=r"\(predictions\.0\.confidence: Field required\)$"),
    ):
        client.predict("forams", [b"png"])


def test_a_server_that_is_not_there_is_one_sentence_after_retries() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    started = time.monotonic()
    with (
        Client(f"http://127.0.0.1:{port}", 5, retry_timeout_s=1.2) as client,
        pytest.raises(DeployError, match="cannot be reached"),
    ):
        client.status("forams")
    assert 1 < time.monotonic() - started < 10


def test_readiness_is_waited_for_and_given_up(client: Client) -> None:
    client.wait_until_ready("forams", 10)
    client.wait_until_ready("forams", 10, version=1)
    with pytest.raises(DeployError, match="forams version 99"):
        client.wait_until_ready("forams", 0.5, version=99)


def test_a_folder_is_answered_as_a_table(server: Any, folder: Path) -> None:
    ended = run_client(str(folder), "--url", server.url, "--model", "forams")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count(".png") == 6
    assert "%" in ended.stdout


def test_json_and_csv_are_for_programs(
    server: Any, folder: Path, segmented_slices: list[bytes], reference: Any
) -> None:
    expected = [name.decode() for name in reference[1](segmented_slices)["species"]]
    options = [str(folder), "--url", server.url, "--model", "forams", "--format"]
    document = json.loads(run_client(*options, "json").stdout)
    rows = document["slices"]
    assert document["specimens"] == []
    assert [row["species"] for row in rows] == expected
    table = list(csv.DictReader(io.StringIO(run_client(*options, "csv").stdout)))
    assert [row["species"] for row in table] == expected
    assert [Path(row["file"]).name for row in table] == [f"{number}.png" for number in range(6)]


def test_a_file_that_is_refused_is_named_and_the_others_are_answered(server: Any, folder: Path) -> None:
    (folder / "broken.png").write_bytes(b"junk")
    ended = run_client(str(folder), "--url", server.url, "--model", "forams", "--format", "csv")
    rows = {Path(row["file"]).name: row for row in csv.DictReader(io.StringIO(ended.stdout))}
    assert ended.returncode == 2
    assert len(rows) == 7
    assert "cannot be read" in rows["broken.png"]["error"]
    assert all(rows[f"{number}.png"]["species"] for number in range(6))


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a synthetic specimen, `Fallotia-1.nii.gz`, and a truncated one."""
    from components.phantoms.generate import PhantomConfig, generate_phantoms

    made, folder = tmp_path_factory.mktemp("phantoms") / "set", tmp_path_factory.mktemp("scans")
    generate_phantoms(made, PhantomConfig(specimens_per_species=1, unseen_per_species=0, size=40), 1)
    scan = sorted(made.rglob("*.nii.gz"))[0].read_bytes()
    (folder / "Fallotia-1.nii.gz").write_bytes(scan)
    (folder / "broken.nii.gz").write_bytes(scan[: len(scan) // 2])
    return folder


def test_a_volume_is_cut_here_and_voted_on(server: Any, phantom: Path, reference: Any) -> None:
    scan = phantom / "Fallotia-1.nii.gz"
    options = [str(scan), "--url", server.url, "--model", "forams", "--slices", "40", "--format", "json"]
    ended = run_client(*options)
    assert ended.returncode == 0, ended.stderr
    document = json.loads(ended.stdout)
    assert json.loads(run_client(*options).stdout) == document
    rows, (vote,) = document["slices"], document["specimens"]
    cuts = list(
        cut_volume(scan, SlicingOptions(slices=40, edge=32, schedule="random"))
    )  # 32 px, as the crops of the model
    assert [row["plane"] for row in rows] == [cut.plane for cut in cuts]
    segmented = [encode_png(segment_slice(decode_image(cut.image, 1))) for cut in cuts]
    expected = reference[1](segmented)
    assert [row["species"].encode() for row in rows] == expected["species"].tolist()
    mean = expected["scores"].mean(axis=0)
    assert (vote["specimen"], vote["slices"]) == ("Fallotia-1", 40)
    assert vote["confidence"] == pytest.approx(float(mean.max()), abs=1e-5)
    assert vote["agreement"] == pytest.approx(np.mean([row["species"] == vote["species"] for row in rows]))


def test_a_bad_volume_is_refused_by_name_and_the_others_are_answered(server: Any, phantom: Path) -> None:
    ended = run_client(str(phantom), "--url", server.url, "--model", "forams", "--slices", "3", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(ended.stdout)))
    assert ended.returncode == 2
    (refused,) = [row for row in rows if row["error"]]
    assert (Path(refused["file"]).name, refused["slices"]) == ("broken.nii.gz", "0")
    assert "truncated" in refused["error"]
    assert [row["slices"] for row in rows if row["specimen"] == "Fallotia-1"] == ["1", "1", "1", "3"]


def test_the_slices_of_a_named_specimen_are_voted_on(server: Any, folder: Path) -> None:
    ended = run_client(str(folder), "--url", server.url, "--model", "forams", "--specimen", "drawer-12")
    assert ended.returncode == 0, ended.stderr
    assert "drawer-12" in ended.stdout


def test_a_volume_that_promises_too_much_is_refused_before_it_is_read(
    phantom: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volumes, "LARGEST_VOLUME_BYTES", 40**3 - 1)
    with pytest.raises(BadSourceFileError, match="Crop or bin the volume"):
        next(cut_volume(phantom / "Fallotia-1.nii.gz", SlicingOptions(3, 32, "random")))


@pytest.mark.skipif(not REAL.is_dir(), reason="the real volumes are not beside the repository")
def test_a_real_volume_is_cut_and_answered(server: Any) -> None:
    options = [str(REAL / "shell.nii.gz"), "--url", server.url, "--model", "forams", "--slices", "6"]
    ended = run_client(*options, "--planes", "published", "--format", "json")
    assert ended.returncode == 0, ended.stderr
    (vote,) = json.loads(ended.stdout)["specimens"]
    assert (vote["specimen"], vote["slices"]) == ("shell", 6)


@pytest.mark.parametrize("given", [["--slices", "0"], ["--slices", "1001"], ["--timeout", "-1"], ["--timeout", "nan"]])
def test_a_number_beyond_its_bounds_is_refused_in_a_line(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse_arguments(["slice.png", *given])
    complaint = capsys.readouterr().err.splitlines()[-1]
    assert f"argument {given[0]}: '{given[1]}', expected " in complaint
    assert len(complaint) < 100


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nowhere.png"], "nowhere.png does not exist"),
        ([str(Path(__file__).parent)], "no image and no volume"),
        ([__file__, "--model", "m", "--url", "no-address"], "protocol"),
        ([__file__, "--model", "m", "--url", "http://127.0.0.1:port"], "port"),
    ],
)
def test_what_cannot_work_ends_in_one_sentence(arguments: list[str], reason: str) -> None:
    ended = run_client(*arguments)
    assert ended.returncode in (1, 2)
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    assert reason in ended.stderr
