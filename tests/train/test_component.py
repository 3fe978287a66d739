"""The training component: its outputs, and its exit codes for inputs that cannot be trained on."""

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
from components.train.backbones.registry import InputSpec
from components.train.component import train

Damage = Callable[[Path], dict[str, object]]


def outputs(folder: Path) -> dict[str, dsl.Artifact]:
    kinds = {"model": dsl.Model, "metrics": dsl.Metrics, "epochs": dsl.Metrics, "tensorboard": dsl.Artifact}
    pages = {name: dsl.HTML(uri=str(folder / f"{name}.html")) for name in ("curves", "views")}
    return {name: kind(uri=str(folder / name)) for name, kind in kinds.items()} | pages


def test_the_component_writes_the_model_pages_metrics_and_logs(segmented_slices: Path, tmp_path: Path) -> None:
    artifacts, slices = outputs(tmp_path), dsl.Dataset(uri=str(segmented_slices))
    recipe = {"epochs": 2.0, "batch_size": 16.0, "cutmix_alpha": 1.0, "mix_probability": 1.0}
    train.python_func(slices=slices, backbone="cnn_small", recipe=recipe, seed=0, **artifacts)
    assert 0 <= artifacts["metrics"].metadata["cnn_small accuracy"] <= 1
    assert all(name.startswith("cnn_small ") for name in artifacts["metrics"].metadata)
    assert artifacts["model"].metadata["backbone"] == "cnn_small"
    assert "<svg" in Path(artifacts["curves"].path).read_text()
    assert artifacts["epochs"].metadata.keys() == {
        f"cnn_small epoch {number} {name}" for number in ("01", "02") for name in ("val_accuracy", "val_loss")
    }
    assert any(Path(artifacts["tensorboard"].path).rglob("events.out.tfevents.*"))
    assert not (tmp_path / "model" / "tensorboard").exists()
    views = Path(artifacts["views"].path).read_text()
    assert views.count("data:image/png") == 16 + 3
    assert re.search(r"\d+% \w+, \d+% \w+", views)


def flip_a_byte_of_a_shard(slices: Path) -> dict[str, object]:
    shard = slices / shard_name("train", 0)
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 255
    shard.write_bytes(content)
    return {}


def set_a_label_outside_the_classes(slices: Path) -> dict[str, object]:
    shard = slices / shard_name("train", 0)
    records = list(tf.data.TFRecordDataset(str(shard)).as_numpy_iterator())
    example = tf.train.Example.FromString(records[3])
    example.features.feature["label"].int64_list.value[0] = 7
    with tf.io.TFRecordWriter(str(shard)) as writer:
        for record in (*records[:3], example.SerializeToString(), *records[4:]):
            writer.write(record)
    return {}


def omit_a_species(slices: Path) -> dict[str, object]:
    info = read_info(slices)
    counts = tuple(count for count in info.counts if (count.species, count.split) != ("Fallotia", "train"))
    info.model_copy(update={"counts": counts}).write(slices / INFO_FILE)
    return {}


def omit_validation(slices: Path) -> dict[str, object]:
    info = read_info(slices)
    counts = tuple(count for count in info.counts if count.split != "validation")
    info.model_copy(update={"counts": counts}).write(slices / INFO_FILE)
    return {}


def truncate_a_validation_shard(slices: Path) -> dict[str, object]:
    shard = slices / shard_name("validation", 0)
    shard.write_bytes(shard.read_bytes()[:-9])
    return {}


def remove_a_validation_slice(slices: Path) -> dict[str, object]:
    shard = str(slices / shard_name("validation", 0))
    records = list(tf.data.TFRecordDataset(shard).as_numpy_iterator())
    with tf.io.TFRecordWriter(shard) as writer:
        for record in records[:-1]:
            writer.write(record)
    return {}


def remove_the_description(slices: Path) -> dict[str, object]:
    (slices / INFO_FILE).unlink()
    return {}


def set_an_empty_batch(slices: Path) -> dict[str, object]:
    del slices
    return {"batch_size": 0}


def set_an_oversized_input(slices: Path) -> dict[str, object]:
    del slices
    return {"image_size": 10**6}


