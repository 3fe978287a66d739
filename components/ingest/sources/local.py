"""Source files in a local or mounted folder."""

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from components.ingest.sources.base import (
    SourceFile,
    check_manifest_size,
    manifest_of_names,
    outside_folder_error,
)
from components.shared.errors import BadManifestError, BadSourceFileError
from components.shared.files.system_names import is_system_folder


class LocalSource:
    """A local or mounted folder, or a manifest in one.

    Args:
        path: Path of the folder or of the manifest.
        confined: Whether files must be inside the folder; otherwise paths and links may lead anywhere.

    Raises:
        BadManifestError: The path does not exist or cannot be read.
    """

    def __init__(self, path: Path, confined: bool = True) -> None:
        try:
            is_folder = path.is_dir()
            self._manifest = _manifest_in(path) if is_folder else path if path.is_file() else None
        except OSError as error:
            raise _unreadable(path, error) from error
        if not is_folder and self._manifest is None:
            raise BadManifestError(f"{path} does not exist", "a folder of volumes or a manifest.csv", "Check the path.")
        self.address = str(self._manifest or path)
        self._confined = confined
        self.root = (self._manifest.parent if self._manifest else path).resolve()

    def manifest(self) -> bytes | None:
        """Return the content of the manifest, or None if there is none."""
        if self._manifest is None:
            return None
        try:
            check_manifest_size(self.address, self._manifest.stat().st_size)
            return self._manifest.read_bytes()
        except OSError as error:
            raise _unreadable(self._manifest, error) from error

    def paths(self) -> Iterator[str]:
        """Yield the relative paths of all files, sorted.

        Folders of the file system are listed by their own path and never entered; hidden folders are ignored. Files of
        a linked folder inside the root are listed under their real path only. A link to a folder outside the
        root is entered, once for each folder; in a confined source, only the files directly in it are listed, so that
        `find` can refuse each of them with a reason.

        Raises:
            BadManifestError: A folder cannot be listed.
        """
        for file in sorted(self._files()):
            yield file.relative_to(self.root).as_posix()

    def _files(self) -> Iterator[Path]:
        entered_folders = {self.root}
        waiting_folders = [self.root]
        while waiting_folders:
            for folder, folders, files in os.walk(waiting_folders.pop(), onerror=_raise_unreadable):
                yield from (Path(folder, name) for name in (*files, *filter(is_system_folder, folders)))
                folders[:] = [name for name in folders if not _is_unlisted_folder(name)]
                links = [link for link in (Path(folder, name) for name in folders) if self._leads_elsewhere(link)]
                for link in links:
                    if self._confined:
                        yield from _entries(link)
                    elif link.resolve() not in entered_folders:
                        entered_folders.add(link.resolve())
                        waiting_folders.append(link)

    def _leads_elsewhere(self, folder: Path) -> bool:
        return folder.is_symlink() and not folder.resolve().is_relative_to(self.root)

    def prefetch(self, paths: Sequence[str]) -> None:
        """Do nothing: local files are found quickly."""

    def files_in(self, path: str) -> list[str]:
        """Return the names of the files directly in a folder; none if the path is no folder that may be read."""
        try:
            folder = (self.root / path).resolve()
            if (self._confined and not folder.is_relative_to(self.root)) or not folder.is_dir():
                return []
            return sorted(entry.name for entry in folder.iterdir() if entry.is_file())
        except (OSError, RuntimeError, ValueError):  # `find` refuses such a path with a reason
            return []

    def find(self, path: str) -> SourceFile:
        """Return the location of a file; links are followed, in a confined source inside the folder only.

        Raises:
            BadSourceFileError: The file is missing, is not a regular file, or is outside the folder.
        """
        try:
            file = (self.root / path).resolve()
            if self._confined and not file.is_relative_to(self.root):
                raise outside_folder_error()
            status = file.stat()
        except (OSError, RuntimeError, ValueError) as error:
            is_missing = isinstance(error, FileNotFoundError | NotADirectoryError)
            reason = "the file does not exist" if is_missing else f"the file cannot be read ({_reason(error)})"
            raise BadSourceFileError(reason) from error
        if not stat.S_ISREG(status.st_mode):
            raise BadSourceFileError("not a regular file", "a volume or photograph")
        return SourceFile(file, status.st_size)

    def header_file(self, source_file: SourceFile, scratch: Path) -> AbstractContextManager[Path]:  # noqa: ARG002 no copy
        """Yield the file itself."""
        return nullcontext(source_file.file)


def _manifest_in(folder: Path) -> Path | None:
    name = manifest_of_names((file.name for file in folder.iterdir()), str(folder))
    return folder / name if name and (folder / name).is_file() else None


def _is_unlisted_folder(name: str) -> bool:
    return name.startswith(".") or is_system_folder(name)


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise _unreadable(folder, error) from error


def _raise_unreadable(error: OSError) -> None:
    raise _unreadable(error.filename, error)


def _unreadable(path: Path | str, error: OSError) -> BadManifestError:
    return BadManifestError(
        f"{str(path)[:200]} cannot be read ({_reason(error)})", remedy="Check the path and its permissions."
    )


def _reason(error: Exception) -> str:
    # Until Python 3.12, `Path.resolve` raises RuntimeError; later versions leave the error to `stat`.
    if isinstance(error, RuntimeError) or getattr(error, "errno", 0) == errno.ELOOP:
        return "a link that leads to itself"
    return (getattr(error, "strerror", None) or type(error).__name__).lower()
