"""Division of a network at a tensor into a frozen stem and a tail that a phase trains.

A cut is a tensor through which every path from the input to the output passes, a dominator of the output in the graph,
so that the tail can be computed from this tensor alone.
"""

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import keras

EMBEDDING, ACTIVATION = "embedding", "activation"
_SMALLER = 3  # an earlier cut is chosen only if its tensor is smaller by this factor


@dataclass(frozen=True)
class Tail:
    """The part of a network that a phase trains.

    Attributes:
        feature: Name of the tensor at the cut.
        model: Model from this tensor to the logits.
    """

    feature: str
    model: keras.Model


@dataclass(frozen=True)
class Division:
    """A network divided for its phases; all models share the layers of the network.

    Attributes:
        stem: Model from slices to a dictionary of the tensors at the cuts, by name.
        tails: Part that each phase trains, by the phase's number; a phase that cannot be cut has none.
    """

    stem: keras.Model
    tails: dict[int, Tail]


def divide(network: keras.Model, unfreeze: int | None) -> Division:
    """Divide a backbone before its head for phase 1, and before the layers that phase 2 trains.

    Args:
        network: Backbone built by `build_backbone`.
        unfreeze: Number of last layers of the features that phase 2 trains; None for all.

    Returns:
        The division. Phase 2 has no tail if no cut precedes its first layer, for example if it trains all layers.
    """
    features, embedding = network.get_layer("features"), network.get_layer("embedding").output
    head = Tail(EMBEDDING, keras.Model(embedding, network.output))
    embedding_stem = keras.Model(network.input, {EMBEDDING: embedding})
    trained_layers = [layer for layer in _last_layers(features, unfreeze) if layer.weights]
    if not trained_layers:
        return Division(embedding_stem, {1: head, 2: head})
    cut = find_cut(features, trained_layers)
    if cut is None:
        return Division(embedding_stem, {1: head})
    call = next(node for node in _nodes(network.output) if node.operation is features)
    slices, output = call.input_tensors[0], call.outputs[0]
    activation, feature_map = keras.Model(features.inputs, [cut, features.output])([slices])
    stem = {EMBEDDING: keras.Model(output, embedding)(feature_map), ACTIVATION: activation}
    start = keras.Input(cut.shape[1:], dtype=cut.dtype)
    logits = keras.Model(output, network.output)(keras.Model(cut, features.output)(start))
    tail = Tail(ACTIVATION, keras.Model(start, logits))
    return Division(keras.Model(network.input, stem), {1: head, 2: tail})


def _last_layers(features: keras.Model, unfreeze: int | None) -> list[keras.layers.Layer]:
    first = 0 if unfreeze is None else max(0, len(features.layers) - unfreeze)
    return features.layers[first:]


def find_cut(features: keras.Model, trained_layers: Collection[keras.layers.Layer]) -> Any:
    """Return the tensor at which a functional model is cut before the first of the layers that are trained.

    It is the last cut before that layer, or an earlier one if its tensor is at most a third as large.

    Args:
        features: Functional model; another one has no cut.
        trained_layers: Layers with weights that are trained.

    Returns:
        A symbolic tensor of the model, or None.
    """
    if not hasattr(features, "operations"):  # a model that is not functional
        return None
    identities, cuts = {id(layer) for layer in trained_layers}, []
    for node, live in _live_tensors(features.output):
        if id(node.operation) in identities:
            break
        if len(live) == 1 and not node.is_input:
            cuts.append(live[0])
    return _smallest_late(cuts)


def _smallest_late(cuts: list[Any]) -> Any:
    choice = None
    for cut in reversed(cuts):
        if choice is None or _SMALLER * math.prod(cut.shape[1:]) <= math.prod(choice.shape[1:]):
            choice = cut
    return choice


def _live_tensors(output: Any) -> Iterator[tuple[Any, list[Any]]]:
    """Yield each node in topological order, with the tensors computed up to it that later nodes or the output need."""
    nodes = _nodes(output)
    last_use = {id(output): len(nodes)}
    for number, node in enumerate(nodes):
        for tensor in node.input_tensors:
            last_use[id(tensor)] = max(number, last_use.get(id(tensor), 0))
    live: list[Any] = []
    for number, node in enumerate(nodes):
        live = [tensor for tensor in [*live, *node.outputs] if last_use.get(id(tensor), -1) > number]
        yield node, live


def _nodes(output: Any) -> list[Any]:
    """Return the nodes of the graph of a tensor in topological order, inputs first."""
    order: dict[int, Any] = {}
    stack = [(_node(output), False)]
    while stack:
        node, has_inputs = stack.pop()
        if has_inputs:
            order.setdefault(id(node), node)
        elif id(node) not in order:
            stack.append((node, True))
            stack.extend((_node(tensor), False) for tensor in node.input_tensors)
    return list(order.values())


def _node(tensor: Any) -> Any:
    """Return the node of Keras's graph that computes a symbolic tensor."""
    operation, number, _ = tensor._keras_history
    return operation._inbound_nodes[number]
