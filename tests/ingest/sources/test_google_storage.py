"""gs:// addresses through gcsfs, with a small server that implements the JSON API of Google Cloud Storage."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from components.ingest.sources import open_source
from components.ingest.sources.manifest import list_scans
from components.shared.errors import BadManifestError, BadSourceFileError
from tests.http_server import Request, Response, http_server

TABLE = b"path,species,specimen\nvolumes/one.nii,Alba,1\ngone.nii,Alba,2\n"
OBJECTS = {"set/manifest.csv": TABLE, "set/volumes/one.nii": b"voxels" * 5000}


def respond(request: Request) -> Response:
    """Answer as the JSON API for the bucket `lab`: list, metadata, content with ranges."""
    _, bucket, name = request.path.partition("/b/lab/o")
    name, query = unquote(name.removeprefix("/")), request.query
    if bucket and not name:
        return Response.of_json(listing(query.get("prefix", ""), query.get("delimiter", "")))
    if name not in OBJECTS:
        return Response.of_json({"error": {"code": 404, "message": "not found"}}, 404)
    if query.get("alt") == "media":
        return content(OBJECTS[name], request.headers.get("range", ""))
    return Response.of_json(metadata(name))


def content(body: bytes, byte_range: str) -> Response:
    if not byte_range:
        return Response(200, body)
    first, _, last = byte_range.removeprefix("bytes=").partition("-")
    return Response(206, body[int(first) : int(last) + 1 if last else None])


def metadata(name: str) -> dict[str, str]:
    times = dict.fromkeys(("updated", "timeCreated"), "2026-01-01T00:00:00Z")
    return {"name": name, "bucket": "lab", "size": str(len(OBJECTS[name])), "generation": "17", **times}


def listing(prefix: str, delimiter: str) -> dict[str, list[object]]:
    names = [name for name in OBJECTS if name.startswith(prefix)]
    deeper = [name for name in names if delimiter and delimiter in name[len(prefix) :]]
    prefixes = {prefix + name[len(prefix) :].split(delimiter)[0] + delimiter for name in deeper}
    return {"items": [metadata(name) for name in names if name not in deeper], "prefixes": sorted(prefixes)}


@pytest.fixture(autouse=True)
def google(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with http_server(respond) as address:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
        yield


def test_a_manifest_is_read_and_its_volumes_are_downloaded(tmp_path: Path) -> None:
    manifest = list_scans(open_source("gs://lab/set"))
    (scan,) = manifest.scans
    assert (scan.path, scan.size, scan.version) == ("volumes/one.nii", 30_000, "17")
    assert [(refusal.path, refusal.reason) for refusal in manifest.refusals] == [
        ("gone.nii", "the file does not exist")
    ]
    source = open_source("gs://lab/set")
    source.download(scan.source_file, tmp_path / "one.nii")
    assert (tmp_path / "one.nii").read_bytes() == OBJECTS["set/volumes/one.nii"]
    with source.header_file(scan.source_file, tmp_path) as header:
        assert header.stat().st_size == scan.size
    with pytest.raises(BadSourceFileError, match="changed since"):
        source.download(type(scan.source_file)(scan.file, scan.size, "16"), tmp_path / "two.nii")
    assert [file.name for file in tmp_path.iterdir()] == ["one.nii"]


def test_a_folder_is_listed() -> None:
    assert list(open_source("gs://lab/set/volumes").paths()) == ["one.nii"]


def test_a_missing_bucket_is_reported_by_name() -> None:
    with pytest.raises(BadManifestError, match="a bucket 'nowhere'"):
        list_scans(open_source("gs://nowhere/set"))
