"""A divided network computes the same logits, and its tail contains the layers that are trained."""

import keras
import numpy as np
import pytest

from components.train.backbones.build import build_backbone
from components.train.backbones.registry import InputSpec
from components.train.probe.cut import divide

SPEC = InputSpec(32, 1, 3)


@pytest.mark.parametrize(
    ("backbone", "unfreeze", "shape"),
    [
        ("cnn_small", 8, (4, 4, 64)),
        ("resnet_small", 9, (4, 4, 64)),  # inside a residual block, which has no cut
        ("mobilenet", 10, (1, 1, 512)),
        pytest.param("efficientnetb0", 50, (1, 1, 192), marks=pytest.mark.slow),
        pytest.param("efficientnet_lite0", 20, (2, 2, 80), marks=pytest.mark.slow),
        pytest.param("convnext_base", 80, (2, 2, 512), marks=pytest.mark.slow),
        pytest.param("dinov2_small", 2, (9, 384), marks=pytest.mark.slow),
    ],
)
def test_stem_and_tail_compute_the_logits_of_the_network(backbone: str, unfreeze: int, shape: tuple[int, ...]) -> None:
    size = 28 if backbone == "dinov2_small" else 32
    network = build_backbone(backbone, InputSpec(size, 1, 3))
    division = divide(network, unfreeze)
    slices = np.random.default_rng(0).uniform(0, 255, (2, size, size, 1)).astype(np.float32)
    features = division.stem(slices, training=False)
    logits = network(slices, training=False).numpy()
    assert division.tails[2].model.input_shape[1:] == shape
    for tail in division.tails.values():
        assert np.allclose(tail.model(features[tail.feature], training=False), logits, atol=1e-5)
    trained = {id(weight) for layer in network.get_layer("features").layers[-unfreeze:] for weight in layer.weights}
    assert trained <= {id(weight) for weight in division.tails[2].model.weights}


def test_a_phase_without_trained_features_uses_the_embedding() -> None:
    division = divide(build_backbone("cnn_small", SPEC), 0)
    assert division.tails[2] is division.tails[1]
    assert division.tails[1].model.input_shape == (None, 128)


def test_a_phase_that_trains_all_layers_is_not_cut() -> None:
    assert set(divide(build_backbone("cnn_small", SPEC), None).tails) == {1}


def test_the_smallest_of_the_late_cuts_is_chosen() -> None:
    slices = keras.Input((8,))
    narrow = keras.layers.Dense(4)(slices)
    wide = keras.layers.Dense(64)(narrow)
    features = keras.Model(slices, keras.layers.Dense(5)(wide), name="features")
    embedding = keras.layers.Identity(name="embedding")(features(slices))
    network = keras.Model(slices, keras.layers.Dense(3)(embedding))
    assert divide(network, 1).tails[2].model.input_shape == (None, 4)
