"""Every backbone of the registry at its smallest input."""

from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from components.shared.errors import BadConfigError
from components.train.backbones.build import build_backbone, normalize
from components.train.backbones.registry import BACKBONES, Backbone, InputSpec
from components.train.optimization import freeze, training_phases
from components.train.recipe import Recipe

CLASSES = 5
SLOW = {
    "efficientnetv2_s",
    "efficientnetv2_l",
    "resnet101v2",
    "nasnet_large",
    "convnext_base",
    "convnext_large",
    "efficientnet_lite1",
    "efficientnet_lite2",
}
EVERY = [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in BACKBONES]
BOTH_PHASES = Recipe(weights="imagenet", frozen_epochs=1, epochs=1)


def slices_for(backbone: Backbone, channels: int = 1) -> NDArray[np.float32]:
    shape = (2, backbone.smallest_size, backbone.smallest_size, channels)
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.float32)


def train_a_step(model: keras.Model, slices: NDArray[np.float32]) -> float:
    """Compile the model, train one eager step, which traces no thousand layers, and return the loss."""
    model.compile(keras.optimizers.SGD(0.01), keras.losses.CategoricalCrossentropy(from_logits=True), run_eagerly=True)
    return float(model.train_on_batch(slices, np.eye(CLASSES, dtype=np.float32)[[0, 1]]))


def is_changed(before: list[NDArray[np.float32]], layer: keras.Layer) -> bool:
    return any(not np.array_equal(a, b) for a, b in zip(before, layer.get_weights(), strict=True))


@pytest.mark.parametrize("name", EVERY)
def test_a_backbone_trains_in_both_phases_and_survives_saving(name: str, tmp_path: Path) -> None:
    backbone = BACKBONES[name]
    slices = slices_for(backbone)
    keras.utils.set_random_seed(1)
    model = build_backbone(name, InputSpec(backbone.smallest_size, 1, CLASSES))
    features, head = model.get_layer("features"), model.get_layer("logits")
    for phase in training_phases(BOTH_PHASES, name):
        freeze(model, phase)
        before, head_before = features.get_weights(), head.get_weights()
        assert np.isfinite(train_a_step(model, slices))
        assert is_changed(before, features) == (phase.unfreeze != 0)
        assert is_changed(head_before, head)
    logits = np.asarray(model(slices, training=False))
    assert logits.shape == (2, CLASSES)
    model.save(tmp_path / "model.keras")
    reloaded_model = keras.saving.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    assert reloaded_model.get_layer("embedding").output.shape[1] >= 64
    np.testing.assert_allclose(np.asarray(reloaded_model(slices, training=False)), logits, atol=1e-5)


def test_the_registry_holds_the_backbones_of_both_published_systems() -> None:
    fossils = {
        "convnext_base",
        "convnext_large",
        "efficientnetv2_s",
        "efficientnetv2_l",
        "nasnet_large",
        "resnet101v2",
        "mobilenet",
    }
    assert fossils | {"efficientnetb0", "cnn", "cnn_small", "dinov2_small"} <= set(BACKBONES)


@pytest.mark.parametrize(
    ("name", "size", "unfreeze"),
    [
        ("convnext_large", 384, 120),
        ("convnext_base", 224, 80),
        ("efficientnetv2_l", 384, 80),
        ("nasnet_large", 331, 60),
        ("resnet101v2", 224, 60),
        ("mobilenet", 224, None),
        ("efficientnetb0", 224, 50),
        ("dinov2_small", 224, 0),
        ("efficientnet_lite0", 224, 41),
        ("efficientnet_lite1", 240, 50),
        ("efficientnet_lite2", 260, 50),
    ],
)
def test_input_size_and_depth_are_the_published_ones(name: str, size: int, unfreeze: int | None) -> None:
    assert (BACKBONES[name].native_size, BACKBONES[name].unfreeze) == (size, unfreeze)


