"""How a training step is shared out over the accelerators of a pod."""

from collections.abc import Sequence

import tensorflow as tf


def strategy_for(devices: Sequence[str]) -> tf.distribute.Strategy:
    """Returns what shares each batch out over several devices, or TensorFlow's default for one or none.

    Args:
        devices: names of logical devices, such as those of `gpus`.
    """
    return tf.distribute.MirroredStrategy(list(devices)) if len(devices) > 1 else tf.distribute.get_strategy()


def gpus() -> list[str]:
    """Returns the names of the GPUs that this process sees."""
    return [device.name for device in tf.config.list_logical_devices("GPU")]
