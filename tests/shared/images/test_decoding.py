"""Untrusted images are decoded within bounds; PNG encoding is lossless."""

import io
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from components.shared.errors import BadImageError
from components.shared.images.decoding import FORMATS, decode_image, encode_png, open_image

DOCUMENTS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(("channels", "shape"), [(1, (20, 30)), (3, (20, 30, 3))])
def test_every_format_is_decoded(kind: str, channels: int, shape: tuple[int, ...]) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.full((20, 30), 120, np.uint8)).save(buffer, kind)
    image = decode_image(buffer.getvalue(), channels)
    assert image.shape == shape
    assert image.dtype == np.uint8
    assert np.abs(image.astype(int) - 120).max() <= 2


def encode_png_values(values: np.ndarray) -> bytes:
    """Encode [H, W] or [H, W, C] of 8 or 16 bits, RGB or RGBA, as PNG."""
    order = [2, 1, 0, 3][: values.shape[2]] if values.ndim == 3 else slice(None)
    return bytes(cv2.imencode(".png", values[..., order] if values.ndim == 3 else values)[1])


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 3), (20, 30, 4)])
def test_used_bits_of_sixteen_show_the_eight_bit_picture(bits: int, shape: tuple[int, ...]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint16)
    picture[0, 0] = 255
    values = picture << (bits - 8)
    if len(shape) == 3 and shape[2] == 4:
        values[..., 3] = 65535
    channels = 1 if len(shape) == 2 else 3
    expected = picture if channels == 1 else picture[..., :3]
    np.testing.assert_array_equal(decode_image(encode_png_values(values), channels), expected)


def test_used_bits_do_not_count_the_colour_under_transparency() -> None:
    values = np.full((8, 8, 4), 65535, np.uint16)
    values[..., 3] = 0
    values[2:6, 2:6] = (4000, 2000, 1000, 65535)
    image = decode_image(encode_png_values(values), 3)
    assert image[3, 3].tolist() == [250, 125, 62]
    assert image[0, 0].tolist() == [0, 0, 0]


def cutout(mode: str) -> Image.Image:
    """Return a grey square on white of opacity zero."""
    alpha = Image.new("L", (20, 20))
    alpha.paste(255, (5, 5, 15, 15))
    image = Image.new("LA", (20, 20), (255, 0))
    image.paste((120, 255), (5, 5, 15, 15))
    image.putalpha(alpha)
    return image.convert(mode)


