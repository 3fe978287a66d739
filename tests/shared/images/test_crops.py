"""The graph before every backbone, and the descriptors of slices."""

import io
from functools import partial

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from components.shared.images.crops import decode_and_crop
from components.shared.images.decoding import encode_png
from components.shared.images.descriptors import describe, descriptor_names


def blob(height: int = 60, width: int = 80) -> np.ndarray:
    image = np.zeros((height, width), dtype=np.uint8)
    image[20:40, 30:70] = np.random.default_rng(0).integers(100, 255, (20, 40))
    return image


def test_the_specimen_is_cropped_with_its_margin_and_padded_to_a_square() -> None:
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
def served(encoded: tf.Tensor, edge: int) -> tf.Tensor:
    prepare = partial(decode_and_crop, image_size=edge, channels=1)
    return tf.map_fn(prepare, encoded, fn_output_signature=tf.TensorSpec([edge, edge, 1], tf.uint8))


def test_a_slice_is_the_same_alone_in_a_pipeline_and_in_the_served_graph() -> None:
    for edge in (28, 48, 224):
        encoded = [encode_png(np.full((height, height + 7), 200, np.uint8)) for height in range(20, 120, 5)]
        alone = np.stack([decode_and_crop(png, edge, 1) for png in encoded])
        piped = tf.data.Dataset.from_tensor_slices(encoded).map(partial(decode_and_crop, image_size=edge, channels=1))
        assert np.array_equal(next(iter(piped.batch(len(encoded)))), alone)
        assert np.array_equal(served(tf.constant(encoded), edge), alone)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P"])
def test_every_png_of_a_grey_slice_is_the_same_slice(mode: str) -> None:
    file = io.BytesIO()
    Image.fromarray(blob()).convert(mode).save(file, "PNG")
    assert np.array_equal(decode_and_crop(file.getvalue(), 48, 1), decode_and_crop(encode_png(blob()), 48, 1))


def test_sixteen_bit_slices_keep_their_high_byte() -> None:
    file = io.BytesIO()
    Image.fromarray(blob().astype(np.uint16) * 257).save(file, "PNG")
    assert np.array_equal(decode_and_crop(file.getvalue(), 48, 1), decode_and_crop(encode_png(blob()), 48, 1))


@pytest.mark.parametrize("junk", [b"", b"junk", b"II*\x00" + b"\0" * 60])
def test_what_is_no_image_is_an_error(junk: bytes) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode_and_crop(junk, 16, 1)


def test_descriptors_are_finite_and_named_for_any_slice() -> None:
    for image in (blob(), np.zeros((5, 5), np.uint8), np.full((1, 1), 9, np.uint8), np.full((9, 9, 3), 7, np.uint8)):
        described = describe(image)
        assert tuple(described) == descriptor_names(1 if image.ndim == 2 else 3)
        assert np.isfinite(list(described.values())).all()


def test_descriptors_say_what_they_are_named_after() -> None:
    smooth = np.zeros((64, 64), dtype=np.uint8)
    smooth[8:56, 16:48] = 128
    noisy = np.where(smooth > 0, smooth + np.random.default_rng(0).normal(0, 9, smooth.shape), 0).astype(np.uint8)
    plain, rough = describe(smooth), describe(noisy)
    assert plain["foreground_ratio"] == 48 * 32 / 64**2
    assert plain["box_aspect"] == pytest.approx(32 / 48)
    assert plain["intensity_mean"] == 128
    assert plain["noise_level"] == 0
    assert rough["noise_level"] == pytest.approx(9, rel=0.15)
    assert rough["entropy"] > plain["entropy"]
