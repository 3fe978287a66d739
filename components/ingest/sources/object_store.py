"""Source files in an object store, accessed through fsspec with retries.

Credentials and endpoints come from the environment or the store's own chain (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, the
identity of a service account, GOOGLE_APPLICATION_CREDENTIALS, ...) and are never part of an address or a message.
"""

import hashlib
import logging
import posixpath
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import fsspec

from components.ingest.sources.base import (
    MANIFEST_FILES,
    MANIFEST_SUFFIXES,
    SourceFile,
    check_manifest_size,
    is_folder,
    local_name,
    manifest_of_names,
    outside_folder_error,
)
from components.ingest.sources.retries import access_error, download_error, is_request_error, retry
from components.shared.errors import BadManifestError, BadSourceFileError
from components.shared.object_stores import minio_options, s3_options
from components.shared.volumes.formats.stack_names import is_tiff

PARALLEL_REQUESTS = 16
HEADER_BYTES = 2**16
_VERSION_KEYS = ("ETag", "generation", "etag", "created")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Store:
    """A kind of object store.

    Attributes:
        protocol: Name of the file system in fsspec.
        options: Function that returns the options of that file system.
        opening_attempts: Attempts to open a source, where a wrong address is likelier than an outage.
        attempts: Attempts of any other request; nine attempts take about a minute. gcsfs itself tries six times.
    """

    protocol: str
    options: Callable[[], dict[str, Any]]
    opening_attempts: int = 3
    attempts: int = 9


STORES = {"s3": Store("s3", s3_options), "minio": Store("s3", minio_options), "gs": Store("gs", dict, 1, 3)}
"""Object stores by the scheme of their addresses."""