def save(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def transparent_images() -> dict[str, bytes]:
    """Return the same cutout in every form of transparency."""
    key = Image.new("L", (20, 20), 255)
    key.paste(120, (5, 5, 15, 15))
    deep = np.asarray(cutout("RGBA")).astype(np.uint16) * 257
    palette = key.convert("P", palette=Image.Palette.ADAPTIVE, colors=2)
    white = int(np.asarray(palette)[0, 0])
    return {
        "LA": save(cutout("LA"), "PNG"),
        "RGBA": save(cutout("RGBA"), "PNG"),
        "RGBA of 16 bits": encode_png_values(deep),
        "transparent grey value": save(key, "PNG", transparency=255),
        "transparent colour": save(key.convert("RGB"), "PNG", transparency=(255, 255, 255)),
        "palette": save(palette, "PNG", transparency=white),
        "GIF": save(palette, "GIF", transparency=white),
        "WEBP": save(cutout("RGBA"), "WEBP", lossless=True, exact=True),
    }


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("form", transparent_images())
def test_transparent_pixels_are_black(form: str, channels: int) -> None:
    image = decode_image(transparent_images()[form], channels)
    assert image[:4].max() == 0
    assert np.abs(image[6:14, 6:14].astype(int) - 120).max() <= 1


def test_partly_transparent_pixels_are_mixed_with_black() -> None:
    image = Image.new("LA", (4, 1), (200, 0))
    for column, alpha in enumerate((0, 64, 128, 255)):
        image.putpixel((column, 0), (200, alpha))
    np.testing.assert_array_equal(decode_image(save(image, "PNG"), 1), [[0, 50, 100, 200]])


def test_lack_of_memory_is_not_reported_as_a_bad_image() -> None:
    with pytest.raises(MemoryError), open_image(encode_png(np.zeros((4, 4), np.uint8)), max_pixels=16, max_side=4):
        raise MemoryError


@pytest.mark.parametrize("shape", [(7, 5), (7, 5, 3)])
def test_png_encoding_is_lossless(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    np.testing.assert_array_equal(decode_image(encode_png(image), 1 if len(shape) == 2 else 3), image)


@settings(max_examples=200, deadline=None)
@given(share=st.floats(0, 0.99), position=st.floats(0, 0.99), value=st.integers(0, 255))
def test_a_damaged_image_is_rejected_or_decoded(share: float, position: float, value: int) -> None:
    whole = bytearray(encode_png(np.random.default_rng(0).integers(0, 9, (64, 64), dtype=np.uint8)))
    whole[int(position * len(whole))] = value
    for contents in (bytes(whole), bytes(whole[: int(share * len(whole))])):
        try:
            image = decode_image(contents, 1)
        except BadImageError:
            continue
        assert image.ndim == 2


def test_too_many_pixels_in_the_header_are_rejected() -> None:
    buffer = io.BytesIO()
    Image.new("1", (20000, 20000)).save(buffer, "PNG")
    with pytest.raises(BadImageError, match="at most"):
        decode_image(buffer.getvalue(), 1)


def test_an_animation_is_rejected() -> None:
    frames = [Image.new("L", (9, 9), grey) for grey in (10, 200)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    with pytest.raises(BadImageError, match="animated"):
        decode_image(buffer.getvalue(), 1)


def test_the_first_picture_of_a_multi_picture_jpeg_is_decoded() -> None:
    buffer = io.BytesIO()
    scene, closer = (Image.new("L", (16, 16), grey) for grey in (10, 200))
    scene.save(buffer, "MPO", save_all=True, append_images=[closer])
    assert np.abs(decode_image(buffer.getvalue(), 1).astype(int) - 10).max() <= 2


def test_the_documents_name_every_format() -> None:
    text = " ".join(path.read_text(encoding="utf-8") for path in DOCUMENTS.rglob("*.md"))
    assert set(FORMATS) <= {word.upper() for word in re.findall(r"\w+", text)}


UNREAD_FILES = {
    b"\0\0\0\x18ftypheic\0\0\0\0mif1heic": "a HEIC image",
    b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic": "a HEIF image",
    b"\0\0\0\x20ftypavif\0\0\0\0avifmif1": "an AVIF image",
    b"\0\0\0\x18ftypisom\0\0\0\0": "a film",
    b"\0\0\0\x18ftypcrx \0\0\0\0": "a raw CR3 file",
    b"\xff\x0a\xfa\x1f": "a JPEG XL file",
    b"\0\0\0\x0cJXL \r\n\x87\n": "a JPEG XL file",
    b"\0\0\0\x0cjP  \r\n\x87\n": "a JPEG 2000 file",
    b"\xff\x4f\xff\x51\0\x29": "a JPEG 2000 file",
    b"%PDF-1.7": "a PDF file",
    b"8BPS\0\1": "a Photoshop file",
    b"PK\x03\x04": "a ZIP file",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n": "git lfs pull",
    b"\n<!DOCTYPE html><html>": "an HTML page",
    b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>": "an XML document",
    b'{"message": "Not Found"}': "a JSON document",
    b"\0" * 128 + b"DICM": "a DICOM file",
}


@pytest.mark.parametrize("contents", UNREAD_FILES, ids=UNREAD_FILES.values())
def test_a_file_of_another_format_is_rejected_by_its_name(contents: bytes) -> None:
    with pytest.raises(BadImageError) as error:
        decode_image(contents + b"\0" * 200, 3)
    assert UNREAD_FILES[contents] in str(error.value)
    assert str(error.value).count(". ") >= 1
