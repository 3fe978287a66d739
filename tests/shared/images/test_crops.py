"""The preprocessing graph is the same in training, evaluation and serving."""

import contextlib
import io
import struct
import zlib
from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from components.shared.images.crops import decode_and_crop
from components.shared.images.decoding import decode_image, encode_png


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


def png_of(values: np.ndarray, bit_depth: int, colour_type: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """Encode rows of values, [H, W * C], as a PNG of any bit depth and colour type."""
    rows = values.astype(">u2") if bit_depth == 16 else values.astype(np.uint8)
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour_type]
    width = rows.shape[1] // samples if bit_depth >= 8 else rows.shape[1] * 8 // bit_depth
    header = struct.pack(">IIBBBBB", width, len(rows), bit_depth, colour_type, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )


def unusual_pngs() -> Iterator[bytes]:
    """Yield PNG files of every bit depth and colour type, with and without transparency."""
    rng = np.random.default_rng(0)
    for bits in (8, 10, 12, 14, 16):
        for colour_type, samples in ((0, 1), (2, 3), (4, 2), (6, 4)):
            values = rng.integers(0, 1 << bits, (6, 8, samples))
            if colour_type in (4, 6):
                values[..., -1] = rng.choice([0, 30000, 65535], (6, 8))
            yield png_of(values.reshape(6, -1), 16, colour_type)
        yield png_of(np.full((6, 8), 200), 16, 0, (b"tRNS", struct.pack(">H", 200)))
    for depth in (1, 2, 4, 8):
        values = rng.integers(0, 256, (6, 8))
        palette = (b"PLTE", rng.integers(0, 256, 3 << depth).astype(np.uint8).tobytes())
        first = int(values[0, 0]) >> (8 - depth)
        yield png_of(values, depth, 0)
        yield png_of(values, depth, 0, (b"tRNS", struct.pack(">H", first)))
        yield png_of(values, depth, 3, palette)
        yield png_of(values, depth, 3, palette, (b"tRNS", bytes([0, 90])))
    for colour_type, samples in ((2, 3), (4, 2), (6, 4)):
        yield png_of(rng.integers(0, 256, (6, 8 * samples)), 8, colour_type)
    yield png_of(np.full((6, 24), 90), 8, 2, (b"tRNS", struct.pack(">3H", 90, 90, 90)))


@pytest.mark.parametrize("channels", [1, 3])
def test_the_graph_decodes_every_png_as_numpy_does(channels: int) -> None:
    for png in unusual_pngs():
        plain = encode_png(decode_image(png, channels))
        np.testing.assert_array_equal(decode_and_crop(png, 48, channels), decode_and_crop(plain, 48, channels))


@pytest.mark.parametrize("kind", ["GIF", "BMP", "WEBP", "TIFF"])
def test_the_graph_takes_png_and_jpeg_only(kind: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (9, 9), "red").save(buffer, kind)
    answer = None
    with contextlib.suppress(tf.errors.InvalidArgumentError):
        answer = decode_and_crop(buffer.getvalue(), 16, 3)
    assert answer is None


def photograph(height: int = 30, width: int = 60, edge: int = 60) -> np.ndarray:
    """Return a photograph of a dark object on a green ground in the black frame of a slice."""
    frame = np.zeros((edge, edge, 3), np.uint8)
    top, start = (edge - height) // 2, (edge - width) // 2
    frame[top : top + height, start : start + width] = (20, 180, 60)
    frame[top + 8 : top + height - 8, start + 8 : start + width - 8] = 40
    return frame


@pytest.mark.parametrize(("height", "width"), [(30, 60), (60, 24), (60, 60)])
def test_photographs_are_padded_with_the_colour_of_their_border(height: int, width: int) -> None:
    crop = decode_and_crop(encode_png(photograph(height, width)), 48, 3).numpy()
    for border in (crop[0], crop[-1], crop[:, 0], crop[:, -1]):
        np.testing.assert_array_equal(border, np.full((48, 3), (20, 180, 60)))


def test_a_photograph_is_the_same_with_and_without_its_black_frame() -> None:
    framed = photograph()
    crops = [decode_and_crop(encode_png(image), 48, 3).numpy() for image in (framed, framed[15:45])]
    np.testing.assert_array_equal(*crops)


@pytest.mark.parametrize("height", [30, 60])
def test_a_photograph_with_black_sides_is_padded_alike_in_its_frame(height: int) -> None:
    framed = photograph(height, width=20)
    crops = [
        decode_and_crop(encode_png(image), 48, 3).numpy() for image in (framed, framed[30 - height // 2 :][:height])
    ]
    assert [bool(crop[:, 0].any()) for crop in crops] == [height == 60] * 2
    assert np.abs(np.subtract(*crops, dtype=np.int64)).mean() < 15


def test_silhouettes_in_colour_and_slices_in_grey_keep_black() -> None:
    colour = np.repeat(blob()[..., None], 3, axis=2)
    for image, channels in ((colour, 3), (blob(), 1)):
        crop = decode_and_crop(encode_png(image), 48, channels).numpy()
        assert not crop[:10].any()
