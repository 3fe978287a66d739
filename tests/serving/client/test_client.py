"""The client with a real server and with faulty servers."""

import csv
import io
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import tifffile

from components.shared.errors import BadInputError, BadSourceFileError, DeployError
from components.shared.images.decoding import decode_image, encode_png
from components.shared.images.segmentation import segment_slice
from serving.client import Client, SlicePrediction, volumes
from serving.client.__main__ import parse_arguments, read_bounded
from serving.client.endpoint import MAX_BATCH_SLICES, batches, retry_delays
from serving.client.volumes import SlicingOptions, iterate_slices
from tests.http_server import Request, Response, http_server
from tests.ingest.volume_files import layers_of
from tests.serving.conftest import id_of_model

REAL = Path(__file__).parents[4] / "shared" / "real_volumes"


@pytest.fixture
def client(server: Any) -> Iterator[Client]:
    with Client(server.url, 30) as connection:
        yield connection


@pytest.fixture
def busy_server() -> Iterator[tuple[str, list[int]]]:
    """Start a server whose first two status answers are 503 and whose predictions lack outputs."""
    statuses: list[int] = []

    def respond(request: Request) -> Response:
        if request.method == "POST":
            return Response.of_json({"predictions": [{"species": "a"}]})
        statuses.append(503 if len(statuses) < 2 else 200)
        return Response.of_json({"model_version_status": []}, statuses[-1])

    with http_server(respond) as address:
        yield address, statuses


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
    own_outputs = reference[1](segmented_slices)
    assert len(many) > 2 * MAX_BATCH_SLICES
    assert all(isinstance(prediction, SlicePrediction) for prediction in predictions)
    for number, prediction in enumerate(predictions):
        row = number % len(segmented_slices)
        assert prediction.species.encode() == own_outputs["species"][row]
        assert prediction.scores == pytest.approx(own_outputs["scores"][row].tolist(), abs=1e-5)


@pytest.mark.parametrize("name", ["two\nlines", "forams?x"])
def test_an_invalid_name_is_rejected_by_the_server(client: Client, name: str) -> None:
    with pytest.raises(BadInputError, match="is not known"):
        client.status(name)


def test_a_prediction_names_its_model_and_its_open_set_score(client: Client, segmented_slices: list[bytes]) -> None:
    (prediction,) = client.predict("forams", segmented_slices[:1])
    assert prediction.model == id_of_model(1)
    assert prediction.unknown_score == pytest.approx(1 - prediction.confidence)


def test_no_image_sends_no_request(client: Client) -> None:
    assert client.predict("forams", []) == []


def test_batches_are_bounded_in_slices_and_bytes() -> None:
    assert [len(batch) for batch in batches([b"x"] * 70, len)] == [32, 32, 6]
    assert [len(batch) for batch in batches([b"x" * 3 * 2**20] * 5, len)] == [2, 2, 1]
    assert [len(batch) for batch in batches([b"x" * 20 * 2**20], len)] == [1]


def test_the_client_sends_photographs_of_the_size_that_ingest_takes(tmp_path: Path) -> None:
    file = tmp_path / "large.png"
    file.write_bytes(b"x" * 12 * 2**20)
    refusal = ""
    try:
        assert len(read_bounded(file)) == 12 * 2**20
    except BadInputError as error:
        refusal = str(error)
    assert refusal == ""


def test_retry_delays_grow_up_to_the_timeout() -> None:
    waits = list(retry_delays(5.0))
    assert waits[:4] == [0.1, 0.2, 0.4, 0.8]
    assert sum(waits) == pytest.approx(5.0)


def test_a_rejection_is_bad_input_with_the_servers_reason(client: Client) -> None:
    with pytest.raises(BadInputError, match="instance 0 is an image that cannot be read"):
        client.predict("forams", [b"junk"])
    with pytest.raises(BadInputError, match="'nothing'"):
        client.predict("nothing", [b"junk"])


def test_a_503_is_retried(busy_server: tuple[str, list[int]]) -> None:
    url, statuses = busy_server
    with Client(url, 5) as client:
        assert client.status("forams") == {"model_version_status": []}
    assert statuses == [503, 503, 200]


def test_a_missing_output_is_named(busy_server: tuple[str, list[int]]) -> None:
    with (
        Client(busy_server[0], 5) as client,
        pytest.raises(DeployError, match=r"\(predictions\.0\.confidence: Field required\)$"),
    ):
        client.predict("forams", [b"png"])


