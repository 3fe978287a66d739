"""Statistics of the feature maps of a network's layers, for the open-set score `layer_knn`.

Earlier layers separate unknown from known inputs better than the last layer alone (Lee et al. 2018, section 2.2). A
network whose embedding is the mean of one map is described by its last layers. One whose embedding concatenates the
means of several maps (EfficientNet-Lite) is described by these maps, since the last layers of a pretrained network
separate species that it was not trained on less well than its middle stages.
"""

import keras

LAYERS = 2
"""Number of last ReLU layers whose feature maps are described."""

MOST_CHANNELS = 256
"""Largest number of channels of a described layer, since its statistics become a part of the served model."""


def add_layer_statistics(network: keras.Model) -> keras.Model:
    """Return a network with the same weights and the statistics of some of its layers as further outputs.

    Args:
        network: Network with the outputs logits [N, K] and embedding [N, D].

    Returns:
        Network with the same outputs, followed by float32 [N, 2 * C] for each described layer of C channels: mean and
        standard deviation over the positions. The described layers are the last two if the embedding is the mean of a
        feature map, and those that it concatenates, as far as they have at most MOST_CHANNELS channels, if it
        concatenates the means of several. The same network for any other embedding, or if its last layers are not ReLU
        layers of at most MOST_CHANNELS channels.
    """
    feature_maps = _described_maps(network)
    if not feature_maps:
        return network
    features = network.get_layer("features")
    taps = keras.Model(features.inputs, [*features.outputs, *map(_describe, feature_maps)])
    position = network.layers.index(features)
    feature_map, *statistics = taps([network.layers[position - 1].output])
    head = keras.Model(network.layers[position + 1].input, network.outputs)
    return keras.Model(network.inputs, [*head(feature_map), *statistics])


def _described_maps(network: keras.Model) -> list[keras.KerasTensor]:
    """Return the feature maps that are described; none for a network without such maps."""
    by_name = {layer.name: layer for layer in network.layers}
    if has_concatenated_maps(network):
        return _concatenated_maps(by_name["features"])
    is_mean = isinstance(by_name.get("embedding"), keras.layers.GlobalAveragePooling2D)
    return _last_maps(by_name["features"]) if is_mean and "features" in by_name else []


def has_concatenated_maps(network: keras.Model) -> bool:
    """Return whether the embedding of a network concatenates the means of several feature maps."""
    by_name = {layer.name: layer for layer in network.layers}
    return "features" in by_name and any(layer.name == "maps" for layer in by_name["features"].layers)


def _last_maps(features: keras.Model) -> list[keras.KerasTensor]:
    maps = [layer.output for layer in features.layers if isinstance(layer, keras.layers.ReLU)][-LAYERS:]
    return maps if len(maps) == LAYERS and all(map(_fits, maps)) else []


def _concatenated_maps(features: keras.Model) -> list[keras.KerasTensor]:
    """Return the maps in the layer `maps` as they are before they are reduced to one size."""
    maps = [layer.input for layer in features.layers if layer.name == "maps"]
    originals = {
        id(layer.output): layer.input for layer in features.layers if isinstance(layer, keras.layers.AveragePooling2D)
    }
    return [originals.get(id(each), each) for inputs in maps for each in inputs if _fits(each)]


def _fits(feature_map: keras.KerasTensor) -> bool:
    return bool(feature_map.shape[-1] <= MOST_CHANNELS)


def _describe(feature_map: keras.KerasTensor) -> keras.KerasTensor:
    """Return mean and standard deviation of a feature map [N, H, W, C] over its positions, [N, 2 * C]."""
    moments = keras.ops.mean(feature_map, (1, 2)), keras.ops.std(feature_map, (1, 2))
    return keras.ops.concatenate(moments, axis=1)