def test_cnn_is_the_published_network_for_fishes() -> None:
    model = build_backbone("cnn", InputSpec(32, 3, 31))
    convolutions = [layer for layer in model.get_layer("features").layers if isinstance(layer, keras.layers.Conv2D)]
    assert [(layer.filters, layer.kernel_size) for layer in convolutions] == [
        (filters, (3, 3)) for filters in (32, 32, 64, 64, 128, 128, 256, 256)
    ]
    dropouts = [layer.rate for layer in model.get_layer("features").layers if isinstance(layer, keras.layers.Dropout)]
    assert dropouts == [0.25, 0.25, 0.3, 0.3]
    head = [(type(layer).__name__, getattr(layer, "units", getattr(layer, "rate", None))) for layer in model.layers[3:]]
    assert head == [
        ("GlobalAveragePooling2D", None),
        ("Dense", 512),
        ("Dropout", 0.5),
        ("Dense", 256),
        ("Dropout", 0.4),
        ("Dense", 31),
    ]


def published_scaling(backbone: Backbone, slices: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale RGB slices in 0..255 as the authors of the weights do."""
    if backbone.family == "dinov2":
        return np.asarray(keras.applications.imagenet_utils.preprocess_input(slices, mode="torch"))
    if backbone.family == "efficientnet_lite":
        return (slices - 127) / 128
    modules = [module for module in vars(keras.applications).values() if hasattr(module, "preprocess_input")]
    published_module = next(module for module in modules if hasattr(module, backbone.network))
    return np.asarray(published_module.preprocess_input(slices.copy()))


@pytest.mark.parametrize("name", [name for name, backbone in BACKBONES.items() if backbone.has_published_weights])
def test_slices_are_scaled_as_for_the_published_weights(name: str) -> None:
    backbone = BACKBONES[name]
    for channels in (1, 3):
        slices = slices_for(backbone, channels)
        symbolic_slices = keras.Input(slices.shape[1:])
        network_input = keras.Model(symbolic_slices, normalize(backbone, symbolic_slices))(slices)
        rgb = np.repeat(slices, 3, axis=-1) if channels == 1 else slices
        np.testing.assert_allclose(network_input, published_scaling(backbone, rgb), atol=1e-5)


@pytest.mark.parametrize("name", ["cnn_small", "mobilenet"])
def test_a_backbone_uses_colour(name: str) -> None:
    slices = slices_for(BACKBONES[name], channels=3)
    model = build_backbone(name, InputSpec(slices.shape[1], 3, CLASSES))
    grey = np.repeat(slices.mean(axis=-1, keepdims=True), 3, axis=-1)
    assert not np.array_equal(model(slices, training=False), model(grey, training=False))


def test_the_second_phase_trains_only_the_last_layers() -> None:
    keras.utils.set_random_seed(0)
    model = build_backbone("mobilenet", InputSpec(32, 1, CLASSES))
    freeze(model, training_phases(Recipe(weights="imagenet", unfreeze=6), "mobilenet")[0])
    layers = model.get_layer("features").layers
    before = [layer.get_weights() for layer in layers]
    train_a_step(model, slices_for(BACKBONES["mobilenet"]))
    trained_layers = [number for number, layer in enumerate(layers) if is_changed(before[number], layer)]
    assert trained_layers
    assert min(trained_layers) >= len(layers) - 6


def test_a_too_small_input_is_rejected_with_the_smallest_size() -> None:
    with pytest.raises(BadConfigError, match="mobilenet at 16 px: expected at least 32 px"):
        build_backbone("mobilenet", InputSpec(16, 1, 3))


def test_an_unknown_backbone_is_rejected_with_the_list_of_names() -> None:
    with pytest.raises(BadConfigError, match=r"'resnet_500': expected one of .*cnn_small"):
        build_backbone("resnet_500", InputSpec(32, 1, 3))


def test_cnn_small_has_about_three_hundred_thousand_weights() -> None:
    assert 250_000 < build_backbone("cnn_small", InputSpec(64, 1, 12)).count_params() < 350_000
