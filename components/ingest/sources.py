"""Where volumes come from: a folder or a manifest on this machine, or in an object store.

An address is a path, `file://`, `s3://bucket/prefix`, `gs://bucket/prefix`, or `minio://bucket/prefix`, as Kubeflow
Pipelines writes the artifacts of its own store. Each source answers the same three questions: its table, the names of
its files, and where a named file is.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from components.shared.errors import BadManifestError, BadVolumeError

MANIFEST_FILE = "manifest.csv"
MAX_MANIFEST_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Place:
    """Where a volume is.

    Attributes:
        file: its path on this machine, or bucket and key.
        size: in bytes.
        version: what changes with its content in an object store; empty on this machine.
    """

    file: Path
    size: int
    version: str = ""


class Source(Protocol):
    """A folder of volumes, perhaps with a table of them."""

    address: str

    def table(self) -> bytes | None:
        """Returns the manifest's content, or None where the folder speaks for itself."""

    def names(self) -> Iterator[str]:
        """Yields the relative POSIX paths of all files in order."""

    def look_up(self, paths: Sequence[str]) -> None:
        """Prepares `find` for paths, where that is faster together than one by one."""

    def find(self, path: str) -> Place:
        """Finds a volume.

        Raises:
            BadVolumeError: it is missing, no file, or outside the folder.
        """

    def beginning(self, place: Place, scratch: Path) -> AbstractContextManager[Path]:
        """Yields a file of the volume's size that begins as the volume does; its header can be read from it.

        Raises:
            BadVolumeError: it cannot be read, or is not the one that was found before.
        """


def open_source(address: str | Path) -> Source:
    """Opens a source.

    Raises:
        BadManifestError: there is no such place, it cannot be reached, or its kind is not known.
    """
    from components.ingest.remote import STORES, RemoteSource

    kind = scheme(address)
    if kind in STORES:
        return RemoteSource(str(address))
    if kind not in ("", "file"):
        known = ", ".join(f"{name}://" for name in ("file", *sorted(STORES)))
        raise BadManifestError(f"{kind}:// of {address}", f"a path or {known}")
    return LocalSource(local_path(address))


def scheme(address: str | Path) -> str:
    """Returns what stands before `://`, in lower case, or an empty string for a path."""
    before, separator, _ = str(address).partition("://") if not isinstance(address, Path) else ("", "", "")
    return before.lower() if separator and before.isalnum() else ""


def absolute_address(address: str) -> str:
    """Returns an address that means the same in another working directory."""
    return str(local_path(address)) if scheme(address) in ("", "file") else address


def local_path(address: str | Path) -> Path:
    """Returns the path of a local address, absolute."""
    text = str(address)
    return Path(unquote(urlsplit(text).path) if scheme(address) == "file" else text).resolve()


class LocalSource:
    """A folder or a manifest on this machine, or mounted into it.

    Args:
        path: of either.

    Raises:
        BadManifestError: there is neither.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._table = next((file for file in (path, path / MANIFEST_FILE) if file.is_file()), None)
            is_folder = path.is_dir()
        except OSError as error:
            raise _unreadable(path, error) from error
        if not is_folder and self._table is None:
            raise BadManifestError(f"{path} does not exist", "a folder of volumes or a manifest.csv", "Check the path.")
        self.address = str(self._table or path)
        self.root = (self._table.parent if self._table else path).resolve()

    def table(self) -> bytes | None:
        """Returns the manifest's content, or None."""
        if self._table is None:
            return None
        try:
            check_table_size(self.address, self._table.stat().st_size)
            return self._table.read_bytes()
        except OSError as error:
            raise _unreadable(self._table, error) from error

    def names(self) -> Iterator[str]:
        """Yields the relative paths of all files in order.

        A linked folder inside this one is listed where it truly is. Of one that is elsewhere the files directly in it
        are named, so that `find` can say of each why it is not taken.

        Raises:
            BadManifestError: a folder cannot be listed.
        """
        for file in sorted(self._files()):
            yield file.relative_to(self.root).as_posix()

    def _files(self) -> Iterator[Path]:
        for folder, folders, files in os.walk(self.root, onerror=_stop_listing):
            yield from (Path(folder, name) for name in files)
            for linked in (Path(folder, name) for name in folders):
                if linked.is_symlink() and not linked.resolve().is_relative_to(self.root):
                    yield from linked.iterdir()

    def look_up(self, paths: Sequence[str]) -> None:
        """Does nothing: files are found quickly."""

    def find(self, path: str) -> Place:
        """Finds a volume; links are followed within the folder.

        Raises:
            BadVolumeError: it is missing, no file, or outside the folder.
        """
        try:
            file = (self.root / path).resolve()
            if not file.is_relative_to(self.root):
                raise outside()
            found = file.stat()
        except (OSError, RuntimeError, ValueError) as error:
            missing = isinstance(error, FileNotFoundError | NotADirectoryError)
            reason = "the file does not exist" if missing else f"the file cannot be read ({_short(error)})"
            raise BadVolumeError(reason) from error
        if not stat.S_ISREG(found.st_mode):
            raise BadVolumeError("not a regular file", "a volume or photograph")
        return Place(file, found.st_size)

    def beginning(self, place: Place, scratch: Path) -> AbstractContextManager[Path]:  # noqa: ARG002 nothing is copied
        """Yields the file itself."""
        return nullcontext(place.file)


def check_table_size(address: str, size: int) -> None:
    """Checks that a manifest can be read at once.

    Raises:
        BadManifestError: it has more than MAX_MANIFEST_BYTES.
    """
    if size > MAX_MANIFEST_BYTES:
        raise BadManifestError(f"{address} has {size} bytes", f"a manifest of at most {MAX_MANIFEST_BYTES}")


def outside() -> BadVolumeError:
    """Returns the error of a path that leads out of its folder."""
    return BadVolumeError("leads out of the manifest's folder", "a file below it", "Move or mount it there.")


def _stop_listing(error: OSError) -> None:
    raise _unreadable(error.filename, error)


def _unreadable(path: Path | str, error: OSError) -> BadManifestError:
    return BadManifestError(
        f"{str(path)[:200]} cannot be read ({_short(error)})", remedy="Check the path and its rights."
    )


def _short(error: Exception) -> str:
    if isinstance(error, RuntimeError):  # of `Path.resolve`
        return "a link that leads to itself"
    return (getattr(error, "strerror", None) or type(error).__name__).lower()
