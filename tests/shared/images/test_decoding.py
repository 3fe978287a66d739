"""Untrusted images are decoded within bounds; PNG encoding is lossless."""

import io
import re
from pathlib import Path

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


def test_sixteen_bits_are_reduced_to_their_high_byte() -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.array([[0, 0x1234, 0xFFFF]], np.uint16)).save(buffer, "PNG")
    np.testing.assert_array_equal(decode_image(buffer.getvalue(), 1), [[0, 0x12, 0xFF]])


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