def test_an_unreachable_server_is_an_error_after_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    delays: list[float] = []
    monkeypatch.setattr("time.sleep", delays.append)
    with (
        Client(f"http://127.0.0.1:{port}", 5, retry_timeout_s=1.2) as client,
        pytest.raises(DeployError, match="cannot be reached"),
    ):
        client.status("forams")
    assert delays == pytest.approx([0.1, 0.2, 0.4, 0.5])


def test_waiting_for_a_version_times_out(client: Client) -> None:
    client.wait_until_ready("forams", 10)
    client.wait_until_ready("forams", 10, version=1)
    with pytest.raises(DeployError, match="forams version 99"):
        client.wait_until_ready("forams", 0.5, version=99)


def test_the_predictions_of_a_folder_are_a_table(server: Any, folder: Path) -> None:
    process = run_client(str(folder), "--url", server.url, "--model", "forams")
    assert process.returncode == 0, process.stderr
    assert process.stdout.count(".png") == 6
    assert "%" in process.stdout


def test_json_and_csv_are_for_programs(
    server: Any, folder: Path, segmented_slices: list[bytes], reference: Any
) -> None:
    own_outputs = [name.decode() for name in reference[1](segmented_slices)["species"]]
    options = [str(folder), "--url", server.url, "--model", "forams", "--format"]
    document = json.loads(run_client(*options, "json").stdout)
    rows = document["slices"]
    assert document["specimens"] == []
    assert [row["species"] for row in rows] == own_outputs
    table = list(csv.DictReader(io.StringIO(run_client(*options, "csv").stdout)))
    assert [row["species"] for row in table] == own_outputs
    assert [Path(row["file"]).name for row in table] == [f"{number}.png" for number in range(6)]


def test_a_rejected_file_is_named_and_the_others_are_predicted(server: Any, folder: Path) -> None:
    (folder / "broken.png").write_bytes(b"junk")
    process = run_client(str(folder), "--url", server.url, "--model", "forams", "--format", "csv")
    rows = {Path(row["file"]).name: row for row in csv.DictReader(io.StringIO(process.stdout))}
    assert process.returncode == 2
    assert len(rows) == 7
    assert "cannot be read" in rows["broken.png"]["error"]
    assert all(rows[f"{number}.png"]["species"] for number in range(6))


