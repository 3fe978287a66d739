"""Local model repository as a target: `<models>/<name>/<version>/`, polled by TensorFlow Serving.

A version is copied completely and then renamed into place on the same file system, so a reader never sees a partial
one. A publisher holds the lock of its model, which the kernel releases when the process ends; an unfinished copy that
exists while the lock is held was left by a killed publisher and is removed. TensorFlow Serving ignores names that are
not numbers.
"""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import SplitResult, unquote

from components.deploy.verified_model import VerifiedModel
from components.shared.errors import BadConfigError, DeployError
from components.shared.files import copy_folder
from components.shared.files.locks import exclusive_lock
from components.shared.model_repository import version_numbers
from components.shared.signing import VERIFICATION_KEY, key_path, verify_folder

_UNFINISHED_PREFIX = ".unfinished-"
_LOCK_FILE = ".publishing"
_POLL_S = 0.1


def publish(model: VerifiedModel, target: SplitResult) -> tuple[int, str]:
    """Publish a model as the next version and keep the earlier ones.

    Args:
        model: Model to publish.
        target: Target of the form `file:///folder/of/models`.

    Returns:
        Number of the version and its folder as a `file://` URI.

    Raises:
        BadConfigError: The target is not an absolute folder of this machine.
        ContractError: The copy does not match its digests or signature; no new version is visible.
        DeployError: The file system is full or read-only; no new version is visible.
    """
    versions = _models_folder(target) / model.name
    try:
        with _publishing_lock(versions):
            _remove_unfinished(versions)
            folder = _copy_version(model.folder, versions)
    except OSError as error:
        raise DeployError(
            f"{versions} cannot be written ({error})", remedy="Free disk space or grant write permission."
        ) from error
    return int(folder.name), folder.as_uri()


def _models_folder(target: SplitResult) -> Path:
    folder = Path(unquote(target.path))
    if target.netloc or not target.path or not folder.is_absolute():
        raise BadConfigError(f"target {target.geturl()!r}", "an absolute folder as file:///folder/of/models")
    return folder


@contextmanager
def _publishing_lock(versions: Path) -> Iterator[None]:
    """Hold the lock of a model's publishers."""
    versions.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(exclusive_lock(versions / _LOCK_FILE))
                break
            except BlockingIOError:
                time.sleep(_POLL_S)
        yield


def _remove_unfinished(versions: Path) -> None:
    for folder in versions.glob(f"{_UNFINISHED_PREFIX}*"):
        shutil.rmtree(folder)


def _copy_version(source: Path, versions: Path) -> Path:
    """Copy a version folder to the next free number and return the copy."""
    version = max(version_numbers(versions), default=0) + 1  # incomplete versions count as well
    copy = versions / f"{_UNFINISHED_PREFIX}{version}"
    try:
        copy_folder(source, copy)
        verify_folder(copy, key_path(VERIFICATION_KEY))
        _flush_folder(copy)
        folder = copy.rename(versions / str(version))
    except BaseException:
        shutil.rmtree(copy, ignore_errors=True)
        raise
    _flush(versions)
    return folder


def _flush_folder(folder: Path) -> None:
    """Write the files of a folder to disk before the rename makes them visible."""
    for path in (*folder.rglob("*"), folder):
        _flush(path)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
