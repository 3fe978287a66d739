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


def leave_validation_out(slices: Path) -> dict[str, object]:
    info = read_info(slices)
    kept = tuple(count for count in info.counts if count.split != "validation")
    info.model_copy(update={"counts": kept}).write(slices / INFO_FILE)
    return {}


def damage_a_validation_shard(slices: Path) -> dict[str, object]:
    shard = slices / shard_name("validation", 0)
    shard.write_bytes(shard.read_bytes()[:-9])
    return {}


def lose_a_validation_slice(slices: Path) -> dict[str, object]:
    shard = str(slices / shard_name("validation", 0))
    records = list(tf.data.TFRecordDataset(shard).as_numpy_iterator())
    with tf.io.TFRecordWriter(shard) as writer:
        for record in records[:-1]:
            writer.write(record)
    return {}


def forget_the_description(slices: Path) -> dict[str, object]:
    (slices / INFO_FILE).unlink()
    return {}


def give_a_batch_of_nothing(slices: Path) -> dict[str, object]:
    del slices
    return {"batch_size": 0}


def give_an_input_larger_than_a_machine(slices: Path) -> dict[str, object]:
    del slices
    return {"image_size": 10**6}


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
        (leave_validation_out, 1, "failed: no validation slices: expected some"),
        (damage_a_validation_shard, 1, "failed: .*slices-validation-00000.tfrecord is damaged"),
        (lose_a_validation_slice, 1, "failed: .*was expected to contain"),
        (forget_the_description, 1, "failed: .*dataset.json does not exist"),
        (give_a_batch_of_nothing, 2, "bad_input: recipe key 'batch_size' with value 0"),
        (
            give_an_input_larger_than_a_machine,
            2,
            "bad_input: .*image_size is from 8 to 1024 pixels",
        ),
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
    ended, last = run_component(slices, recipe, 0, tmp_path, capsys)
    assert ended == code
    assert re.search(rf"^\[train cnn_small\] {words}", last), last
    assert not (tmp_path / "model").exists()


def run_component(
    slices: Path, recipe: dict[str, object], seed: int, folder: Path, capsys: pytest.CaptureFixture[str]
) -> tuple[object, str]:
    """Trains as the pipeline does and returns the exit code and the last line of the log."""
    with pytest.raises(SystemExit) as ended:
        train.python_func(
            slices=dsl.Dataset(uri=str(slices)),
            backbone="cnn_small",
            recipe=recipe,
            seed=seed,
            model=dsl.Model(uri=str(folder / "model")),
            metrics=dsl.Metrics(uri=str(folder / "metrics")),
            epochs=dsl.Metrics(uri=str(folder / "epochs")),
            curves=dsl.HTML(uri=str(folder / "curves.html")),
            views=dsl.HTML(uri=str(folder / "views.html")),
            tensorboard=dsl.Artifact(uri=str(folder / "tensorboard")),
        )
    return ended.value.code, capsys.readouterr().out.strip().splitlines()[-1]


def test_a_seed_that_nothing_takes_ends_in_a_sentence(
    segmented_slices: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, last = run_component(segmented_slices, {"epochs": 1}, -1, tmp_path, capsys)
    assert (code, last.partition(":")[0]) == (2, "[train cnn_small] bad_input")
    assert "seed -1: expected a whole number from 0" in last
    assert not (tmp_path / "model").exists()