def test_files_of_the_system_are_passed_over_as_by_ingest(server: Any, folder: Path) -> None:
    for name in ("._0.png", ".hidden/1.png", "deeper/.Trash/2.png", "__MACOSX/3.png", "@eaDir/0.png/4.jpg"):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"no image")
    (folder / "Thumbs.db").write_bytes(b"no image")
    process = run_client(str(folder), "--url", server.url, "--model", "forams", "--format", "csv")
    assert process.returncode == 0, process.stdout
    rows = csv.DictReader(io.StringIO(process.stdout))
    assert [Path(row["file"]).name for row in rows] == [f"{number}.png" for number in range(6)]


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a synthetic specimen, `Fallotia-1.nii.gz`, and a truncated one."""
    from components.phantoms.generate import PhantomConfig, generate_phantoms

    data_set, folder = tmp_path_factory.mktemp("phantoms") / "set", tmp_path_factory.mktemp("scans")
    generate_phantoms(data_set, PhantomConfig(specimens_per_species=1, unseen_per_species=0, size=40), 1)
    scan = sorted(data_set.glob("volumes/*/*.nii.gz"))[0].read_bytes()
    (folder / "Fallotia-1.nii.gz").write_bytes(scan)
    (folder / "broken.nii.gz").write_bytes(scan[: len(scan) // 2])
    return folder


def test_a_volume_is_cut_locally_and_gets_a_vote(server: Any, phantom: Path, reference: Any) -> None:
    scan = phantom / "Fallotia-1.nii.gz"
    options = [str(scan), "--url", server.url, "--model", "forams", "--slices", "40", "--format", "json"]
    process = run_client(*options)
    assert process.returncode == 0, process.stderr
    document = json.loads(process.stdout)
    assert json.loads(run_client(*options).stdout) == document
    rows, (vote,) = document["slices"], document["specimens"]
    cuts = list(iterate_slices(scan, SlicingOptions(slices=40, edge=32)))  # 32 px, like the crops of the model
    assert [row["plane"] for row in rows] == [cut.plane for cut in cuts]
    images = [encode_png(segment_slice(decode_image(cut.image, 1))) for cut in cuts]
    own_outputs = reference[1](images)
    assert [row["species"].encode() for row in rows] == own_outputs["species"].tolist()
    mean = own_outputs["scores"].mean(axis=0)
    assert (vote["specimen"], vote["slices"]) == ("Fallotia-1", 40)
    assert vote["confidence"] == pytest.approx(float(mean.max()), abs=1e-5)
    assert vote["agreement"] == pytest.approx(np.mean([row["species"] == vote["species"] for row in rows]))


def test_a_bad_volume_is_named_and_the_others_are_predicted(server: Any, phantom: Path) -> None:
    process = run_client(str(phantom), "--url", server.url, "--model", "forams", "--slices", "3", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(process.stdout)))
    assert process.returncode == 2
    (rejection,) = [row for row in rows if row["error"]]
    assert (Path(rejection["file"]).name, rejection["slices"]) == ("broken.nii.gz", "0")
    assert "truncated" in rejection["error"]
    assert [row["slices"] for row in rows if row["specimen"] == "Fallotia-1"] == ["1", "1", "1", "3"]


def test_a_volume_with_a_doubtful_mask_is_named(server: Any, phantom: Path, tmp_path: Path) -> None:
    grey = np.asarray(nib.load(phantom / "Fallotia-1.nii.gz").dataobj)
    pair = tmp_path / "pair.nii.gz"
    nib.save(nib.Nifti1Image(np.concatenate([grey, grey]), np.eye(4)), pair)
    process = run_client(str(pair), "--url", server.url, "--model", "forams", "--slices", "2")
    assert process.returncode == 0, process.stderr
    assert f"{pair}: its mask is doubtful: a second object has" in process.stderr


def test_a_tiff_file_with_several_pages_is_cut_as_its_nifti(server: Any, phantom: Path, tmp_path: Path) -> None:
    image = nib.load(phantom / "Fallotia-1.nii.gz")
    zoom = float(image.header.get_zooms()[0])
    options = {"imagej": True, "resolution": (1 / zoom, 1 / zoom), "metadata": {"spacing": zoom, "unit": "mm"}}
    tifffile.imwrite(tmp_path / "Fallotia-1.tif", layers_of(np.asarray(image.dataobj)), **options)
    arguments = [str(tmp_path / "Fallotia-1.tif"), "--url", server.url, "--model", "forams", "--slices", "3"]
    process = run_client(*arguments, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(process.stdout)))
    assert [(row["specimen"], row["slices"], row["error"]) for row in rows] == [
        ("Fallotia-1", "1", ""),
        ("Fallotia-1", "1", ""),
        ("Fallotia-1", "1", ""),
        ("Fallotia-1", "3", ""),
    ]


def test_the_slices_of_a_named_specimen_get_a_vote(server: Any, folder: Path) -> None:
    process = run_client(str(folder), "--url", server.url, "--model", "forams", "--specimen", "drawer-12")
    assert process.returncode == 0, process.stderr
    assert "drawer-12" in process.stdout


def test_a_volume_with_a_large_header_is_rejected_before_it_is_read(
    phantom: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volumes, "LARGEST_VOLUME_BYTES", 40**3 - 1)
    with pytest.raises(BadSourceFileError, match="Crop or bin the volume"):
        next(iterate_slices(phantom / "Fallotia-1.nii.gz", SlicingOptions(3, 32, "random")))


@pytest.mark.skipif(not REAL.is_dir(), reason="the real volumes are not beside the repository")
def test_a_real_volume_gets_a_vote(server: Any) -> None:
    options = [str(REAL / "shell.nii.gz"), "--url", server.url, "--model", "forams", "--slices", "6"]
    process = run_client(*options, "--planes", "published", "--format", "json")
    assert process.returncode == 0, process.stderr
    (vote,) = json.loads(process.stdout)["specimens"]
    assert (vote["specimen"], vote["slices"]) == ("shell", 6)


@pytest.mark.parametrize(
    "options", [["--slices", "0"], ["--slices", "1001"], ["--timeout", "-1"], ["--timeout", "nan"], ["--planes", "all"]]
)
def test_an_invalid_option_is_rejected_in_a_line(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse_arguments(["slice.png", *options])
    complaint = capsys.readouterr().err.splitlines()[-1]
    assert f"argument {options[0]}: '{options[1]}', expected " in complaint
    assert len(complaint) < 100


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nowhere.png"], "nowhere.png does not exist"),
        ([str(Path(__file__).parent)], "no image and no volume"),
        ([__file__, "--model", "m", "--url", "no-address"], "http:// or https://"),
        ([__file__, "--model", "m", "--url", "http://127.0.0.1:port"], "port"),
    ],
)
def test_bad_arguments_exit_with_one_sentence(arguments: list[str], reason: str) -> None:
    process = run_client(*arguments)
    assert process.returncode in (1, 2)
    assert len(process.stderr.splitlines()) == 1, process.stderr
    assert reason in process.stderr
