"""The interface of all sources, with checks that they share."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from components.shared.errors import BadManifestError, BadSourceFileError

MANIFEST_FILES = ("manifest.csv", "manifest.xlsx")
"""Names of manifests in order of precedence; upper and lower case do not matter."""
MANIFEST_SUFFIXES = (".csv", ".xlsx")
_MAX_LOCAL_NAME = 60
"""Number of characters, each of at most four bytes in a file system that allows 255."""
MAX_MANIFEST_BYTES = 64 * 2**20


@dataclass(frozen=True)
class SourceFile:
    """The location of a volume or photograph.

    Attributes:
        file: Local path, or bucket and key.
        size: Size in bytes.
        version: Identifier of the content in an object store (ETag or generation); empty for local files.
        parts: Files of a volume that consists of several, in order; `file` is the first one, or their folder.
    """

    file: Path
    size: int
    version: str = ""
    parts: tuple["SourceFile", ...] = ()


def is_folder(source_file: SourceFile) -> bool:
    """Return whether a volume is a folder, and not a file with or without others beside it."""
    return bool(source_file.parts) and source_file.parts[0].file != source_file.file


def local_name(source_file: SourceFile) -> str:
    """Return the name of the local copy of a file: the end of its name, with its suffix and its number."""
    return source_file.file.name[-_MAX_LOCAL_NAME:]


class Source(Protocol):
    """A folder of source files, with or without a manifest."""

    address: str

    def manifest(self) -> bytes | None:
        """Return the content of the manifest, or None if there is none."""

    def paths(self) -> Iterator[str]:
        """Yield the relative POSIX paths of all files, sorted; a folder in SYSTEM_FOLDERS may be listed by itself."""

    def prefetch(self, paths: Sequence[str]) -> None:
        """Prepare `find` for many paths at once, where requests in parallel are faster."""

    def files_in(self, path: str) -> list[str]:
        """Return the names of the files directly in a folder; none if the path is no folder that may be read."""

    def find(self, path: str) -> SourceFile:
        """Return the location of a file.

        Raises:
            BadSourceFileError: The file is missing, is not a regular file, or is outside the folder.
        """

    def header_file(self, source_file: SourceFile, scratch: Path) -> AbstractContextManager[Path]:
        """Yield a local file with the size and the first bytes of a source file, enough to read its header.

        Raises:
            BadSourceFileError: The source file cannot be read.
        """


def manifest_of_names(names: Iterable[str], address: str) -> str | None:
    """Return the manifest among the names of a folder's files, or None if there is none.

    Raises:
        BadManifestError: Several names differ only by upper and lower case.
    """
    all_names = sorted(names)
    for manifest_file in MANIFEST_FILES:
        manifests = [name for name in all_names if name.lower() == manifest_file]
        if len(manifests) > 1:
            raise BadManifestError(
                f"{address} contains {' and '.join(manifests)}", "one manifest", "Rename the others."
            )
        if manifests:
            return manifests[0]
    return None


def check_manifest_size(address: str, size: int) -> None:
    """Check that a manifest is small enough to be read into memory.

    Raises:
        BadManifestError: The manifest has more than MAX_MANIFEST_BYTES.
    """
    if size > MAX_MANIFEST_BYTES:
        raise BadManifestError(f"{address} has {size} bytes", f"a manifest of at most {MAX_MANIFEST_BYTES} bytes")


def outside_folder_error() -> BadSourceFileError:
    """Return the error of a path outside the source's folder."""
    return BadSourceFileError(
        "a path outside the manifest's folder", "a file inside it", "Move or mount the file there."
    )
