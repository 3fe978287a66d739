"""Photographs of any mode, size and orientation become slices in colour; what is no photograph is refused."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageOps

from components.shared.errors import BadImageError
from components.shared.images.decoding import FORMATS, decode_image, encode_png
from components.shared.images.photographs import read_photograph

EDGE = 32


def encoded(image: Image.Image, format_: str = "PNG", **options: object) -> bytes:
    sink = io.BytesIO()
    image.save(sink, format_, **options)
    return sink.getvalue()


def quarters(width: int = 96, height: int = 64) -> Image.Image:
    """Red, green, blue and white quarters: every turn of it looks different."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2], pixels[: height // 2, width // 2 :] = (250, 0, 0), (0, 250, 0)
    pixels[height // 2 :, : width // 2], pixels[height // 2 :, width // 2 :] = (0, 0, 250), (250, 250, 250)
    return Image.fromarray(pixels)


def near(one: np.ndarray, two: np.ndarray, by: float) -> bool:
    return bool(np.abs(one.astype(int) - two.astype(int)).mean() < by)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_turned_as_its_camera_noted(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(quarters(), "JPEG", exif=exif, quality=95)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    found, expected = read_photograph(content, EDGE), read_photograph(encoded(upright), EDGE)
    assert found.size == expected.size == upright.size
    assert near(found.content, expected.content, 6)


@pytest.mark.parametrize("format_", FORMATS)
def test_every_format_gives_the_same_photograph(format_: str) -> None:
    assert near(read_photograph(encoded(quarters(), format_), EDGE).framed, framed_quarters(), 8)


def framed_quarters() -> np.ndarray:
    return read_photograph(encoded(quarters()), EDGE).framed


@pytest.mark.parametrize(
    ("mode", "format_"),
    [("CMYK", "JPEG"), ("L", "JPEG"), ("L", "PNG"), ("1", "PNG"), ("P", "PNG"), ("RGBA", "PNG"), ("LA", "PNG")],
)
def test_every_mode_becomes_eight_bit_colour(mode: str, format_: str) -> None:
    found = read_photograph(encoded(quarters().convert(mode), format_), EDGE).framed
    expected = read_photograph(encoded(quarters().convert(mode).convert("RGB")), EDGE).framed
    assert (found.dtype, found.shape) == (np.uint8, (EDGE, EDGE, 3))
    assert near(found, expected, 8)


def test_sixteen_bits_keep_their_high_byte() -> None:
    values = np.repeat(np.arange(64, dtype=np.uint16)[None] * 1024, 64, axis=0)
    found = read_photograph(encoded(Image.fromarray(values)), 64).content
    np.testing.assert_array_equal(found[0, :, 0], values[0] >> 8)


def test_transparent_pixels_become_black_whatever_colour_hides_in_them() -> None:
    cut_out = quarters().convert("RGBA")
    cut_out.putalpha(Image.fromarray(np.repeat([[0, 255]], 64, axis=0).repeat(48, axis=1).astype(np.uint8)))
    found = read_photograph(encoded(cut_out), 96).content
    assert found[:, :48].max() == 0
    assert found[5, 80].tolist() == [0, 250, 0]


def test_the_form_is_kept_and_the_rest_of_the_square_is_black() -> None:
    photograph = read_photograph(encoded(Image.new("RGB", (300, 100), (9, 200, 90))), 60)
    assert photograph.content.shape == (20, 60, 3)
    filled = photograph.framed.any(axis=2)
    assert (filled.sum(), filled[20:40].all()) == (20 * 60, True)


def test_scaling_down_averages_over_areas() -> None:
    board = np.indices((128, 128)).sum(axis=0) % 2 * np.uint8(254)
    found = read_photograph(encoded(Image.fromarray(board.astype(np.uint8))), 16).content
    assert (found == 127).all()


def test_a_tiny_photograph_fills_the_frame_and_a_sliver_keeps_a_row() -> None:
    assert read_photograph(encoded(Image.new("RGB", (3, 2), "red")), EDGE).content.shape == (21, EDGE, 3)
    assert read_photograph(encoded(Image.new("RGB", (4000, 1), "red")), EDGE).content.shape == (1, EDGE, 3)


def test_a_photograph_in_its_frame_is_not_changed_again() -> None:
    framed = framed_quarters()
    np.testing.assert_array_equal(read_photograph(encode_png(framed), EDGE).framed, framed)
    np.testing.assert_array_equal(decode_image(encode_png(framed), 3), framed)


def test_a_large_jpeg_is_decoded_at_a_fraction_and_looks_the_same() -> None:
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 255, (6, 9, 3), dtype=np.uint8)).resize((1800, 1200), Image.Resampling.BOX)
    content = encoded(coarse, "JPEG", quality=95)
    whole = np.asarray(Image.open(io.BytesIO(content)).resize((48, 32), Image.Resampling.BOX))
    assert near(read_photograph(content, 48).content, whole, 2)
    assert read_photograph(content, 48).size == (1800, 1200)


def test_of_a_cameras_several_pictures_of_a_scene_the_first_is_taken() -> None:
    content = encoded(quarters(), "MPO", save_all=True, append_images=[Image.new("RGB", (96, 64), "black")])
    assert near(read_photograph(content, EDGE).framed, framed_quarters(), 8)


def promising(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header promises so many pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    data = b"IDAT" + zlib.compress(b"\0" * 100)
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda: b"", "an empty image"),
        (lambda: b"<!doctype html><title>404</title>" * 20, "cannot be read"),
        (lambda: encoded(quarters(), "JPEG")[:-300], "cannot be read"),
        (lambda: encoded(quarters())[:120], "cannot be read"),
        (lambda: encoded(quarters(), "TIFF"), "cannot be read"),
        (lambda: encoded(Image.new("L", (30000, 4))), "30000 x 4 pixels"),
        (lambda: promising(10000, 10000), "10000 x 10000 pixels"),
        (lambda: promising(2**31 - 1, 2**31 - 1), "pixels"),
        (lambda: encoded(quarters(), "GIF", save_all=True, append_images=[Image.new("RGB", (96, 64))]), "animated"),
        (lambda: encoded(quarters(), "WEBP", save_all=True, append_images=[Image.new("RGB", (96, 64))]), "animated"),
        (lambda: encoded(quarters(), "PNG", save_all=True, append_images=[Image.new("RGB", (96, 64))]), "animated"),
    ],
)
def test_what_is_no_usable_photograph_is_refused_with_its_reason(content: Callable[[], bytes], words: str) -> None:
    with pytest.raises(BadImageError, match=words):
        read_photograph(content(), EDGE)


def test_damaged_exif_does_not_cost_the_photograph() -> None:
    content = encoded(quarters(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff broken", quality=95)
    assert near(read_photograph(content, EDGE).framed, framed_quarters(), 8)
