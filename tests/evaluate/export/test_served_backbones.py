"""Backbones of every family are served at their own input sizes."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.evaluate.ensemble.rules import SoftVote
from components.evaluate.ensemble.selection import Ensemble
from components.evaluate.export.saved_model import ServedGraph, export_served_model
from components.evaluate.open_set import OpenSetScore, ScaledScore
from components.evaluate.predictions import load_member
from components.evaluate.report.grad_cam import GRAD_CAM, activation_maps
from components.shared.contracts import BackboneCard
from components.shared.images.crops import decode_and_crop
from components.shared.slices import iterate_split, read_info
from components.train.backbones.build import build_backbone
from components.train.backbones.registry import InputSpec

SIZES = {"cnn_small": 48, "efficientnetb0": 64, "dinov2_small": 28}


@pytest.fixture
def random_backbones(segmented_slices: Path, tmp_path: Path) -> dict[str, Path]:
    """Return the artifact of a network of each family, with random weights."""
    info = read_info(segmented_slices)
    for name, size in SIZES.items():
        (tmp_path / name).mkdir()
        model = build_backbone(name, InputSpec(size, info.channels, len(info.classes)))
        model.save(tmp_path / name / "model.keras")
        BackboneCard(
            backbone=name,
            parameters=model.count_params(),
            image_size=size,
            channels=info.channels,
            classes=info.classes,
            recipe={},
            history=(),
            metrics={},
            data_hash=info.sources_hash,
            seconds=0,
        ).write(tmp_path / name / "model.json")
    return {name: tmp_path / name for name in SIZES}


@pytest.mark.slow
def test_backbones_of_every_family_predict_the_same_when_served(
    random_backbones: dict[str, Path], segmented_slices: Path, tmp_path: Path
) -> None:
    info = read_info(segmented_slices)
    members = {name: load_member(folder, info) for name, folder in random_backbones.items()}
    ensemble = Ensemble(SoftVote(dict.fromkeys(SIZES, 1 / 3)), temperature=1.0)
    open_set = OpenSetScore((ScaledScore("max_softmax", 0.1, 0.1),), 1.0, (), {})
    export_served_model(ServedGraph(members, ensemble, open_set, info.classes, info.channels), tmp_path / "1")
    slices = [png for _, _, png in list(iterate_split(segmented_slices, "test"))[:3]]
    answer = tf.saved_model.load(str(tmp_path / "1")).signatures["serving_default"](tf.constant(slices))
    probabilities = [softmax_of(folder, name, slices, info.channels) for name, folder in random_backbones.items()]
    np.testing.assert_allclose(answer["scores"].numpy(), np.mean(probabilities, axis=0), atol=1e-4)
    assert answer["embedding"].shape == (3, 128 + 1280 + 768)


@pytest.mark.slow
def test_backbones_of_every_family_have_activation_maps(
    random_backbones: dict[str, Path], segmented_slices: Path
) -> None:
    info = read_info(segmented_slices)
    slices = [png for _, _, png in list(iterate_split(segmented_slices, "test"))[:3]]
    for name, folder in random_backbones.items():
        crops = np.stack([decode_and_crop(png, SIZES[name], info.channels).numpy() for png in slices])
        result = activation_maps(load_member(folder, info).network, crops, np.array([0, 1, 2]))
        assert result.method == GRAD_CAM, name
        assert result.maps.shape == (3, SIZES[name], SIZES[name])
        assert result.maps.any(), name


def softmax_of(folder: Path, name: str, slices: list[bytes], channels: int) -> np.ndarray:
    """Return probabilities float32 [N, K] of the saved network alone, for slices decoded in a graph as in training."""
    crops = tf.data.Dataset.from_tensor_slices(slices).map(lambda png: decode_and_crop(png, SIZES[name], channels))
    model = keras.saving.load_model(folder / "model.keras", compile=False)
    return np.asarray(tf.nn.softmax(model.predict(crops.batch(len(slices)), verbose=0)))