def set_weights_of_another_architecture(slices: Path) -> dict[str, object]:
    path = slices.parent / "other.weights.h5"
    build_backbone("resnet_small", InputSpec(32, 1, 3)).get_layer("features").save_weights(path)
    return {"weights": str(path)}


def set_weights_that_overflow(slices: Path) -> dict[str, object]:
    path = slices.parent / "huge.weights.h5"
    features = build_backbone("cnn_small", InputSpec(32, 1, 3)).get_layer("features")
    features.set_weights([np.full_like(weight, 3e38) for weight in features.get_weights()])
    features.save_weights(path)
    return {"weights": str(path)}


@pytest.mark.parametrize(
    ("damage", "code", "clause"),
    [
        (flip_a_byte_of_a_shard, 1, "failed: .*slices-train-00000.tfrecord is damaged"),
        (set_a_label_outside_the_classes, 1, "failed: .*label.*7.*outside the 3 classes"),
        (omit_a_species, 1, "failed: no training slices of Fallotia"),
        (omit_validation, 1, "failed: no validation slices"),
        (truncate_a_validation_shard, 1, "failed: .*slices-validation-00000.tfrecord is damaged"),
        (remove_a_validation_slice, 1, "failed: .*was expected to contain"),
        (remove_the_description, 1, "failed: .*dataset.json does not exist"),
        (set_an_empty_batch, 2, "bad_input: recipe key 'batch_size' with value 0"),
        (set_an_oversized_input, 2, "bad_input: .*image_size is from 8 to 1024 pixels"),
        (set_weights_of_another_architecture, 2, "bad_input: the weights file does not fit cnn_small"),
        (set_weights_that_overflow, 1, "failed: the loss of cnn_small is not finite"),
    ],
)
def test_bad_training_input_ends_in_one_sentence_without_a_model(
    damage: Damage,
    code: int,
    clause: str,
    segmented_slices: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    slices = Path(shutil.copytree(segmented_slices, tmp_path / "slices"))
    recipe = {"epochs": 1, "batch_size": 16, **damage(slices)}
    keras.utils.set_random_seed(0)
    exit_code, last_line = run_component(slices, recipe, 0, tmp_path, capsys)
    assert exit_code == code
    assert re.search(rf"^\[train cnn_small\] {clause}", last_line), last_line
    assert not (tmp_path / "model").exists()


def run_component(
    slices: Path, recipe: dict[str, object], seed: int, folder: Path, capsys: pytest.CaptureFixture[str]
) -> tuple[object, str]:
    """Train as the pipeline does and return the exit code and the last line of the log."""
    dataset = dsl.Dataset(uri=str(slices))
    with pytest.raises(SystemExit) as exit_info:
        train.python_func(slices=dataset, backbone="cnn_small", recipe=recipe, seed=seed, **outputs(folder))
    return exit_info.value.code, capsys.readouterr().out.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("recipe", "seed", "clause"), [({"epochs": 1}, -1, "seed -1"), ({"epoch": 1}, 0, "recipe key 'epoch'")]
)
def test_bad_parameters_end_the_component_with_exit_code_two(
    recipe: dict[str, object],
    seed: int,
    clause: str,
    segmented_slices: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    exit_code, last_line = run_component(segmented_slices, recipe, seed, tmp_path, capsys)
    assert exit_code == 2
    assert last_line.startswith(f"[train cnn_small] bad_input: {clause}")
    assert not (tmp_path / "model").exists()


def test_a_checkpoint_folder_without_permission_ends_the_task_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outside = tmp_path / "claim"
    outside.write_text("a file in place of a volume")
    artifacts, slices = outputs(tmp_path), dsl.Dataset(uri=str(tmp_path / "nothing"))
    with pytest.raises(SystemExit) as exit_info:
        train.python_func(slices=slices, backbone="cnn_small", recipe={}, seed=0, checkpoints=str(outside), **artifacts)
    assert exit_info.value.code == 2
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"[train cnn_small] bad_input: the folder for checkpoints, {outside}, cannot be written (")
