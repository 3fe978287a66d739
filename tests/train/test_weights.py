"""Pre-trained weights come from where the recipe says, or training does not begin."""

import socket
from pathlib import Path

import fsspec
import keras
import numpy as np
import pytest

from components.shared.errors import BadConfigError, TrainingError
from components.shared.files import sha256_of_file
from components.train.backbones.build import build_backbone
from components.train.weights import load_pretrained


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The features of a cnn_small as a weights file."""
    keras.utils.set_random_seed(7)
    path = tmp_path_factory.mktemp("weights") / "cnn_small.weights.h5"
    build_backbone("cnn_small", 32, 1, 9).get_layer("features").save_weights(path)
    return path


def first_kernel(model: keras.Model) -> np.ndarray:
    return np.asarray(model.get_layer("features").get_weights()[0])


def test_weights_of_a_file_are_loaded_whatever_the_number_of_species_and_the_size(published: Path) -> None:
    model, other = build_backbone("cnn_small", 48, 1, 3), build_backbone("cnn_small", 32, 1, 9)
    other.get_layer("features").load_weights(published)
    assert not np.array_equal(first_kernel(model), first_kernel(other))
    assert load_pretrained(model, str(published)) == sha256_of_file(published)
    assert np.array_equal(first_kernel(model), first_kernel(other))


def test_a_uri_with_the_backbones_name_in_it_is_followed(published: Path) -> None:
    model = build_backbone("cnn_small", 32, 1, 3)
    source = f"file://{published.parent}/{{backbone}}.weights.h5"
    assert load_pretrained(model, source) == sha256_of_file(published)


def test_weights_come_from_whatever_store_fsspec_knows(published: Path) -> None:
    fsspec.filesystem("memory").pipe("/weights/cnn_small.weights.h5", published.read_bytes())
    model = build_backbone("cnn_small", 32, 1, 3)
    assert load_pretrained(model, "memory://weights/{backbone}.weights.h5") == sha256_of_file(published)


def test_a_store_that_does_not_answer_ends_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "ENDPOINT_URL": "http://127.0.0.1:9", "MAX_ATTEMPTS": "1"}
    for name, value in given.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    with pytest.raises(BadConfigError, match=r"cannot be read .*address and credentials"):
        load_pretrained(build_backbone("cnn_small", 32, 1, 3), "s3://lab/x.weights.h5")


def test_a_trained_backbone_gives_its_features_to_another(tmp_path: Path) -> None:
    first, second = build_backbone("cnn_small", 32, 1, 9), build_backbone("cnn_small", 32, 1, 3)
    first.save(tmp_path / "model.keras")
    load_pretrained(second, str(tmp_path / "model.keras"))
    assert np.array_equal(first_kernel(first), first_kernel(second))


@pytest.mark.parametrize("name", ["resnet_small", "mobilenet"])
def test_weights_of_another_architecture_end_in_a_sentence(name: str, published: Path) -> None:
    model = build_backbone(name, 32, 1, 3)
    with pytest.raises(BadConfigError, match=f"the weights file does not fit {name} .*expected the features of {name}"):
        load_pretrained(model, str(published))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("nowhere/x.weights.h5", "cannot be read .*Mend the path"),
        ("weights.pkl", "expected none, imagenet, or a file that ends in .weights.h5"),
        ("ftp-of-nobody://x/y.weights.h5", "cannot be read"),
        ("imagenet", "which nobody has published"),
    ],
)
def test_weights_that_are_not_there_end_in_a_sentence(source: str, words: str) -> None:
    with pytest.raises(BadConfigError, match=words):
        load_pretrained(build_backbone("cnn_small", 32, 1, 3), source)


def test_a_file_that_is_no_weights_file_ends_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.weights.h5").write_bytes(b"no HDF5" * 100)
    with pytest.raises(BadConfigError, match="does not fit cnn_small"):
        load_pretrained(build_backbone("cnn_small", 32, 1, 3), str(tmp_path / "x.weights.h5"))


def test_without_a_network_the_error_names_both_remedies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    model = build_backbone("mobilenet", 32, 1, 3)
    before = first_kernel(model)
    with pytest.raises(TrainingError, match=r"cannot be downloaded .*way to the Internet, or .*path or URI"):
        load_pretrained(model, "imagenet")
    assert np.array_equal(first_kernel(model), before)


def no_network(*_: object, **__: object) -> None:
    raise socket.gaierror("Name or service not known")


def test_efficientnetb0_subtracts_the_mean_and_divides_by_the_deviation(tmp_path: Path) -> None:
    model = build_backbone("efficientnetb0", 32, 3, 3)
    features = model.get_layer("features")
    normalisation = next(layer for layer in features.layers if isinstance(layer, keras.layers.Normalization))
    normalisation.adapt_variance.assign([0.229, 0.224, 0.225])  # as in Keras's own file
    features.save_weights(tmp_path / "b0.weights.h5")
    load_pretrained(model, str(tmp_path / "b0.weights.h5"))
    white = np.asarray(normalisation(np.ones((1, 1, 1, 3), np.float32)))[0, 0, 0]
    np.testing.assert_allclose(white, (1 - np.array([0.485, 0.456, 0.406])) / [0.229, 0.224, 0.225], rtol=1e-5)
