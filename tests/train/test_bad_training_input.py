"""What cannot be trained on ends in one sentence and an exit code, and leaves no model."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from kfp import dsl

from components.shared.slices import INFO_FILE, read_info, shard_name
from components.train.backbones.build import build_backbone
from components.train.component import train

Damage = Callable[[Path], dict[str, object]]


def damage_a_shard(slices: Path) -> dict[str, object]:
    shard = slices / shard_name("train", 0)
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 255
    shard.write_bytes(content)
    return {}


def put_a_label_outside_the_classes(slices: Path) -> dict[str, object]:
    shard = slices / shard_name("train", 0)
    records = list(tf.data.TFRecordDataset(str(shard)).as_numpy_iterator())
    example = tf.train.Example.FromString(records[3])
    example.features.feature["label"].int64_list.value[0] = 7
    with tf.io.TFRecordWriter(str(shard)) as writer:
        for record in (*records[:3], example.SerializeToString(), *records[4:]):
            writer.write(record)
    return {}


def leave_a_species_out(slices: Path) -> dict[str, object]:
    info = read_info(slices)
    kept = tuple(count for count in info.counts if (count.species, count.split) != ("Fallotia", "train"))
    info.model_copy(update={"counts": kept}).write(slices / INFO_FILE)
    return {}


def give_weights_of_another_architecture(slices: Path) -> dict[str, object]:
    path = slices.parent / "other.weights.h5"
    build_backbone("resnet_small", 32, 1, 3).get_layer("features").save_weights(path)
    return {"weights": str(path)}


def give_weights_that_overflow(slices: Path) -> dict[str, object]:
    path = slices.parent / "huge.weights.h5"
    features = build_backbone("cnn_small", 32, 1, 3).get_layer("features")
    features.set_weights([np.full_like(weight, 3e38) for weight in features.get_weights()])
    features.save_weights(path)
    return {"weights": str(path)}


@pytest.mark.parametrize(
    ("damage", "code", "words"),
    [
        (damage_a_shard, 1, "failed: .*slices-train-00000.tfrecord is damaged"),
        (put_a_label_outside_the_classes, 1, "failed: .*label.*7.*outside the 3 classes"),
        (leave_a_species_out, 1, "failed: no training slices of Fallotia"),
        (give_weights_of_another_architecture, 2, "bad_input: the weights file does not fit cnn_small"),
        (give_weights_that_overflow, 1, "failed: the loss of cnn_small is not a number any more"),
    ],
)
def test_what_cannot_be_trained_on_ends_in_a_sentence_and_leaves_no_model(
    damage: Damage,
    code: int,
    words: str,
    segmented_slices: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    slices = Path(shutil.copytree(segmented_slices, tmp_path / "slices"))
    recipe = {"epochs": 1, "batch_size": 16, **damage(slices)}
    keras.utils.set_random_seed(0)
    with pytest.raises(SystemExit) as ended:
        train.python_func(
            slices=dsl.Dataset(uri=str(slices)),
            backbone="cnn_small",
            recipe=recipe,
            seed=0,
            model=dsl.Model(uri=str(tmp_path / "model")),
            metrics=dsl.Metrics(uri=str(tmp_path / "metrics")),
            epochs=dsl.Metrics(uri=str(tmp_path / "epochs")),
            curves=dsl.HTML(uri=str(tmp_path / "curves.html")),
            views=dsl.HTML(uri=str(tmp_path / "views.html")),
            tensorboard=dsl.Artifact(uri=str(tmp_path / "tensorboard")),
        )
    assert ended.value.code == code
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert re.search(rf"^\[train cnn_small\] {words}", last), last
    assert not (tmp_path / "model").exists()
