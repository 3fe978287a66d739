"""Statistics of the last layers as further outputs of a network."""

import keras
import numpy as np
import pytest

from components.evaluate.layer_statistics import LAYERS, add_layer_statistics
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


def test_a_network_with_wide_last_layers_stays_as_it_is() -> None:
    network = network_of("mobilenet", 32)
    assert add_layer_statistics(network) is network
