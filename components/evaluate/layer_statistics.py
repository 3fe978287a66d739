"""Statistics of the feature maps of a network's last layers, for the open-set score `layer_knn`.

Earlier layers separate unknown from known inputs better than the last layer alone (Lee et al. 2018, section 2.2).
"""

import keras

LAYERS = 2
"""Number of last ReLU layers whose feature maps are described."""

MOST_CHANNELS = 256
"""Largest number of channels of such a layer, since its statistics become a part of the served model."""


def add_layer_statistics(network: keras.Model) -> keras.Model:
    """Return a network with the same weights and the statistics of its last layers as further outputs.

    Args:
        network: Network with the outputs logits [N, K] and embedding [N, D].

    Returns:
        Network with the same outputs, followed by float32 [N, 2 * C] for each of the last layers of C channels: mean
        and standard deviation over the positions. The same network if the embedding is not the mean of a feature map,
        or if its last layers are not ReLU layers of at most MOST_CHANNELS channels.
    """
    layers = _last_layers(network)
    if not layers:
        return network
    features, average = network.get_layer("features"), network.get_layer("embedding")
    taps = keras.Model(features.inputs, [*features.outputs, *(_describe(layer.output) for layer in layers)])
    slices = network.layers[network.layers.index(features) - 1].output
    feature_map, *statistics = taps([slices])
    head = keras.Model(average.input, network.outputs)
    return keras.Model(network.inputs, [*head(feature_map), *statistics])


def _last_layers(network: keras.Model) -> list[keras.Layer]:
    by_name = {layer.name: layer for layer in network.layers}
    if not isinstance(by_name.get("embedding"), keras.layers.GlobalAveragePooling2D) or "features" not in by_name:
        return []
    layers = [layer for layer in by_name["features"].layers if isinstance(layer, keras.layers.ReLU)][-LAYERS:]
    fits = all(layer.output.shape[-1] <= MOST_CHANNELS for layer in layers)
    return layers if fits and len(layers) == LAYERS else []


def _describe(feature_map: keras.KerasTensor) -> keras.KerasTensor:
    """Return mean and standard deviation of a feature map [N, H, W, C] over its positions, [N, 2 * C]."""
    moments = keras.ops.mean(feature_map, (1, 2)), keras.ops.std(feature_map, (1, 2))
    return keras.ops.concatenate(moments, axis=1)