class ObjectStoreSource:
    """A folder or a manifest in an object store.

    Args:
        address: Address such as `s3://bucket/prefix`, or of a `.csv` or `.xlsx` file.

    Raises:
        BadManifestError: The address has no bucket, or contains credentials or options.
    """

    def __init__(self, address: str) -> None:
        scheme, _, path = address.partition("://")
        self.scheme, path = scheme.lower(), path.strip("/")
        self.address = f"{self.scheme}://{path}"
        if not path or "?" in path or "@" in path.partition("/")[0]:
            raise BadManifestError(
                f"an address of {scheme}://", f"{scheme}://bucket/prefix, without credentials or options"
            )
        logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # it logs tracebacks of errors that are reported here
        store = STORES[self.scheme]
        self._opening_attempts, self._attempts = store.opening_attempts, store.attempts
        self._store = fsspec.filesystem(
            store.protocol, skip_instance_cache=True, use_listings_cache=False, **store.options()
        )
        self._files: dict[str, SourceFile | str] = {}
        root = str(self._store._strip_protocol(f"{store.protocol}://{path}"))
        self._is_manifest = root.lower().endswith(MANIFEST_SUFFIXES)
        self._manifest = root if self._is_manifest else f"{root}/{MANIFEST_FILES[0]}"
        self.root = posixpath.dirname(self._manifest)

    def manifest(self) -> bytes | None:
        """Return the content of the manifest, or None if there is none.

        Raises:
            BadManifestError: The store cannot be reached, denies access, or the address is that of a missing manifest.
        """
        info = self._request_source(_info_or_none, self._store, self._manifest)
        if info is None and not self._is_manifest:
            info = self._request_source(self._info_of_other_name)
        if info is not None:
            check_manifest_size(self.address, int(info["size"]))
            return bytes(self._request_source(self._store.cat_file, self._manifest))
        if self._is_manifest:
            raise BadManifestError(f"{self.address} does not exist", "a manifest.csv", "Check the address.")
        return None

    def _info_of_other_name(self) -> Mapping[str, Any] | None:
        """Return the metadata of a manifest under another name than `manifest.csv`, or None if there is none."""
        try:
            infos = {posixpath.basename(info["name"]): info for info in self._store.ls(self.root, detail=True)}
        except FileNotFoundError:
            return None
        name = manifest_of_names((name for name, info in infos.items() if info["type"] == "file"), self.address)
        if name is None:
            return None
        self._manifest = f"{self.root}/{name}"
        return infos[name]

    def paths(self) -> Iterator[str]:
        """Yield the relative paths of all objects below the folder, sorted, and remember them for `find`.

        Raises:
            BadManifestError: The store cannot be reached, denies access, or has no such bucket.
        """
        infos: Mapping[str, Mapping[str, Any]] = self._request_source(self._store.find, self.root, detail=True)
        for name, info in sorted(infos.items()):
            if info["type"] == "file":
                path = name.removeprefix(f"{self.root}/")
                self._files[path] = _source_file(name, info)
                yield path

    def prefetch(self, paths: Sequence[str]) -> None:
        """Look up many objects in parallel."""
        unknown = sorted({path for path in paths if path not in self._files})
        with ThreadPoolExecutor(PARALLEL_REQUESTS) as threads:
            self._files.update(zip(unknown, threads.map(self._look_up, unknown), strict=True))

    def files_in(self, path: str) -> list[str]:
        """Return the names of the objects directly in a folder; none if the path is no folder inside the source's.

        Raises:
            BadSourceFileError: Access is denied.
            TaxonflowError: The store does not answer.
        """
        folder = posixpath.normpath(posixpath.join(self.root, path))
        if not folder.startswith(f"{self.root}/"):
            return []
        infos = self._request_object(self._store.find, folder, maxdepth=1, detail=True)
        files = {name: _source_file(name, info) for name, info in infos.items() if info["type"] == "file"}
        self._files.update({name.removeprefix(f"{self.root}/"): file for name, file in files.items()})
        return sorted(posixpath.basename(name) for name in files if posixpath.dirname(name) == folder)

    def find(self, path: str) -> SourceFile:
        """Return the location of an object.

        Raises:
            BadSourceFileError: The object is missing, access is denied, or it is outside the folder.
        """
        self.prefetch([path])
        file_or_reason = self._files[path]
        if isinstance(file_or_reason, str):
            raise BadSourceFileError(file_or_reason)
        return file_or_reason

    @contextmanager
    def header_file(self, source_file: SourceFile, scratch: Path) -> Iterator[Path]:
        """Yield a sparse file with the size and the first bytes of an object; TIFF files are downloaded completely.

        Of a volume of several files, the first one is complete and the others are sparse.

        Raises:
            BadSourceFileError: The object does not exist any more, or access is denied.
        """
        name = source_file.file.as_posix()
        folder = scratch / hashlib.sha256(name.encode()).hexdigest()
        folder.mkdir()
        try:
            for number, part in enumerate(source_file.parts or (source_file,)):
                if number == 0 and is_tiff(part.file.name):
                    self.download(part, folder / local_name(part))
                else:
                    self._write_sparse(part, folder / local_name(part), 0 if number else HEADER_BYTES)
            yield folder if is_folder(source_file) else folder / local_name(source_file)
        finally:
            shutil.rmtree(folder)

    def _write_sparse(self, source_file: SourceFile, target: Path, size: int) -> None:
        """Write the first bytes of an object to a file of its size."""
        end = min(source_file.size, size)
        content = (
            self._request_object(self._store.cat_file, source_file.file.as_posix(), start=0, end=end) if end else b""
        )
        with target.open("wb") as file:
            file.write(content)
            file.truncate(source_file.size)

    def download(self, source_file: SourceFile, target: Path) -> None:
        """Download an object; `target` appears complete or not at all.

        Raises:
            BadSourceFileError: The object does not exist any more, or has changed since it was listed.
            TaxonflowError: The store does not answer.
        """
        partial_file = target.with_name(f"{target.name}.part")
        try:
            self._request_object(self._download_unchanged, source_file, partial_file)
            partial_file.replace(target)
        finally:
            partial_file.unlink(missing_ok=True)

    def _download_unchanged(self, source_file: SourceFile, target: Path) -> None:
        """Download an object, and check that its size and version are those of the listing."""
        name = source_file.file.as_posix()
        self._store.get_file(name, str(target))
        if _source_file(name, self._store.info(name)) != source_file:
            raise BadSourceFileError(
                "the file changed since the run began", remedy="Do not change source files during a run."
            )
        if target.stat().st_size != source_file.size:
            raise EOFError(f"{target.stat().st_size} bytes instead of {source_file.size}")

    def _look_up(self, path: str) -> SourceFile | str:
        """Return the location of an object, or the reason why it cannot be used."""
        name = posixpath.normpath(posixpath.join(self.root, path))
        if not name.startswith(f"{self.root}/"):
            return str(outside_folder_error())
        try:
            info = retry(self._store.info, name, attempts=self._attempts)
        except FileNotFoundError:
            return "the file does not exist"
        except PermissionError:
            return "the file cannot be read (access denied)"
        except Exception as error:
            raise self._translate(error, download_error(error, name, self._attempts)) from error
        if info["type"] != "file":
            return "not a regular file: expected a volume or photograph"
        return _source_file(name, info)

    def _request_object(self, call: Callable[..., Result], *arguments: Any, **options: Any) -> Result:
        """Send a request for one object; a missing or denied object is refused, an unavailable store ends the step."""
        try:
            return retry(call, *arguments, attempts=self._attempts, **options)
        except FileNotFoundError as error:
            raise BadSourceFileError("the file does not exist any more") from error
        except PermissionError as error:
            raise BadSourceFileError("the file cannot be read (access denied)") from error
        except Exception as error:
            raise self._translate(error, download_error(error, self.address, self._attempts)) from error

    def _request_source(self, call: Callable[..., Result], *arguments: Any, **options: Any) -> Result:
        """Send a request for the source itself; any failure means that the source cannot be used."""
        try:
            return retry(call, *arguments, attempts=self._opening_attempts, **options)
        except Exception as error:
            raise self._translate(error, access_error(error, self.address, self.scheme)) from error

    @staticmethod
    def _translate(error: Exception, translation: Exception) -> Exception:
        return translation if is_request_error(error) else error


def _info_or_none(store: Any, name: str) -> Mapping[str, Any] | None:
    """Return the metadata of an object, or None if it is missing; unlike fsspec's `exists`, raise all other errors."""
    try:
        info: Mapping[str, Any] = store.info(name)
    except FileNotFoundError:
        return None
    return info if info["type"] == "file" else None


def _source_file(name: str, info: Mapping[str, Any]) -> SourceFile:
    version = next((str(info[key]) for key in _VERSION_KEYS if info.get(key)), "")
    return SourceFile(Path(name), int(info["size"]), version.strip('"'))
