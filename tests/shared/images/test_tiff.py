"""TIFF images of every common kind are decoded; others, and damaged files, are rejected within bounds."""

import io
import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from components.shared.errors import BadImageError
from components.shared.images.decoding import decode_image
from components.shared.images.photographs import read_photograph

RGB = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
COMPRESSIONS = ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"]
OPENCV_COMPRESSIONS = {"raw": 1, "lzw": 5, "deflate": 8}


def save(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "TIFF", **options)
    return buffer.getvalue()


def answer(contents: bytes, channels: int = 3) -> np.ndarray | str:
    """Return the pixels, or the reason of the refusal."""
    try:
        return decode_image(contents, channels)
    except BadImageError as error:
        return str(error)


def tags_of(*entries: tuple[int, int, int, int], padding: int = 64) -> bytes:
    """Return a TIFF file of one directory with entries (tag, type, count, value)."""
    directory = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + directory + b"\0\0\0\0" + b"\0" * padding


GREY = [(256, 3, 1, 8), (257, 3, 1, 8), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (277, 3, 1, 1)]
PIXELS = [(273, 4, 1, 10), (278, 3, 1, 8), (279, 4, 1, 64)]


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("mode", ["L", "RGB", "P", "1", "RGBA", "LA", "CMYK"])
def test_eight_bit_tiff_is_decoded_like_png(mode: str, compression: str) -> None:
    image = Image.fromarray(RGB).convert(mode)
    expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(answer(save(image, compression=compression)), expected)


@pytest.mark.parametrize("compression", OPENCV_COMPRESSIONS)
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bit_tiff_shows_the_eight_bit_picture(channels: int, bits: int, compression: str) -> None:
    picture = RGB if channels == 3 else RGB[..., 0]
    values = picture.astype(np.uint16) << (bits - 8)
    options = (cv2.IMWRITE_TIFF_COMPRESSION, OPENCV_COMPRESSIONS[compression])
    contents = cv2.imencode(".tif", values[..., ::-1] if channels == 3 else values, options)[1].tobytes()
    np.testing.assert_array_equal(answer(contents, channels), picture)


def test_a_jpeg_in_tiff_and_transparency_are_decoded() -> None:
    smooth = Image.fromarray(RGB).resize((8, 8)).resize((64, 64))
    difference = np.abs(decode(save(smooth, compression="jpeg")).astype(int) - np.asarray(smooth))
    assert difference.mean() < 12
    clear = Image.fromarray(np.dstack([RGB, np.zeros((40, 50), np.uint8)]))
    assert decode(save(clear)).max() == 0


def decode(contents: bytes) -> np.ndarray:
    pixels = answer(contents)
    assert isinstance(pixels, np.ndarray), pixels
    return pixels


def test_zero_is_white_where_the_file_says_so() -> None:
    values = np.array([[0, 4095], [1000, 4095]], np.uint16)
    contents = bytearray(save(Image.fromarray(values)))
    entry = contents.index(struct.pack("<HHI", 262, 3, 1))
    contents[entry + 8] = 0
    np.testing.assert_array_equal(decode(bytes(contents))[..., 0], [[255, 0], [193, 0]])


def test_a_rotated_tiff_photograph_is_upright_once() -> None:
    picture = np.zeros((20, 40, 3), np.uint8)
    picture[:, 30:] = 250
    photograph = read_photograph_or_none(save(Image.fromarray(picture), tiffinfo={274: 6}))
    assert photograph is not None
    assert photograph.shape == (40, 20, 3)
    assert photograph[32:].min() == 250


def read_photograph_or_none(contents: bytes) -> np.ndarray | None:
    try:
        return read_photograph(contents, 40).content
    except BadImageError:
        return None


@pytest.mark.parametrize(
    ("contents", "reason"),
    [
        (save(Image.fromarray(RGB), save_all=True, append_images=[Image.fromarray(RGB)]), "2 pages"),
        (save(Image.fromarray(RGB.astype(np.float32)[..., 0])), "float"),
        (save(Image.fromarray(RGB.astype(np.int32)[..., 0])), "32-bit"),
        (save(Image.fromarray(RGB), description="ImageJ=1.54f\nimages=7\nslices=7\n"), "stack of 7"),
        (tags_of(*GREY, *PIXELS, (50706, 1, 4, 0)), "raw"),
        (tags_of((254, 4, 1, 1), *GREY, *PIXELS), "preview"),
        (tags_of(*GREY, (322, 4, 1, 2**20), (323, 4, 1, 2**20), (324, 4, 1, 10), (325, 4, 1, 64)), "tiles of"),
        (tags_of(*GREY, *PIXELS, *((1000 + tag, 1, 100, 0) for tag in range(50))), "too many tags"),
        (tags_of(*GREY, *PIXELS, *((1000 + tag, 3, 1, 0) for tag in range(600))), "609 tags"),
        (b"II*\0\xff\xff\0\0" + b"\0" * 50, "truncated"),
    ],
    ids=["pages", "float", "int32", "ImageJ", "DNG", "preview", "tiles", "shared values", "tags", "offset"],
)
def test_another_tiff_is_rejected_with_its_reason(contents: bytes, reason: str) -> None:
    refusal = answer(contents)
    assert isinstance(refusal, str)
    assert reason in refusal


def test_reduced_copies_are_not_pages() -> None:
    buffer = io.BytesIO()
    picture = Image.fromarray(RGB)
    picture.encoderinfo, preview = {}, picture.resize((10, 8))
    preview.encoderinfo = {"tiffinfo": {254: 1}}
    picture.save(buffer, "TIFF", save_all=True, append_images=[preview])
    np.testing.assert_array_equal(decode(buffer.getvalue()), RGB)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate"])
def test_a_mutated_tiff_is_rejected_or_decoded(compression: str) -> None:
    rng = np.random.default_rng(0)
    whole = save(Image.fromarray(RGB), compression=compression)
    decoded = 0
    for _ in range(600):
        mutant = bytearray(whole)
        for position in rng.integers(0, len(whole), rng.integers(1, 4)):
            in_directory = rng.random() < 0.7
            mutant[-1 - position % 200 if in_directory else position] = rng.integers(256)
        result = answer(bytes(mutant[: rng.integers(1, len(whole) + 1)] if rng.random() < 0.2 else mutant))
        decoded += isinstance(result, np.ndarray)
    assert 0 < decoded < 600
