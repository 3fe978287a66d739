"""Volumes in a folder of this machine, or mounted into it."""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from components.ingest.sources.base import MANIFEST_FILE, Place, check_table_size, outside
from components.shared.errors import BadManifestError, BadSourceFileError


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
            BadSourceFileError: it is missing, no file, or outside the folder.
        """
        try:
            file = (self.root / path).resolve()
            if not file.is_relative_to(self.root):
                raise outside()
            found = file.stat()
        except (OSError, RuntimeError, ValueError) as error:
            missing = isinstance(error, FileNotFoundError | NotADirectoryError)
            reason = "the file does not exist" if missing else f"the file cannot be read ({_short(error)})"
            raise BadSourceFileError(reason) from error
        if not stat.S_ISREG(found.st_mode):
            raise BadSourceFileError("not a regular file", "a volume or photograph")
        return Place(file, found.st_size)

    def beginning(self, place: Place, scratch: Path) -> AbstractContextManager[Path]:  # noqa: ARG002 nothing is copied
        """Yields the file itself."""
        return nullcontext(place.file)


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
