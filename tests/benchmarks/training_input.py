"""Speed of the training input, compared with the published recipe, and its share of a training step."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.measurement import Measurement, fastest_seconds, wait_until_idle

EDGE, CLASSES, SLICES, BATCH = 224, 4, 512, 32
VIEWS = {"rotation": 0.5, "zoom": 0.1, "contrast": 0.2, "brightness": 0.0}
SOURCES = {"from shards": 0.0, "from memory": 1.0}
EPOCHS, ROUNDS = 3, 5
GPU_BATCH, GPU_STEPS = 128, 50


def input_rate(scratch: Path) -> Iterator[Measurement]:
    """Compare images per second at 224 px with flips, rotation, zoom and contrast with the published recipe."""
    png, shards = write_slices(scratch)
    reference = iter(published_recipe(png).repeat())
    sources = {source: iter(our_batches(shards, gigabytes)) for source, gigabytes in SOURCES.items()}
    inputs = (reference, *sources.values())
    for first in inputs:
        take(first, SLICES // BATCH)  # the first epoch's extra cost: tracing, and reading into memory
    rounds = [[seconds_of_epochs(batches) for batches in inputs] for _ in range(3)]
    theirs, *ours = (EPOCHS * SLICES / min(seconds) for seconds in zip(*rounds, strict=True))
    for source, rate in zip(sources, ours, strict=True):
        yield Measurement(f"input {source}", rate, "images/s", theirs, rate / theirs, bar=">= 5 times at 224 px")


def seconds_of_epochs(batches: Iterator[Any]) -> float:
    """Return the seconds of EPOCHS epochs, started after all inputs have filled their buffers."""
    wait_until_idle()
    return fastest_seconds(lambda: take(batches, EPOCHS * SLICES // BATCH), repeats=1)


def step_seconds(scratch: Path) -> Iterator[Measurement]:
    """Measure a training step with real input, relative to the same step on a constant batch."""
    _, shards = write_slices(scratch)
    for name, edge, steps in (("cnn_small", 64, 48), ("cnn_small", EDGE, 6)):
        for source, gigabytes in SOURCES.items():
            ours, theirs = step_on(our_batches(shards, gigabytes, edge), training_step(name, edge), steps)
            yield Measurement(f"step {name} {edge} px {source}", ours, "s", theirs, ours / theirs, "<= 1.10 on CPU")
    yield from gpu_rates(shards)


def gpu_rates(shards: Path) -> Iterator[Measurement]:
    """Measure images per second and the share of the GPU's peak for two large backbones; nothing without a GPU."""
    import keras
    import tensorflow as tf

    from components.train.backbones.registry import BACKBONES

    gpus = tf.config.list_physical_devices("GPU")
    names = [name for name in ("efficientnetv2_s", "convnext_base") if gpus and name in BACKBONES]
    if not names:
        return
    device = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "a GPU")
    peak = products_per_second()
    keras.config.set_dtype_policy("mixed_bfloat16")
    for name in names:
        step = training_step(name, EDGE, jit=True)
        ours, theirs = step_on(our_batches(shards, SOURCES["from memory"], EDGE, GPU_BATCH), step, GPU_STEPS)
        yield Measurement(f"step {name} on {device}", ours, "s", theirs, ours / theirs, "<= 1.05 on a GPU")
        rate = GPU_BATCH / ours
        share = 3 * rate * operations_of_one_image(name) / peak  # the backward pass costs about twice the forward one
        yield Measurement(f"step rate {name} on {device}", rate, "images/s")
        yield Measurement(f"step share of peak {name} on {device}", share, "of bfloat16 products")
    keras.config.set_dtype_policy("float32")


def step_on(batches: Any, step: Callable[[Any], object], steps: int) -> tuple[float, float]:
    """Return the seconds of a step with real input, and of one on a constant batch.

    Both are measured in turns, so that the machine's load affects both alike.
    """
    import tensorflow as tf

    real = iter(batches)
    constant = iter(tf.data.Dataset.from_tensors(next(real)).repeat())
    run_steps(step, real, 1)
    rounds = [[run_steps(step, source, steps) for source in (real, constant)] for _ in range(ROUNDS)]
    ours, theirs = (float(np.median(seconds)) for seconds in zip(*rounds, strict=True))
    return ours, theirs


def run_steps(step: Callable[[Any], object], source: Any, steps: int) -> float:
    """Return the mean seconds of some steps, including the wait for the last result."""
    wait_until_idle()
    start = time.perf_counter()
    for _ in range(steps):
        logs = step(source)
    np.asarray(next(iter(logs.values())))  # type: ignore[attr-defined]
    return (time.perf_counter() - start) / steps


def training_step(name: str, edge: int, jit: bool = False) -> Callable[[Any], object]:
    """Return the training step of Keras's fit for a backbone with the recipe's optimizer."""
    import keras

    from components.train.backbones.build import build_backbone
    from components.train.backbones.registry import InputSpec

    model = build_backbone(name, InputSpec(edge, 1, CLASSES))
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(1e-3), loss, metrics=["accuracy"], jit_compile=jit)
    model.make_train_function()
    step: Callable[[Any], object] = model.train_function
    return step


