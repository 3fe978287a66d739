"""Statistics of the last layers as further outputs of a network."""

import keras
import numpy as np
import pytest

from components.evaluate.layer_statistics import LAYERS, add_layer_statistics, has_concatenated_maps
from components.train.backbones.build import build_backbone
from components.train.backbones.registry import InputSpec


def network_of(backbone: str, size: int) -> keras.Model:
    model = build_backbone(backbone, InputSpec(size, 1, 3))
    return keras.Model(model.inputs, [model.output, model.get_layer("embedding").output])


@pytest.mark.parametrize(("backbone", "channels"), [("cnn_small", 128), ("resnet_small", 112)])
def test_mean_and_deviation_of_the_last_layers_are_added(backbone: str, channels: int) -> None:
    network, slices = network_of(backbone, 32), np.random.default_rng(0).uniform(0, 255, (3, 32, 32, 1))
    logits, embedding, *statistics = (np.asarray(output) for output in add_layer_statistics(network)(slices))
    np.testing.assert_array_equal(logits, network(slices)[0])
    np.testing.assert_array_equal(embedding, network(slices)[1])
    assert [values.shape for values in statistics] == [(3, 2 * channels)] * LAYERS
    if backbone == "resnet_small":  # its last layer is the feature map
        last = [values[:, :channels] for values in statistics]
        assert min(np.abs(values - embedding).max() for values in last) < 1e-5


@pytest.mark.parametrize("size", [32, 128])
def test_maps_of_an_embedding_are_described_before_they_are_reduced(size: int) -> None:
    network, slices = (
        network_of("efficientnet_lite0", size),
        np.random.default_rng(0).uniform(0, 255, (2, size, size, 1)),
    )
    logits, embedding, *statistics = (np.asarray(output) for output in add_layer_statistics(network)(slices))
    np.testing.assert_allclose(logits, network(slices)[0], atol=1e-5)
    np.testing.assert_allclose(embedding, network(slices)[1], atol=1e-5)
    assert [values.shape for values in statistics] == [(2, 160), (2, 224), (2, 384)]
    means = np.concatenate([values[:, : values.shape[1] // 2] for values in statistics], axis=1)
    np.testing.assert_allclose(means, embedding[:, : means.shape[1]], atol=1e-4)
    features = network.get_layer("features")
    block = keras.Model(features.inputs, features.get_layer("blocks.10.add").output)
    stage = np.asarray(block(network.get_layer("normalisation")(network.get_layer("rgb")([slices] * 3))))
    np.testing.assert_allclose(statistics[1][:, 112:], stage.std(axis=(1, 2)), rtol=1e-3, atol=1e-4)
    assert has_concatenated_maps(network)


def test_a_network_with_wide_last_layers_stays_as_it_is() -> None:
    network = network_of("mobilenet", 32)
    assert add_layer_statistics(network) is network
    assert not has_concatenated_maps(network)
