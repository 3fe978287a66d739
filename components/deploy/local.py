"""The local versioned model repository: `<models>/<name>/<version>/`, as TensorFlow Serving polls it.

A version appears by one rename of a complete copy on the same file system, so that no reader ever sees a part.
Publishers of one model take turns by a lock that the kernel drops with the process; so whatever unfinished copy a
publisher finds was left by a killed one and can go. TensorFlow Serving ignores names that are not numbers.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import SplitResult, unquote

from components.deploy.verified_model import Publication
from components.shared.errors import BadConfigError, DeployError
from components.shared.model_repository import version_numbers
from components.shared.signing import VERIFICATION_KEY, key_path, verify_folder

_UNFINISHED = ".unfinished-"
_LOCK = ".publishing"


def publish(publication: Publication, target: SplitResult) -> tuple[int, str]:
    """Publishes a model as the next version; the versions before it stay.

    Args:
        publication: the checked model.
        target: `file:///folder/of/models`.

    Returns:
        The version's number and its folder as a `file://` address.

    Raises:
        BadConfigError: the target is not an absolute folder of this machine.
        ContractError: the copy is not what was signed; nothing new is visible then.
        DeployError: the file system refused (full, read-only); nothing new is visible then.
    """
    versions = _folder(target) / publication.name
    try:
        with _sole_publisher(versions):
            _discard_unfinished(versions)
            folder = _put(publication.folder, versions)
    except OSError as error:
        raise DeployError(f"{versions} could not be written ({error})", remedy="Free space or give rights.") from error
    return int(folder.name), folder.as_uri()


def _folder(target: SplitResult) -> Path:
    folder = Path(unquote(target.path))
    if target.netloc or not target.path or not folder.is_absolute():
        raise BadConfigError(f"target {target.geturl()!r}", "an absolute folder as file:///folder/of/models")
    return folder


@contextmanager
def _sole_publisher(versions: Path) -> Iterator[None]:
    """Holds the model's publishing lock for the block."""
    versions.mkdir(parents=True, exist_ok=True)
    with (versions / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _discard_unfinished(versions: Path) -> None:
    for left in versions.glob(f"{_UNFINISHED}*"):
        shutil.rmtree(left)


def _put(source: Path, versions: Path) -> Path:
    """Copies a version folder beside the others and gives it the next number."""
    version = max(version_numbers(versions), default=0) + 1
    unfinished = versions / f"{_UNFINISHED}{version}"
    try:
        shutil.copytree(source, unfinished)
        verify_folder(unfinished, key_path(VERIFICATION_KEY))
        _flush(unfinished)
        folder = unfinished.rename(versions / str(version))
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    _flush_one(versions)
    return folder


def _flush(folder: Path) -> None:
    """Forces a folder's files to the disk before the rename makes them visible."""
    for path in (*folder.rglob("*"), folder):
        _flush_one(path)


def _flush_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
