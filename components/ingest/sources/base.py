"""What every source of volumes answers: its table, the names of its files, and where a named file is."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from components.shared.errors import BadManifestError, BadSourceFileError

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
            BadSourceFileError: it is missing, no file, or outside the folder.
        """

    def beginning(self, place: Place, scratch: Path) -> AbstractContextManager[Path]:
        """Yields a file of the volume's size that begins as the volume does; its header can be read from it.

        Raises:
            BadSourceFileError: it cannot be read, or is not the one that was found before.
        """


def check_table_size(address: str, size: int) -> None:
    """Checks that a manifest can be read at once.

    Raises:
        BadManifestError: it has more than MAX_MANIFEST_BYTES.
    """
    if size > MAX_MANIFEST_BYTES:
        raise BadManifestError(f"{address} has {size} bytes", f"a manifest of at most {MAX_MANIFEST_BYTES}")


def outside() -> BadSourceFileError:
    """Returns the error of a path that leads out of its folder."""
    return BadSourceFileError("leads out of the manifest's folder", "a file below it", "Move or mount it there.")
