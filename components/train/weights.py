"""Pretrained weights: published ones that Keras downloads or a package contains, or those of a file or URI.

If they cannot be loaded, an error is raised; random weights are never used instead.
"""

import shutil
import socket
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec
import keras
import numpy as np

from components.shared.errors import BadConfigError, TrainingError
from components.shared.files import sha256_of_file
from components.shared.object_stores import s3_options
from components.train.backbones.build import family_of
from components.train.backbones.registry import find_backbone, find_packaged, find_published, packaged_backbones
from components.train.packaged_weights import read_packaged
from components.train.recipe import WEIGHTS_SUFFIXES

NONE, IMAGENET, PACKAGED = "none", "imagenet", "packaged"
MAX_WEIGHTS_BYTES = 4 * 2**30
_DOWNLOAD_TIMEOUT_S = 60.0
_MAX_REASON = 200


def load_pretrained(model: keras.Model, source: str) -> str:
    """Load pretrained weights into the features of a backbone.

    Args:
        model: Model built by `build_backbone`, changed in place.
        source: `none`, `imagenet`, `packaged`, or a file or URI (file, s3://, gs://) of a `.weights.h5`, a `.h5` as
            Keras publishes it, or a `.keras` model, in which `{backbone}` stands for the backbone's name.

    Returns:
        The SHA-256 of the file; empty for `none` and `imagenet`.

    Raises:
        BadConfigError: The file does not exist, is too large, or contains another architecture; or the backbone has
            no published or packaged weights, or its package is not installed.
        TrainingError: The published weights cannot be downloaded.
    """
    if source == NONE:
        return ""
    if source == PACKAGED:
        family = family_of(find_backbone(model.name))
        family.set_published(model.get_layer("features"), read_packaged(model.name))
        return find_packaged(model.name).sha256
    if source == IMAGENET:
        _load_published(model)
        return ""
    with _local_copy(source.replace("{backbone}", model.name)) as file:
        _load_file(model, file)
        return sha256_of_file(file)


def _load_published(model: keras.Model) -> None:
    backbone = find_published(model.name)
    family = family_of(backbone)
    try:
        with _download_timeout():
            published_network = family.published(backbone.network, model.input_shape[1])
    except Exception as error:  # Keras and keras-hub raise bare Exceptions, each in its own way
        raise TrainingError(
            f"the published weights of {model.name} cannot be downloaded ({_describe(error)})",
            remedy="Give this machine access to the Internet, set the recipe's weights to the path or URI (file, "
            f"s3://, gs://) of a file with them, or train {packaged_backbones()[0]} with weights: packaged, which "
            "needs no download. Random weights are never used instead.",
        ) from error
    features = model.get_layer("features")
    features.set_weights(published_network.get_weights())
    family.finish_weights(features)


@contextmanager
def _download_timeout() -> Iterator[None]:
    """Set a timeout for sockets opened inside the block, for firewalls that drop packets; Keras sets none."""
    previous = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_DOWNLOAD_TIMEOUT_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(previous)


@contextmanager
def _local_copy(source: str) -> Iterator[Path]:
    """Yield a temporary local copy of a weights file.

    Raises:
        BadConfigError: The file does not exist, has another suffix, or is too large.
    """
    suffix = next((suffix for suffix in WEIGHTS_SUFFIXES if source.endswith(suffix)), None)
    if suffix is None:
        raise BadConfigError(
            f"weights {source!r}",
            f"none, imagenet, packaged, or a file that ends in {', '.join(WEIGHTS_SUFFIXES)}",
            "Correct the recipe's weights.",
        )
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / f"copy{suffix}"
        try:
            _copy(source, copy)
        except BadConfigError:
            raise
        except Exception as error:  # each store's library raises errors of its own
            raise BadConfigError(
                f"weights {source!r} cannot be read ({_describe(error)})",
                remedy="Correct the path or, for an object store, its address and credentials; or set weights: "
                "imagenet to download the published weights, or packaged for those of an installed package.",
            ) from error
        yield copy


def _copy(source: str, copy: Path) -> None:
    """Copy a file from any store that fsspec supports.

    Raises:
        BadConfigError: The file is too large, or the store does not report its size.
    """
    options = s3_options() if source.startswith("s3://") else {}
    filesystem, path = fsspec.core.url_to_fs(source, **options)
    size = filesystem.size(path)
    if size is None or size > MAX_WEIGHTS_BYTES:
        raise BadConfigError(f"weights {source!r} of {size or 'unknown'} bytes", f"at most {MAX_WEIGHTS_BYTES} bytes")
    with filesystem.open(path, "rb") as remote, copy.open("wb") as local:
        shutil.copyfileobj(remote, local, 2**20)


def _load_file(model: keras.Model, file: Path) -> None:
    """Load the features from a file of the features only, or of a whole backbone.

    Raises:
        BadConfigError: The file contains another architecture, or no weights.
    """
    features = model.get_layer("features")
    _fill_with_nan(features)
    try:
        if file.name.endswith(".keras"):
            features.set_weights(_load_features(file).get_weights())
        else:
            _load_without_warnings(features, file)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise _mismatch(model.name, " ".join(str(error).split())[:_MAX_REASON]) from error
    if any(np.isnan(keras.ops.convert_to_numpy(weight)).any() for weight in features.weights):
        raise _mismatch(model.name, "some weights are missing, or are NaN")
    family_of(find_backbone(model.name)).finish_weights(features)


def _fill_with_nan(features: keras.Model) -> None:
    """Set every weight to NaN, to find weights that are missing in a file: Keras only warns of them."""
    for weight in features.weights:
        if keras.backend.is_float_dtype(weight.dtype):
            weight.assign(keras.ops.full(weight.shape, float("nan"), weight.dtype))


def _load_without_warnings(features: keras.Model, file: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        features.load_weights(file)


def _describe(error: Exception) -> str:
    """Return the class of an error and its message on one line, truncated to 200 characters."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:_MAX_REASON]}"


def _mismatch(backbone: str, reason: str) -> BadConfigError:
    return BadConfigError(
        f"the weights file does not fit {backbone} ({reason})",
        f"the features of {backbone}",
        "Set the recipe's weights to a file of this architecture, saved without its top.",
    )


def _load_features(file: Path) -> keras.Model:
    """Return the features of a saved backbone, or the saved network itself if it has none."""
    network = keras.saving.load_model(file, compile=False, safe_mode=True)
    features = [layer for layer in network.layers if layer.name == "features"]
    return features[0] if features else network
