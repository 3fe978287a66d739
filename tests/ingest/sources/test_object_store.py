"""Volumes in an object store: a SeaweedFS server, broken connections, and all kinds of failures."""

import contextlib
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import nibabel as nib
import numpy as np
import pytest
import tifffile
from kfp import dsl

from components.ingest.component import ingest_plan
from components.ingest.config import IngestConfig
from components.ingest.dataset import make_dataset
from components.ingest.downloads import ScratchFolder
from components.ingest.plan import make_plan
from components.ingest.shards import cut_shard, read_results
from components.ingest.sources import object_store, open_source, retries
from components.ingest.sources.manifest import list_scans
from components.ingest.sources.object_store import ObjectStoreSource, Store
from components.shared.errors import BadManifestError, BadSourceFileError, TaxonflowError
from tests.ingest.volume_files import layers_of, write_mhd, write_pair, write_stack

CONFIG = IngestConfig(image_size=32, slices_per_species=30, planes="random", seed=7, workers=1)
pytestmark = pytest.mark.usefixtures("store_environment")


@pytest.fixture(scope="module")
def local(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Make the data set from the local folder."""
    folder = tmp_path_factory.mktemp("local") / "slices"
    make_dataset(phantoms, folder, CONFIG)
    return content(folder)


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_a_bucket_gives_the_same_bytes_as_the_folder(local: dict[str, bytes], tmp_path: Path) -> None:
    make_dataset("s3://lab/set", tmp_path / "slices", CONFIG.model_copy(update={"workers": 2}), shards=2)
    assert content(tmp_path / "slices") == local


def test_the_store_of_kubeflow_is_read_through_the_same_endpoint() -> None:
    assert list_scans(open_source("minio://lab/set/manifest.csv")) == list_scans(open_source("s3://lab/set"))


def test_a_bucket_without_a_manifest_is_listed_as_a_folder_is(phantoms: Path) -> None:
    here, there = list_scans(open_source(phantoms / "volumes")), list_scans(open_source("s3://lab/set/volumes/"))
    assert [(s.path, s.species, s.specimen, s.size) for s in there.scans] == [
        (s.path, s.species, s.specimen, s.size) for s in here.scans
    ]
    assert all(scan.version for scan in there.scans)


def test_rows_without_an_object_are_refused_as_in_a_local_folder(store: Any, own_phantoms: Path) -> None:
    rows = (own_phantoms / "manifest.csv").read_text()
    rows += "gone.nii,Orbitoides,gone\n../set/manifest.csv,Orbitoides,out\nvolumes,Orbitoides,folder\n"
    rows += "/etc/passwd,Orbitoides,absolute\nwords.nii,Orbitoides,words\nempty.nii,Orbitoides,empty\n"
    (own_phantoms / "manifest.csv").write_text(rows)
    (own_phantoms / "words.nii").write_bytes(b"these are words" * 100)
    (own_phantoms / "empty.nii").touch()
    files = store.files()
    files.put(str(own_phantoms) + "/", "lab/bad/", recursive=True)
    here, there = make_plan(own_phantoms, CONFIG), make_plan("s3://lab/bad", CONFIG)
    assert {refusal.path: refusal.reason for refusal in there.refusals} == {
        refusal.path: refusal.reason for refusal in here.refusals
    }
    assert len(there.refusals) == 6
    assert there.max_bytes == here.max_bytes


def test_own_masks_are_downloaded_with_their_volumes(store: Any, own_phantoms: Path, tmp_path: Path) -> None:
    header, *rows = (own_phantoms / "manifest.csv").read_text().splitlines()
    masks = [row.split(",")[0].replace("volumes/", "masks/") for row in rows]
    masks[0] = "masks/gone.nii.gz"
    for number in range(1, len(rows), 2):  # a stack instead of the file
        path, labels = rows[number].split(",", 1)
        image, rows[number] = nib.load(own_phantoms / path), f"{path[: -len('.nii.gz')]},{labels}"
        x, y, z = map(float, image.header.get_zooms())
        options = {"imagej": True, "resolution": (1 / x, 1 / y), "metadata": {"spacing": z, "unit": "mm"}}
        write_stack(own_phantoms / rows[number].split(",")[0], np.asarray(image.dataobj), **options)
    lines = [f"{header},mask", *(f"{row},{mask}" for row, mask in zip(rows, masks, strict=True))]
    (own_phantoms / "manifest.csv").write_text("\n".join(lines))
    store.files().put(str(own_phantoms) + "/", "lab/masked/", recursive=True)
    here = make_dataset(own_phantoms, tmp_path / "here", CONFIG).info
    make_dataset("s3://lab/masked", tmp_path / "there", CONFIG)
    assert content(tmp_path / "here") == content(tmp_path / "there")
    assert [refusal.path for refusal in here.refused] == [rows[0].split(",")[0]]


@pytest.mark.parametrize(
    ("address", "variables", "text"),
    [
        ("s3://nowhere/set", {}, "a bucket 'nowhere'"),
        ("s3://lab/nothing.csv", {}, "does not exist"),
        ("s3://lab/nothing", {}, "names no volume"),
        ("s3://", {}, "s3://bucket/prefix"),
        ("s3://key:secret@lab/set", {}, "without credentials"),
        ("ftp://lab/set", {}, "a path or file://, gs://, minio://, s3://"),
        ("s3://lab/set", {"ACCESS_KEY_ID": "guest"}, "access denied.*AWS_ACCESS_KEY_ID"),
        ("s3://lab/set", {"SECRET_ACCESS_KEY": "wrong"}, "access denied"),
        ("s3://lab/set", {"ACCESS_KEY_ID": "", "SECRET_ACCESS_KEY": ""}, "no credentials.*AWS_ACCESS_KEY_ID"),
        ("s3://lab/set", {"ENDPOINT_URL": "http://127.0.0.1:9"}, "does not answer.*AWS_ENDPOINT_URL"),
        ("s3://lab/set", {"ENDPOINT_URL": "http://nowhere.invalid"}, "cannot be resolved.*AWS_ENDPOINT_URL"),
        ("s3://lab/set", {"ENDPOINT_URL": "nonsense"}, "Invalid endpoint.*AWS_ENDPOINT_URL"),
    ],
)
def test_an_unusable_source_is_reported_in_one_line_without_secrets(
    address: str, variables: dict[str, str], text: str, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "FIRST_DELAY_S", 0.01)
    for name, value in variables.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    with pytest.raises(BadManifestError, match=text) as caught:
        list_scans(open_source(address))
    assert store.secret not in str(caught.value)
    assert "secret@" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_object_may_have_the_longest_name_of_a_file(store: Any, phantoms: Path, tmp_path: Path) -> None:
    files = store.files()
    files.copy("lab/set/volumes/", "lab/long/", recursive=True)
    one = next((phantoms / "volumes" / "Orbitoides").iterdir())
    longest = "\U00020000" * 61
    files.put(str(one), f"lab/long/Orbitoides/{longest}.nii.gz")
    result = make_dataset("s3://lab/long", tmp_path / "slices", CONFIG)
    assert [refusal.reason for refusal in result.info.refused] == [f"the same file as Orbitoides/{one.name}"]


def test_the_step_ends_with_exit_code_2_when_the_bucket_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parameters = {"image_size": 32, "slices_per_species": 15, "planes": "random", "seed": 0, "shards": 1}
    plan = dsl.Dataset(uri=str(tmp_path / "plan"))
    with pytest.raises(SystemExit) as stop:
        ingest_plan.python_func(volumes="s3://nowhere/set", plan=plan, **parameters)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("[ingest] bad_input: s3://nowhere/set does not exist")


def test_a_volume_larger_than_the_scratch_space_is_not_downloaded(store: Any) -> None:
    files = store.files()
    files.copy("lab/set/", "lab/large/", recursive=True)
    with files.open("lab/large/volumes/Orbitoides/large.nii", "wb") as file:
        file.write(bytes(2**20))
    plan = make_plan("s3://lab/large/volumes", CONFIG.model_copy(update={"scratch_bytes": 2**20 - 1}))
    assert [(refusal.path, refusal.reason) for refusal in plan.refusals] == [
        ("Orbitoides/large.nii", "1048576 bytes to download: expected at most 1048575. Crop or bin the volume.")
    ]


def test_a_volume_that_changes_after_the_plan_is_refused_by_the_shard(store: Any, tmp_path: Path) -> None:
    files = store.files()
    files.copy("lab/set/", "lab/changing/", recursive=True)
    plan = make_plan("s3://lab/changing", CONFIG)
    modified_scan, deleted_scan = plan.scans[1], plan.scans[2]
    files.pipe_file(modified_scan.file.as_posix(), b"x" * modified_scan.size)
    files.rm_file(deleted_scan.file.as_posix())
    cut_shard(plan, 0, tmp_path / "shard")
    reasons = {number: result.refusal for number, result in read_results(tmp_path / "shard") if result.refusal}
    assert reasons.keys() == {1, 2}
    assert "changed since" in reasons[1]
    assert "not exist any more" in reasons[2]


class BreakingProxy:
    """A proxy that forwards bytes to a server and breaks the first responses after a number of bytes."""

    def __init__(self, endpoint: str, breaks: int, after: int) -> None:
        self.target = int(endpoint.rpartition(":")[2])
        self.breaks, self.after, self.broken = breaks, after, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.target))
            threading.Thread(target=self.pump, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self.pump, args=(server, client, True), daemon=True).start()

    def pump(self, source: socket.socket, sink: socket.socket, is_response: bool) -> None:
        size = 0
        with contextlib.suppress(OSError):
            while block := source.recv(2**14):
                size += len(block)
                if is_response and size > self.after and self.broken < self.breaks:
                    self.broken += 1
                    break
                sink.sendall(block)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def test_connections_that_break_during_responses_are_retried(
    store: Any, local: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = BreakingProxy(store.endpoint, breaks=12, after=20_000)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
    monkeypatch.setattr(retries, "FIRST_DELAY_S", 0.05)
    make_dataset("s3://lab/set", tmp_path / "slices", CONFIG)
    assert proxy.broken == 12
    assert content(tmp_path / "slices") == local


def test_an_incomplete_download_is_not_used_as_the_volume(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "FIRST_DELAY_S", 0.01)
    monkeypatch.setitem(object_store.STORES, "s3", replace(object_store.STORES["s3"], attempts=2))
    scan = list_scans(open_source("s3://lab/set")).scans[0]
    proxy = BreakingProxy(store.endpoint, breaks=10**6, after=3000)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
    source = open_source("s3://lab/set")
    assert isinstance(source, ObjectStoreSource)
    with pytest.raises(TaxonflowError, match="could not be downloaded") as caught:
        source.download(scan.source_file, tmp_path / "volume")
    assert not isinstance(caught.value, BadSourceFileError)
    assert not (tmp_path / "volume").exists()


@pytest.mark.slow
def test_a_store_that_is_killed_and_restarted_gives_the_same_bytes(
    local: dict[str, bytes], store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "LONGEST_DELAY_S", 1.0)
    monkeypatch.setitem(object_store.STORES, "s3", replace(object_store.STORES["s3"], attempts=60))
    outcome: list[object] = []
    config = CONFIG.model_copy(update={"downloads": 1})
    thread = threading.Thread(target=lambda: outcome.append(make_dataset("s3://lab/set", tmp_path / "slices", config)))
    thread.start()
    shards = tmp_path / ".slices.unfinished" / "shards"
    while thread.is_alive() and not list(shards.glob("*/*.arrow")) and not list(shards.glob("*/*/*.arrow")):
        time.sleep(0.005)
    store.kill()
    assert len(list(shards.rglob("*.arrow"))) < 15, "all volumes were there before the store was killed"
    time.sleep(1)
    store.start()
    thread.join(120)
    assert outcome, "make_dataset raised an error"
    assert content(tmp_path / "slices") == local


def test_an_unavailable_store_ends_the_step_without_a_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_DELAY_S", 0.01)
    monkeypatch.setitem(object_store.STORES, "s3", replace(object_store.STORES["s3"], attempts=2))
    plan = make_plan("s3://lab/set", CONFIG)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(TaxonflowError, match=r"in \d+ attempts.*Run the step again") as caught:
        cut_shard(plan, 0, tmp_path / "shard")
    assert not isinstance(caught.value, BadSourceFileError)
    assert list(tmp_path.iterdir()) == []


def test_volumes_of_several_files_are_read_from_a_bucket(store: Any, own_phantoms: Path, tmp_path: Path) -> None:
    root = own_phantoms / "volumes"
    files = [file for species in sorted(root.iterdir()) for file in sorted(species.iterdir())[:2]]
    for number, file in enumerate(files):
        image, stem = nib.load(file), file.with_name(file.name[: -len(".nii.gz")])
        array, zoom = np.asarray(image.dataobj), float(image.header.get_zooms()[0])
        options = {"imagej": True, "resolution": (1 / zoom, 1 / zoom), "metadata": {"spacing": zoom, "unit": "mm"}}
        if number % 4 == 0:
            write_stack(stem.with_name(f"{stem.name} 1.5um"), array, **options)
        elif number % 4 == 1:
            write_pair(stem.with_name(f"{stem.name}.hdr"), array, (zoom, zoom, zoom))
        elif number % 4 == 2:
            write_mhd(stem.with_name(f"{stem.name}.mhd"), array, ElementSpacing=f"{zoom} {zoom} {zoom}")
        else:
            tifffile.imwrite(f"{stem}.tif", layers_of(array), **options)
        file.unlink()
    store.files().put(str(root), "lab/several", recursive=True)
    for source, name in ((root, "here"), ("s3://lab/several", "there")):
        info = make_dataset(source, tmp_path / name, CONFIG).info
        assert (info.refused, info.specimens()) == ((), 15)
    assert content(tmp_path / "there") == content(tmp_path / "here")


def test_downloads_never_take_more_disk_space_than_allowed(tmp_path: Path) -> None:
    scratch, most, gate = ScratchFolder(tmp_path, 100), [0], threading.Lock()

    def fill(number: int) -> None:
        with scratch.reserve(str(number), 10 + 7 * number) as folder:
            (folder / "file").write_bytes(bytes(10 + 7 * number))
            with gate:
                most[0] = max(most[0], sum(other.stat().st_size for other in tmp_path.glob("*/*") if other.exists()))
            time.sleep(0.002)

    threads = [threading.Thread(target=fill, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert 80 < most[0] <= 100
    assert list(tmp_path.iterdir()) == []


def test_another_kind_of_store_gives_the_same_bytes(
    phantoms: Path, local: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(object_store.STORES, "memory", Store("memory", dict))
    state = {"store": {}, "pseudo_dirs": [""]}
    for name, value in state.items():
        monkeypatch.setattr(fsspec.get_filesystem_class("memory"), name, value)
    files = fsspec.filesystem("memory")
    for file in sorted(phantoms.rglob("*")):
        if file.is_file():
            files.pipe_file(f"/lab/set/{file.relative_to(phantoms).as_posix()}", file.read_bytes())
    monkeypatch.setitem(retries.ACCESS_REMEDIES, "memory", "")
    make_dataset("memory://lab/set", tmp_path / "slices", CONFIG)
    assert content(tmp_path / "slices") == local


def test_the_case_of_the_manifests_name_does_not_matter_in_a_store(store: Any) -> None:
    files = store.files()
    files.pipe_file("lab/other/Manifest.CSV", b"sep=;\npath;species;specimen\nscans\\a.nii;Alba;1\n")
    files.pipe_file("lab/other/scans/a.nii", b"content is checked later")
    scans = list_scans(open_source("s3://lab/other")).scans
    assert [(scan.path, scan.species) for scan in scans] == [("scans/a.nii", "Alba")]