def products_per_second(edge: int = 8192) -> float:
    """Return the floating-point operations per second of bfloat16 matrix products: the attainable peak."""
    import tensorflow as tf

    one = tf.cast(tf.random.normal([edge, edge]), tf.bfloat16)
    chain = tf.function(lambda x: tf.reduce_sum(tf.linalg.matmul(tf.linalg.matmul(x, one), one)), jit_compile=True)
    chain(one).numpy()
    return 4 * edge**3 / fastest_seconds(lambda: chain(one).numpy(), repeats=5)


def operations_of_one_image(name: str) -> float:
    """Return the floating-point operations of a forward pass, as counted by TensorFlow's profiler."""
    import tensorflow as tf
    from tensorflow.python.profiler import model_analyzer, option_builder

    from components.train.backbones.build import build_backbone
    from components.train.backbones.registry import InputSpec

    model = build_backbone(name, InputSpec(EDGE, 1, CLASSES))
    graph = tf.function(model).get_concrete_function(tf.TensorSpec([1, EDGE, EDGE, 1])).graph
    options = option_builder.ProfileOptionBuilder(option_builder.ProfileOptionBuilder.float_operation())
    return float(model_analyzer.profile(graph, options=options.with_empty_output().build()).total_float_ops)


def our_batches(shards: Path, gigabytes: float, edge: int = EDGE, batch: int = BATCH) -> Any:
    """Return the batches of a training."""
    from components.train.backbones.registry import InputSpec
    from components.train.input_pipeline import training_batches
    from components.train.recipe import Recipe

    recipe = Recipe(batch_size=batch, cache_gigabytes=gigabytes, **VIEWS)
    return training_batches(shards, InputSpec(edge, 1, CLASSES), SLICES, recipe, seed=0)


def published_recipe(png: Path) -> Any:
    """Return the input of the published script: a folder of images, cropped one by one, then four Keras layers."""
    import keras
    import tensorflow as tf

    augmentation = keras.Sequential(
        [
            keras.layers.RandomFlip("horizontal_and_vertical"),
            keras.layers.RandomRotation(VIEWS["rotation"], fill_mode="constant"),
            keras.layers.RandomContrast(VIEWS["contrast"]),
            keras.layers.RandomZoom(VIEWS["zoom"], fill_mode="constant"),
        ]
    )
    batches = keras.utils.image_dataset_from_directory(
        png, label_mode="categorical", image_size=(EDGE, EDGE), batch_size=BATCH, seed=0, verbose=False
    )
    crops = batches.map(
        lambda images, labels: (tf.map_fn(crop_one, images), labels), num_parallel_calls=tf.data.AUTOTUNE
    )
    return crops.map(
        lambda images, labels: (augmentation(images, training=True), labels), num_parallel_calls=tf.data.AUTOTUNE
    ).prefetch(tf.data.AUTOTUNE)


def crop_one(image: Any) -> Any:
    """Crop float32 [S, S, 3] to the pixels above zero with a margin of 5 px, and pad it to its old size."""
    import tensorflow as tf

    places = tf.where(tf.reduce_any(image > 0, axis=-1))
    low = tf.maximum(tf.reduce_min(places, axis=0) - 5, 0)
    high = tf.minimum(tf.reduce_max(places, axis=0) + 6, EDGE)
    return tf.image.resize_with_pad(image[low[0] : high[0], low[1] : high[1]], EDGE, EDGE)


def take(batches: Iterator[Any], steps: int) -> None:
    """Take a number of batches."""
    for _ in range(steps):
        next(batches)


def write_slices(scratch: Path) -> tuple[Path, Path]:
    """Write the same segmented slices as PNG files by species and as shards, and return both folders."""
    from components.shared.contracts import SlicesInfo
    from components.shared.slices import Slice, SlicesWriter

    rng, classes = np.random.default_rng(0), tuple(f"species{number}" for number in range(CLASSES))
    png, shards = scratch / "png", scratch / "shards"
    shards.mkdir()
    with SlicesWriter(shards, classes) as writer:
        for number in range(SLICES):
            species, png_bytes = classes[number % CLASSES], textured_ellipse(rng)
            (png / species).mkdir(parents=True, exist_ok=True)
            (png / species / f"{number}.png").write_bytes(png_bytes)
            writer.add(Slice(str(number), species, str(number // 16), "train", "axial", 0.3, 0.0, {}, png_bytes))
        fields = {"classes": classes, "image_size": EDGE, "channels": 1, "counts": writer.counts()}
        writer.finish(SlicesInfo(**fields, seed=0, preprocessing={}, sources_hash="none"))
    return png, shards


def textured_ellipse(rng: np.random.Generator) -> bytes:
    """Return a specimen of random shape with a scanner's noise as a PNG of 224 px."""
    import cv2

    rows, columns = np.mgrid[:EDGE, :EDGE] - EDGE / 2 + rng.uniform(-20, 20, (2, 1, 1))
    inside = (rows / rng.uniform(40, 80)) ** 2 + (columns / rng.uniform(40, 80)) ** 2 < 1
    texture = cv2.GaussianBlur(rng.normal(130, 90, (EDGE, EDGE)), (5, 5), 0)
    grey = np.where(inside, np.clip(texture, 1, 255), 0).astype(np.uint8)
    return bytes(cv2.imencode(".png", grey)[1])


BENCHMARKS = {"input": input_rate, "step": step_seconds}
