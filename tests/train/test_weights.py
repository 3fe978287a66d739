"""Pretrained weights are loaded from the recipe's source, or training does not start."""

import socket
from pathlib import Path

import fsspec
import keras
import numpy as np
import pytest

from components.shared.errors import BadConfigError, TrainingError
from components.shared.files import sha256_of_file
from components.train.backbones.build import build_backbone
from components.train.backbones.registry import InputSpec
from components.train.weights import load_pretrained


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the features of a cnn_small as a weights file."""
    keras.utils.set_random_seed(7)
    path = tmp_path_factory.mktemp("weights") / "cnn_small.weights.h5"
    build_backbone("cnn_small", InputSpec(32, 1, 9)).get_layer("features").save_weights(path)
    return path


def first_kernel(model: keras.Model) -> np.ndarray:
    return np.asarray(model.get_layer("features").get_weights()[0])


def test_weights_of_a_file_fit_other_classes_and_image_sizes(weights_file: Path) -> None:
    model, other = build_backbone("cnn_small", InputSpec(48, 1, 3)), build_backbone("cnn_small", InputSpec(32, 1, 9))
    other.get_layer("features").load_weights(weights_file)
    assert not np.array_equal(first_kernel(model), first_kernel(other))
    assert load_pretrained(model, str(weights_file)) == sha256_of_file(weights_file)
    assert np.array_equal(first_kernel(model), first_kernel(other))


def test_the_backbones_name_is_inserted_into_a_uri(weights_file: Path) -> None:
    model = build_backbone("cnn_small", InputSpec(32, 1, 3))
    source = f"file://{weights_file.parent}/{{backbone}}.weights.h5"
    assert load_pretrained(model, source) == sha256_of_file(weights_file)


def test_weights_are_loaded_from_any_store_of_fsspec(weights_file: Path) -> None:
    fsspec.filesystem("memory").pipe("/weights/cnn_small.weights.h5", weights_file.read_bytes())
    model = build_backbone("cnn_small", InputSpec(32, 1, 3))
    assert load_pretrained(model, "memory://weights/{backbone}.weights.h5") == sha256_of_file(weights_file)


def test_an_unreachable_store_is_reported_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {
        "ACCESS_KEY_ID": "a",
        "SECRET_ACCESS_KEY": "b",
        "ENDPOINT_URL": "http://127.0.0.1:9",
        "MAX_ATTEMPTS": "1",
    }
    for name, value in variables.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    with pytest.raises(BadConfigError, match="address and credentials"):
        load_pretrained(build_backbone("cnn_small", InputSpec(32, 1, 3)), "s3://lab/x.weights.h5")


def test_features_are_loaded_from_a_saved_backbone(tmp_path: Path) -> None:
    first, second = build_backbone("cnn_small", InputSpec(32, 1, 9)), build_backbone("cnn_small", InputSpec(32, 1, 3))
    first.save(tmp_path / "model.keras")
    load_pretrained(second, str(tmp_path / "model.keras"))
    assert np.array_equal(first_kernel(first), first_kernel(second))


@pytest.mark.parametrize("name", ["resnet_small", "mobilenet"])
def test_weights_of_another_architecture_are_rejected(name: str, weights_file: Path) -> None:
    model = build_backbone(name, InputSpec(32, 1, 3))
    with pytest.raises(BadConfigError, match=f"the weights file does not fit {name} "):
        load_pretrained(model, str(weights_file))


@pytest.mark.parametrize(
    ("source", "clause"),
    [
        ("nowhere/x.weights.h5", "cannot be read"),
        ("weights.pkl", "expected none, imagenet, packaged, or a file that ends in .weights.h5"),
        ("ftp-of-no-one://x/y.weights.h5", "cannot be read"),
        ("imagenet", "which has no published weights"),
        ("packaged", "one of efficientnet_lite0, efficientnet_lite1, efficientnet_lite2.* to none or a file, or use"),
    ],
)
def test_missing_weights_are_rejected(source: str, clause: str) -> None:
    with pytest.raises(BadConfigError, match=clause):
        load_pretrained(build_backbone("cnn_small", InputSpec(32, 1, 3)), source)


def test_a_file_that_is_not_hdf5_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "x.weights.h5").write_bytes(b"no HDF5" * 100)
    with pytest.raises(BadConfigError, match="does not fit cnn_small"):
        load_pretrained(build_backbone("cnn_small", InputSpec(32, 1, 3)), str(tmp_path / "x.weights.h5"))


def test_a_failed_download_keeps_the_weights_and_names_a_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    model = build_backbone("mobilenet", InputSpec(32, 1, 3))
    before = first_kernel(model)
    with pytest.raises(TrainingError, match=r"access to the Internet.* efficientnet_lite0 with weights: packaged"):
        load_pretrained(model, "imagenet")
    assert np.array_equal(first_kernel(model), before)


def no_network(*_: object, **__: object) -> None:
    raise socket.gaierror("Name or service not known")


def test_efficientnetb0_subtracts_mean_and_divides_by_deviation(tmp_path: Path) -> None:
    model = build_backbone("efficientnetb0", InputSpec(32, 3, 3))
    features = model.get_layer("features")
    normalisation = next(layer for layer in features.layers if isinstance(layer, keras.layers.Normalization))
    normalisation.adapt_variance.assign([0.229, 0.224, 0.225])  # as in Keras's own file
    features.save_weights(tmp_path / "b0.weights.h5")
    load_pretrained(model, str(tmp_path / "b0.weights.h5"))
    white = np.asarray(normalisation(np.ones((1, 1, 1, 3), np.float32)))[0, 0, 0]
    np.testing.assert_allclose(white, (1 - np.array([0.485, 0.456, 0.406])) / [0.229, 0.224, 0.225], rtol=1e-5)
