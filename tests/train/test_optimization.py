"""Phases, loss and devices of a training."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.train.optimization import build_loss, dividing_devices, strategy_for, training_phases
from components.train.recipe import Recipe

TRAIN_ON_ONE_AND_TWO_DEVICES = """
import json, sys
from pathlib import Path
import keras
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from components.train.backbones.registry import InputSpec
from components.train.input_pipeline import steps_per_epoch, training_batches
from components.train.optimization import strategy_for
from components.train.recipe import Recipe
folder, slices = Path(sys.argv[1]), int(sys.argv[2])
recipe, losses = Recipe(batch_size=16), []
devices = [device.name for device in tf.config.list_logical_devices("CPU")]
for names in (devices[:1], devices):
    keras.utils.set_random_seed(1)
    with strategy_for(names).scope():
        model = keras.Sequential([keras.Input((32, 32, 1)), keras.layers.Rescaling(1 / 255),
                                  keras.layers.Conv2D(4, 3, strides=4), keras.layers.Flatten(), keras.layers.Dense(3)])
        model.compile(keras.optimizers.SGD(0.1), keras.losses.CategoricalCrossentropy(from_logits=True))
    steps = steps_per_epoch(slices, recipe)
    batches = training_batches(folder, InputSpec(32, 1, 3), slices, recipe, 4)
    history = model.fit(batches, steps_per_epoch=steps, epochs=2, verbose=0).history
    losses.append((strategy_for(names).num_replicas_in_sync, history["loss"]))
print(json.dumps(losses))
"""


@pytest.mark.parametrize(
    ("fields", "backbone", "expected_phases"),
    [
        ({"epochs": 4}, "convnext_base", [(2, 4, None)]),
        ({"weights": "imagenet", "frozen_epochs": 10, "epochs": 20}, "convnext_base", [(1, 10, 0), (2, 20, 80)]),
        ({"weights": "imagenet", "frozen_epochs": 10, "epochs": 0}, "dinov2_small", [(1, 10, 0)]),
        ({"weights": "imagenet", "epochs": 5, "unfreeze": 7}, "mobilenet", [(2, 5, 7)]),
        ({"weights": "imagenet", "epochs": 5, "unfreeze": "all"}, "convnext_base", [(2, 5, None)]),
    ],
)
def test_a_recipe_sets_the_phases_and_their_depth(
    fields: dict[str, object], backbone: str, expected_phases: list[tuple[int, int, int | None]]
) -> None:
    phases = training_phases(Recipe.parse(fields), backbone)
    assert [(phase.number, phase.epochs, phase.unfreeze) for phase in phases] == expected_phases


def test_focal_loss_is_cross_entropy_scaled_by_the_missing_probability() -> None:
    logits, truth = np.array([[2.0, 0.5, -1.0]], np.float32), np.array([[1.0, 0.0, 0.0]], np.float32)
    probability = float(np.exp(2.0) / np.exp(logits).sum())
    focal = float(build_loss(Recipe(focal_gamma=1.5, label_smoothing=0))(truth, logits))
    assert focal == pytest.approx((1 - probability) ** 1.5 * -np.log(probability), rel=1e-4)


def test_one_device_has_the_default_strategy_and_several_mirror() -> None:
    assert strategy_for([]) is strategy_for(["/GPU:0"]) is tf.distribute.get_strategy()
    assert isinstance(strategy_for(["/CPU:0", "/CPU:1"]), tf.distribute.MirroredStrategy)


@pytest.mark.parametrize(("batch", "validation", "count"), [(32, 9, 4), (33, 9, 3), (31, 9, 1), (32, 3, 2), (32, 1, 1)])
def test_devices_divide_a_batch_evenly(batch: int, validation: int, count: int) -> None:
    gpus = ["/GPU:0", "/GPU:1", "/GPU:2", "/GPU:3"]
    assert dividing_devices(gpus, batch, validation) == gpus[:count]


@pytest.mark.slow
def test_two_devices_have_the_same_losses_as_one(segmented_slices: Path) -> None:
    slices = sum(1 for _ in tf.data.TFRecordDataset([str(p) for p in segmented_slices.glob("slices-train-*.tfrecord")]))
    command = [sys.executable, "-c", TRAIN_ON_ONE_AND_TWO_DEVICES, str(segmented_slices), str(slices)]
    process = subprocess.run(command, capture_output=True, text=True, check=True)
    (one, one_losses), (two, two_losses) = json.loads(process.stdout.splitlines()[-1])
    assert (one, two) == (1, 2)
    assert two_losses == pytest.approx(one_losses, rel=1e-4)
