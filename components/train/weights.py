"""Pre-trained weights: downloaded by Keras, or from a file or URI on clusters without a network. Never random ones."""

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
from components.train.backbones.build import family_of
from components.train.backbones.registry import find_backbone, find_published

NONE, IMAGENET = "none", "imagenet"
ENDINGS = (".weights.h5", ".h5", ".keras")
MAX_WEIGHTS_BYTES = 4 * 2**30
_DOWNLOAD_STALLS_AFTER_S = 60.0


def load_pretrained(model: keras.Model, source: str) -> str:
    """Puts pre-trained weights into the features of a backbone.

    Args:
        model: built by `build_backbone`, changed in place.
        source: `none`, `imagenet`, or a file or URI (file, s3://, gs://) of a `.weights.h5`, a `.h5` as Keras publishes
            it, or a `.keras` model, in which `{backbone}` stands for the backbone's name.

    Returns:
        The SHA-256 of the file, empty where there was none.

    Raises:
        BadConfigError: no such file, one that is too large, or one of another architecture.
        TrainingError: the published weights cannot be downloaded.
    """
    if source == NONE:
        return ""
    if source == IMAGENET:
        _load_published(model)
        return ""
    with _local_file(source.replace("{backbone}", model.name)) as file:
        _load_file(model, file)
        return sha256_of_file(file)


def _load_published(model: keras.Model) -> None:
    backbone = find_published(model.name)
    family = family_of(backbone)
    try:
        with _download_that_ends():
            published = family.published(backbone.network, model.input_shape[1])
    except Exception as error:  # Keras and keras-hub raise bare Exceptions, each its own way
        reason = " ".join(str(error).split())[:200]
        raise TrainingError(
            f"the published weights of {model.name} cannot be downloaded ({type(error).__name__}: {reason})",
            remedy="Give this machine a way to the Internet, or set the recipe's weights to the path or URI (file, "
            "s3://, gs://) of a file with them; none begins with random ones.",
        ) from error
    features = model.get_layer("features")
    features.set_weights(published.get_weights())
    family.finish_weights(features)


@contextmanager
def _download_that_ends() -> Iterator[None]:
    """Ends a download that a firewall swallows; Keras sets no limit."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_DOWNLOAD_STALLS_AFTER_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


@contextmanager
def _local_file(source: str) -> Iterator[Path]:
    """Yields the weights as a local file, a copy where they are elsewhere.

    Raises:
        BadConfigError: not there, of another kind, or too large.
    """
    ending = next((ending for ending in ENDINGS if source.endswith(ending)), None)
    if ending is None:
        raise BadConfigError(f"weights {source!r}", f"none, imagenet, or a file that ends in {', '.join(ENDINGS)}")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / f"copy{ending}"
        try:
            _copy(source, copy)
        except BadConfigError:
            raise
        except Exception as error:  # each store's library raises errors of its own
            reason = " ".join(str(error).split())[:200]
            raise BadConfigError(
                f"weights {source!r} cannot be read ({type(error).__name__}: {reason})",
                remedy="Mend the path, or in a store its address and credentials, or set weights: imagenet to download "
                "the published ones.",
            ) from error
        yield copy


def _copy(source: str, copy: Path) -> None:
    """Copies a file from wherever fsspec finds it.

    Raises:
        BadConfigError: it is too large, or does not say how large it is.
    """
    filesystem, path = fsspec.core.url_to_fs(source)
    size = filesystem.size(path)
    if size is None or size > MAX_WEIGHTS_BYTES:
        raise BadConfigError(f"weights {source!r} of {size or 'unknown'} bytes", f"at most {MAX_WEIGHTS_BYTES}")
    with filesystem.open(path, "rb") as there, copy.open("wb") as here:
        shutil.copyfileobj(there, here, 2**20)


def _load_file(model: keras.Model, file: Path) -> None:
    """Loads the features from a file of the features alone or from a whole backbone.

    Raises:
        BadConfigError: the file holds another architecture, or none.
    """
    features = model.get_layer("features")
    _forget(features)
    try:
        if file.name.endswith(".keras"):
            features.set_weights(_features_of(file).get_weights())
        else:
            _load_quietly(features, file)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise _does_not_fit(model.name, " ".join(str(error).split())[:200]) from error
    if any(np.isnan(keras.ops.convert_to_numpy(weight)).any() for weight in features.weights):
        raise _does_not_fit(model.name, "it lacks some of the weights, or holds some that are not numbers")
    family_of(find_backbone(model.name)).finish_weights(features)


def _forget(features: keras.Model) -> None:
    """Makes every weight NaN, because Keras only warns where a file holds nothing for a layer."""
    for weight in features.weights:
        if keras.backend.is_float_dtype(weight.dtype):
            weight.assign(keras.ops.full(weight.shape, float("nan"), weight.dtype))


def _load_quietly(features: keras.Model, file: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        features.load_weights(file)


def _does_not_fit(backbone: str, reason: str) -> BadConfigError:
    return BadConfigError(
        f"the weights file does not fit {backbone} ({reason})",
        f"the features of {backbone}",
        "Give the file of this architecture, made without its top.",
    )


def _features_of(file: Path) -> keras.Model:
    """Returns the features of a saved backbone, or the saved network itself if it has none."""
    saved = keras.saving.load_model(file, compile=False, safe_mode=True)
    named = [layer for layer in saved.layers if layer.name == "features"]
    return named[0] if named else saved
