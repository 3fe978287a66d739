"""Volumes in an object store, through fsspec: listed, looked up and downloaded with patience.

Credentials and endpoints come from the environment or the store's own chain (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, a
service account's identity, GOOGLE_APPLICATION_CREDENTIALS, ...) and are never part of an address or a message.
"""

import hashlib
import logging
import os
import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import fsspec

from components.ingest.sources.base import MANIFEST_FILE, Place, check_table_size, outside
from components.ingest.sources.retries import explained, is_of_store, lost, patiently
from components.shared.errors import BadManifestError, BadSourceFileError

KUBEFLOW_STORE = "http://minio-service.kubeflow:9000"
LOOK_UPS = 16
BEGINNING_BYTES = 2**16
_VERSION_KEYS = ("ETag", "generation", "etag", "created")
Result = TypeVar("Result")


def _s3_options() -> dict[str, Any]:
    """Streams an object in one request; an endpoint of one's own is asked for buckets in its path."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    client: dict[str, Any] = {"connect_timeout": 10, "read_timeout": 60, "retries": {"total_max_attempts": 1}}
    if endpoint:
        client["s3"] = {"addressing_style": "path"}
    return {"endpoint_url": endpoint, "max_concurrency": 1, "config_kwargs": client}


def _minio_options() -> dict[str, Any]:
    options = _s3_options()
    options["config_kwargs"]["s3"] = {"addressing_style": "path"}
    return {**options, "endpoint_url": options["endpoint_url"] or KUBEFLOW_STORE}


@dataclass(frozen=True)
class Store:
    """A kind of object store.

    Attributes:
        protocol: fsspec's name of it.
        options: makes the options of fsspec's file system.
        first_attempts: how often a source is asked for at first, where a mistake is likelier than an outage.
        attempts: how often any other request is tried; nine times outlast about a minute. gcsfs itself tries six times.
    """

    protocol: str
    options: Callable[[], dict[str, Any]]
    first_attempts: int = 3
    attempts: int = 9


STORES = {"s3": Store("s3", _s3_options), "minio": Store("s3", _minio_options), "gs": Store("gs", dict, 1, 3)}
"""By the scheme of an address."""


class RemoteSource:
    """A folder or a manifest in an object store.

    Args:
        address: as `s3://bucket/prefix`, or of a `.csv` there.

    Raises:
        BadManifestError: the address has no bucket, or more than bucket and prefix.
    """

    def __init__(self, address: str) -> None:
        kind, _, path = address.partition("://")
        self.kind, path = kind.lower(), path.strip("/")
        self.address = f"{self.kind}://{path}"
        if not path or "?" in path or "@" in path.partition("/")[0]:
            raise BadManifestError(
                f"an address of {kind}://", f"{kind}://bucket/prefix, without credentials or options"
            )
        logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # it logs tracebacks of what becomes a sentence
        store = STORES[self.kind]
        self._first_attempts, self._attempts = store.first_attempts, store.attempts
        self._store = fsspec.filesystem(
            store.protocol, skip_instance_cache=True, use_listings_cache=False, **store.options()
        )
        self._found: dict[str, Place | str] = {}
        root = str(self._store._strip_protocol(f"{store.protocol}://{path}"))
        self._is_table = root.lower().endswith(".csv")
        self._table = root if self._is_table else f"{root}/{MANIFEST_FILE}"
        self.root = posixpath.dirname(self._table)

    def table(self) -> bytes | None:
        """Returns the manifest's content, or None where there is none.

        Raises:
            BadManifestError: the store cannot be reached or refuses, or the address names a manifest that is missing.
        """
        found = self._asked(_info_or_none, self._store, self._table)
        if found is not None:
            check_table_size(self.address, int(found["size"]))
            return bytes(self._asked(self._store.cat_file, self._table))
        if self._is_table:
            raise BadManifestError(f"{self.address} does not exist", "a manifest.csv", "Check the address.")
        return None

    def names(self) -> Iterator[str]:
        """Yields the relative paths of all objects below the folder in order; `find` knows them afterwards.

        Raises:
            BadManifestError: the store cannot be reached, refuses, or has no such bucket.
        """
        listed: Mapping[str, Mapping[str, Any]] = self._asked(self._store.find, self.root, detail=True)
        for name, found in sorted(listed.items()):
            if found["type"] == "file":
                path = name.removeprefix(f"{self.root}/")
                self._found[path] = _place(name, found)
                yield path

    def look_up(self, paths: Sequence[str]) -> None:
        """Asks for many objects at a time."""
        unknown = sorted({path for path in paths if path not in self._found})
        with ThreadPoolExecutor(LOOK_UPS) as threads:
            self._found.update(zip(unknown, threads.map(self._look_up, unknown), strict=True))

    def find(self, path: str) -> Place:
        """Finds a volume.

        Raises:
            BadSourceFileError: it is missing, denied, or outside the folder.
        """
        self.look_up([path])
        found = self._found[path]
        if isinstance(found, str):
            raise BadSourceFileError(found)
        return found

    @contextmanager
    def beginning(self, place: Place, scratch: Path) -> Iterator[Path]:
        """Yields a sparse file of the volume's size with the first bytes of the volume.

        Raises:
            BadSourceFileError: the volume is gone or denied.
        """
        name = place.file.as_posix()
        content = self._fetched(self._store.cat_file, name, start=0, end=min(place.size, BEGINNING_BYTES))
        target = scratch / hashlib.sha256(name.encode()).hexdigest()
        with target.open("wb") as file:
            file.write(content)
            file.truncate(place.size)
        try:
            yield target
        finally:
            target.unlink()

    def download(self, place: Place, target: Path) -> None:
        """Downloads a volume; `target` appears whole or not at all.

        Raises:
            BadSourceFileError: it is gone, or is not the one that was found before.
            TaxonflowError: the store does not answer any more.
        """
        part = target.with_name(f"{target.name}.part")
        try:
            self._fetched(self._download_whole, place, part)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)

    def _download_whole(self, place: Place, part: Path) -> None:
        """Downloads and compares: the size with what was found, and the object with what it was before."""
        name = place.file.as_posix()
        self._store.get_file(name, str(part))
        if _place(name, self._store.info(name)) != place:
            raise BadSourceFileError("the file changed since the run began", remedy="Leave volumes alone during a run.")
        if part.stat().st_size != place.size:
            raise EOFError(f"{part.stat().st_size} bytes instead of {place.size}")

    def _look_up(self, path: str) -> Place | str:
        """Returns the place of a volume, or why there is none."""
        name = posixpath.normpath(posixpath.join(self.root, path))
        if not name.startswith(f"{self.root}/"):
            return str(outside())
        try:
            found = patiently(self._store.info, name, attempts=self._attempts)
        except FileNotFoundError:
            return "the file does not exist"
        except PermissionError:
            return "the file cannot be read (access denied)"
        except Exception as error:
            raise self._translated(error, lost(error, name, self._attempts)) from error
        return _place(name, found) if found["type"] == "file" else "not a regular file: expected a volume or photograph"

    def _fetched(self, call: Callable[..., Result], *arguments: Any, **options: Any) -> Result:
        try:
            return patiently(call, *arguments, attempts=self._attempts, **options)
        except FileNotFoundError as error:
            raise BadSourceFileError("the file does not exist any more") from error
        except PermissionError as error:
            raise BadSourceFileError("the file cannot be read (access denied)") from error
        except Exception as error:
            raise self._translated(error, lost(error, self.address, self._attempts)) from error

    def _asked(self, call: Callable[..., Result], *arguments: Any, **options: Any) -> Result:
        """Asks about the source itself, where no answer means that there is no source."""
        try:
            return patiently(call, *arguments, attempts=self._first_attempts, **options)
        except Exception as error:
            raise self._translated(error, explained(error, self.address, self.kind)) from error

    @staticmethod
    def _translated(error: Exception, sentence: Exception) -> Exception:
        return sentence if is_of_store(error) else error


def _info_or_none(store: Any, name: str) -> Mapping[str, Any] | None:
    """Returns what is known of an object; other than the stores' own `exists` it hides no error but a missing one."""
    try:
        found: Mapping[str, Any] = store.info(name)
    except FileNotFoundError:
        return None
    return found if found["type"] == "file" else None


def _place(name: str, found: Mapping[str, Any]) -> Place:
    version = next((str(found[key]) for key in _VERSION_KEYS if found.get(key)), "")
    return Place(Path(name), int(found["size"]), version.strip('"'))
