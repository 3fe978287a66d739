"""Atomic writing of files and folders, copies and aliases of folders, and digests of files."""

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_CHUNK_BYTES = 2**20
_WILDCARDS = re.compile(r"[*?\[\]\\]")


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file atomically: readers see the old content or the new content, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with suppress(PermissionError, NotImplementedError):  # SMB and WSL refuse it, and set permissions by the mount
            Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary sibling that replaces `folder` when the block ends without an exception.

    The remains of a killed run are removed first.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.parent / f".{folder.name}.unfinished"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    temporary.replace(folder)


@contextmanager
def folder_without_wildcards(folder: Path) -> Iterator[Path]:
    """Yield a path of a folder that TensorFlow does not read as a pattern: `folder`, a link to it, or a copy.

    TensorFlow looks for the variables of a SavedModel with a pattern of their path, so a bracket or a backslash in the
    path of a complete model makes its loader find nothing.
    """
    if not _WILDCARDS.search(str(folder)):
        yield folder
        return
    with tempfile.TemporaryDirectory() as scratch:
        alias = Path(scratch) / "folder"
        try:
            alias.symlink_to(folder.resolve())
        except OSError:  # a file system without symbolic links
            copy_folder(folder, alias)
        yield alias


def copy_folder(source: Path, target: Path) -> None:
    """Copy the files of a folder without their permissions and times, which not every file system can store."""
    target.mkdir()
    for path in sorted(source.iterdir()):
        if path.is_dir():
            copy_folder(path, target / path.name)
        else:
            shutil.copyfile(path, target / path.name)


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits, reading 1 MiB at a time."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
