"""The preprocessing graph is the same in training, evaluation and serving."""

import io
from functools import partial

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from components.shared.images.crops import decode_and_crop
from components.shared.images.decoding import encode_png


def blob(height: int = 60, width: int = 80) -> np.ndarray:
    image = np.zeros((height, width), dtype=np.uint8)
    image[20:40, 30:70] = np.random.default_rng(0).integers(100, 255, (20, 40))
    return image


def test_the_specimen_is_cropped_with_a_margin_and_padded() -> None:
    crop = decode_and_crop(encode_png(blob()), 48, 1).numpy()
    assert crop.shape == (48, 48, 1)
    assert crop.dtype == np.uint8
    rows, columns = np.flatnonzero(crop.any(axis=(1, 2))), np.flatnonzero(crop.any(axis=(0, 2)))
    assert np.ptp(columns) + 1 == pytest.approx(48 * 40 / 44, abs=2)  # two pixels of margin at each side
    assert np.ptp(rows) + 1 == pytest.approx(48 * 20 / 44, abs=2)
    assert abs(rows.mean() - 23.5) < 1.5


def test_a_black_image_stays_black_and_whole() -> None:
    crop = decode_and_crop(encode_png(np.zeros((10, 30), dtype=np.uint8)), 16, 1).numpy()
    assert crop.shape == (16, 16, 1)
    assert not crop.any()


@tf.function
def serving_graph(contents: tf.Tensor, edge: int) -> tf.Tensor:
    prepare = partial(decode_and_crop, image_size=edge, channels=1)
    return tf.map_fn(prepare, contents, fn_output_signature=tf.TensorSpec([edge, edge, 1], tf.uint8))


def test_a_crop_is_the_same_alone_in_a_pipeline_and_in_serving() -> None:
    for edge in (28, 48, 224):
        contents = [encode_png(np.full((height, height + 7), 200, np.uint8)) for height in range(20, 120, 5)]
        alone = np.stack([decode_and_crop(png, edge, 1) for png in contents])
        dataset = tf.data.Dataset.from_tensor_slices(contents).map(
            partial(decode_and_crop, image_size=edge, channels=1)
        )
        assert np.array_equal(next(iter(dataset.batch(len(contents)))), alone)
        assert np.array_equal(serving_graph(tf.constant(contents), edge), alone)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P"])
def test_a_grey_slice_is_the_same_in_every_png_mode(mode: str) -> None:
    file = io.BytesIO()
    Image.fromarray(blob()).convert(mode).save(file, "PNG")
    assert np.array_equal(decode_and_crop(file.getvalue(), 48, 1), decode_and_crop(encode_png(blob()), 48, 1))


def test_sixteen_bit_slices_are_reduced_to_their_high_byte() -> None:
    file = io.BytesIO()
    Image.fromarray(blob().astype(np.uint16) * 257).save(file, "PNG")
    assert np.array_equal(decode_and_crop(file.getvalue(), 48, 1), decode_and_crop(encode_png(blob()), 48, 1))


@pytest.mark.parametrize("junk", [b"", b"junk", b"II*\x00" + b"\0" * 60])
def test_a_file_that_is_no_image_is_an_error(junk: bytes) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode_and_crop(junk, 16, 1)
