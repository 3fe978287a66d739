"""Networks of every family are served at input sizes of their own."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.evaluate.ensemble.calibration import Ensemble
from components.evaluate.ensemble.rules import SoftVote
from components.evaluate.export.saved_model import ServedModel, export_served_model
from components.evaluate.open_set import Part, UnknownScore
from components.evaluate.predictions import load_member
from components.evaluate.report.grad_cam import GRAD_CAM, attention
from components.shared.contracts import BackboneCard
from components.shared.images.crops import decode_and_crop
from components.shared.slices import iterate_split, read_info
from components.train.backbones.build import build_backbone
from components.train.backbones.registry import InputSpec

SIZES = {"cnn_small": 48, "efficientnetb0": 64, "dinov2_small": 28}


@pytest.fixture
def untrained(segmented_slices: Path, tmp_path: Path) -> dict[str, Path]:
    """A network of each family as an artifact, with random weights."""
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
def test_networks_of_every_family_answer_the_same_when_served_together(
    untrained: dict[str, Path], segmented_slices: Path, tmp_path: Path
) -> None:
    info = read_info(segmented_slices)
    members = {name: load_member(folder, info) for name, folder in untrained.items()}
    ensemble = Ensemble(SoftVote(dict.fromkeys(SIZES, 1 / 3)), temperature=1.0)
    unknown = UnknownScore((Part("doubt", 0.1, 0.1),), 1.0, (), {})
    export_served_model(ServedModel(members, ensemble, unknown, info.classes, info.channels), tmp_path / "1")
    encoded = [png for _, _, png in list(iterate_split(segmented_slices, "test"))[:3]]
    answer = tf.saved_model.load(str(tmp_path / "1")).signatures["serving_default"](tf.constant(encoded))
    shares = [softmax_of(folder, name, encoded, info.channels) for name, folder in untrained.items()]
    np.testing.assert_allclose(answer["scores"].numpy(), np.mean(shares, axis=0), atol=1e-4)
    assert answer["embedding"].shape == (3, 128 + 1280 + 768)


@pytest.mark.slow
def test_networks_of_every_family_show_their_reasons(untrained: dict[str, Path], segmented_slices: Path) -> None:
    info = read_info(segmented_slices)
    encoded = [png for _, _, png in list(iterate_split(segmented_slices, "test"))[:3]]
    for name, folder in untrained.items():
        crops = np.stack([decode_and_crop(png, SIZES[name], info.channels).numpy() for png in encoded])
        found = attention(load_member(folder, info).network, crops, np.array([0, 1, 2]))
        assert found.method == GRAD_CAM, name
        assert found.maps.shape == (3, SIZES[name], SIZES[name])
        assert found.maps.any(), name


def softmax_of(folder: Path, name: str, encoded: list[bytes], channels: int) -> np.ndarray:
    """Shares float32 [N, K] that the saved network alone gives to slices prepared in a graph, as training does."""
    prepared = tf.data.Dataset.from_tensor_slices(encoded).map(lambda png: decode_and_crop(png, SIZES[name], channels))
    model = keras.saving.load_model(folder / "model.keras", compile=False)
    return np.asarray(tf.nn.softmax(model.predict(prepared.batch(len(encoded)), verbose=0)))
