"""Photographs of any mode, size and orientation become slices in colour; other files are rejected."""

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


def encode(image: Image.Image, format_: str = "PNG", **options: object) -> bytes:
    sink = io.BytesIO()
    image.save(sink, format_, **options)
    return sink.getvalue()


def quarters(width: int = 96, height: int = 64) -> Image.Image:
    """Return red, green, blue and white quarters: every rotation of it looks different."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2], pixels[: height // 2, width // 2 :] = (250, 0, 0), (0, 250, 0)
    pixels[height // 2 :, : width // 2], pixels[height // 2 :, width // 2 :] = (0, 0, 250), (250, 250, 250)
    return Image.fromarray(pixels)


def near(one: np.ndarray, two: np.ndarray, by: float) -> bool:
    return bool(np.abs(one.astype(int) - two.astype(int)).mean() < by)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_rotated_as_its_exif_states(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encode(quarters(), "JPEG", exif=exif, quality=95)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    photograph, reference = read_photograph(content, EDGE), read_photograph(encode(upright), EDGE)
    assert photograph.size == reference.size == upright.size
    assert near(photograph.content, reference.content, 6)


@pytest.mark.parametrize("format_", FORMATS)
def test_every_format_gives_the_same_photograph(format_: str) -> None:
    assert near(read_photograph(encode(quarters(), format_), EDGE).framed, framed_quarters(), 8)


def framed_quarters() -> np.ndarray:
    return read_photograph(encode(quarters()), EDGE).framed


@pytest.mark.parametrize(
    ("mode", "format_"),
    [("CMYK", "JPEG"), ("L", "JPEG"), ("L", "PNG"), ("1", "PNG"), ("P", "PNG"), ("RGBA", "PNG"), ("LA", "PNG")],
)
def test_every_mode_becomes_eight_bit_colour(mode: str, format_: str) -> None:
    pixels = read_photograph(encode(quarters().convert(mode), format_), EDGE).framed
    reference = read_photograph(encode(quarters().convert(mode).convert("RGB")), EDGE).framed
    assert (pixels.dtype, pixels.shape) == (np.uint8, (EDGE, EDGE, 3))
    assert near(pixels, reference, 8)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_used_bits_of_sixteen_show_the_eight_bit_photograph(bits: int) -> None:
    values = np.repeat(np.arange(64, dtype=np.uint16)[None] * 4 + 3, 64, axis=0)
    pixels = read_photograph(encode(Image.fromarray(values << (bits - 8))), 64).content
    np.testing.assert_array_equal(pixels[0, :, 0], values[0])


def test_transparent_pixels_of_any_colour_become_black() -> None:
    image = quarters().convert("RGBA")
    image.putalpha(Image.fromarray(np.repeat([[0, 255]], 64, axis=0).repeat(48, axis=1).astype(np.uint8)))
    pixels = read_photograph(encode(image), 96).content
    assert pixels[:, :48].max() == 0
    assert pixels[5, 80].tolist() == [0, 250, 0]


def test_the_aspect_is_preserved_in_a_black_square() -> None:
    photograph = read_photograph(encode(Image.new("RGB", (300, 100), (9, 200, 90))), 60)
    assert photograph.content.shape == (20, 60, 3)
    content = photograph.framed.any(axis=2)
    assert (content.sum(), content[20:40].all()) == (20 * 60, True)


def test_scaling_down_averages_over_areas() -> None:
    board = np.indices((128, 128)).sum(axis=0) % 2 * np.uint8(254)
    pixels = read_photograph(encode(Image.fromarray(board.astype(np.uint8))), 16).content
    assert (pixels == 127).all()


def test_a_tiny_photograph_fills_the_frame_and_a_strip_keeps_a_row() -> None:
    assert read_photograph(encode(Image.new("RGB", (3, 2), "red")), EDGE).content.shape == (21, EDGE, 3)
    assert read_photograph(encode(Image.new("RGB", (4000, 1), "red")), EDGE).content.shape == (1, EDGE, 3)


def test_a_photograph_in_its_frame_is_not_resampled() -> None:
    frame = framed_quarters()
    np.testing.assert_array_equal(read_photograph(encode_png(frame), EDGE).framed, frame)
    np.testing.assert_array_equal(decode_image(encode_png(frame), 3), frame)


def test_a_large_jpeg_decoded_at_a_fraction_looks_the_same() -> None:
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 255, (6, 9, 3), dtype=np.uint8)).resize((1800, 1200), Image.Resampling.BOX)
    content = encode(coarse, "JPEG", quality=95)
    whole = np.asarray(Image.open(io.BytesIO(content)).resize((48, 32), Image.Resampling.BOX))
    assert near(read_photograph(content, 48).content, whole, 2)
    assert read_photograph(content, 48).size == (1800, 1200)


def test_the_first_picture_of_a_multi_picture_jpeg_is_used() -> None:
    content = encode(quarters(), "MPO", save_all=True, append_images=[Image.new("RGB", (96, 64), "black")])
    assert near(read_photograph(content, EDGE).framed, framed_quarters(), 8)


def png_with_header(width: int, height: int) -> bytes:
    """Return a PNG of a few bytes whose header declares this size."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    data = b"IDAT" + zlib.compress(b"\0" * 100)
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda: b"", "an empty image"),
        (lambda: b"<!doctype html><title>404</title>" * 20, "an HTML page"),
        (lambda: encode(quarters(), "JPEG")[:-300], "cannot be read"),
        (lambda: encode(quarters())[:120], "cannot be read"),
        (lambda: encode(quarters(), "TIFF", save_all=True, append_images=[quarters()]), "2 pages"),
        (lambda: encode(Image.new("L", (30000, 4))), "30000 x 4 pixels"),
        (lambda: png_with_header(10000, 10000), "10000 x 10000 pixels"),
        (lambda: png_with_header(2**31 - 1, 2**31 - 1), "pixels"),
        (lambda: encode(quarters(), "GIF", save_all=True, append_images=[Image.new("RGB", (96, 64))]), "animated"),
        (lambda: encode(quarters(), "WEBP", save_all=True, append_images=[Image.new("RGB", (96, 64))]), "animated"),
        (lambda: encode(quarters(), "PNG", save_all=True, append_images=[Image.new("RGB", (96, 64))]), "animated"),
    ],
)
def test_an_unusable_photograph_is_rejected_with_a_reason(content: Callable[[], bytes], reason: str) -> None:
    with pytest.raises(BadImageError, match=reason):
        read_photograph(content(), EDGE)


def test_damaged_exif_is_ignored() -> None:
    content = encode(quarters(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff broken", quality=95)
    assert near(read_photograph(content, EDGE).framed, framed_quarters(), 8)
