"""gs:// addresses through gcsfs, with a small server that implements the JSON API of Google Cloud Storage."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from components.ingest.sources import open_source
from components.ingest.sources.manifest import read_manifest
from components.shared.errors import BadManifestError, BadSourceFileError

TABLE = b"path,species,specimen\nvolumes/one.nii,Alba,1\ngone.nii,Alba,2\n"
OBJECTS = {"set/manifest.csv": TABLE, "set/volumes/one.nii": b"voxels" * 5000}


class JsonApi(BaseHTTPRequestHandler):
    """API for the objects of the bucket `lab`: list, metadata, content with ranges."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(address.query).items()}
        _, separator, name = address.path.partition("/b/lab/o")
        name = unquote(name.removeprefix("/"))
        if separator and not name:
            self.answer(200, json.dumps(listing(query.get("prefix", ""), query.get("delimiter", ""))).encode())
        elif name not in OBJECTS:
            self.answer(404, b'{"error": {"code": 404, "message": "not found"}}')
        elif query.get("alt") == "media":
            self.content(OBJECTS[name])
        else:
            self.answer(200, json.dumps(metadata(name)).encode())

    def content(self, body: bytes) -> None:
        if byte_range := self.headers.get("Range"):
            first, _, last = byte_range.removeprefix("bytes=").partition("-")
            self.answer(206, body[int(first) : int(last) + 1 if last else None])
        else:
            self.answer(200, body)

    def answer(self, code: int, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Log nothing."""


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
    server = ThreadingHTTPServer(("127.0.0.1", 0), JsonApi)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.server_port}")
    yield
    server.shutdown()
    server.server_close()


def test_a_manifest_is_read_and_its_volumes_are_downloaded(tmp_path: Path) -> None:
    manifest = read_manifest("gs://lab/set")
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
        read_manifest("gs://nowhere/set")
