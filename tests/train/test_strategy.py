"""Several devices of a pod learn what one device learns."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from components.train.strategy import strategy_for

TRAIN_ON = """
import json, sys
from pathlib import Path
import keras
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from components.train.input_pipeline import steps_per_epoch, training_batches
from components.train.recipe import Recipe
from components.train.strategy import strategy_for
folder, slices = Path(sys.argv[1]), int(sys.argv[2])
recipe, losses = Recipe(batch_size=16), []
devices = [device.name for device in tf.config.list_logical_devices("CPU")]
for chosen in (devices[:1], devices):
    keras.utils.set_random_seed(1)
    with strategy_for(chosen).scope():
        model = keras.Sequential([keras.Input((32, 32, 1)), keras.layers.Rescaling(1 / 255),
                                  keras.layers.Conv2D(4, 3, strides=4), keras.layers.Flatten(), keras.layers.Dense(3)])
        model.compile(keras.optimizers.SGD(0.1), keras.losses.CategoricalCrossentropy(from_logits=True))
    steps = steps_per_epoch(slices, recipe)
    batches = training_batches(folder, 32, 1, 3, slices, recipe, 4)
    fitted = model.fit(batches, steps_per_epoch=steps, epochs=2, verbose=0)
    losses.append((strategy_for(chosen).num_replicas_in_sync, fitted.history["loss"]))
print(json.dumps(losses))
"""


def test_one_device_needs_no_strategy_and_several_mirror_their_weights() -> None:
    assert strategy_for([]) is strategy_for(["/GPU:0"]) is tf.distribute.get_strategy()
    assert isinstance(strategy_for(["/CPU:0", "/CPU:1"]), tf.distribute.MirroredStrategy)


@pytest.mark.slow
def test_two_devices_lose_what_one_device_loses(segmented_slices: Path) -> None:
    slices = sum(1 for _ in tf.data.TFRecordDataset([str(p) for p in segmented_slices.glob("slices-train-*.tfrecord")]))
    command = [sys.executable, "-c", TRAIN_ON, str(segmented_slices), str(slices)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    (one, alone), (two, together) = json.loads(ended.stdout.splitlines()[-1])
    assert (one, two) == (1, 2)
    assert together == pytest.approx(alone, rel=1e-4)
