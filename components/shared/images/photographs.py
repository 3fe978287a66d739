"""Photographs as slices: bounded decoding, upright, in colour, scaled to the frame of a slice.

Ingest and serving call the same function, so that what is answered is what was trained on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from PIL import Image

from components.shared.images.decoding import Pixels, eight_bit, opened

MAX_FILE_BYTES = 128 * 2**20
MAX_PIXELS = 64 * 2**20
MAX_SIDE = 16384
_SPARE = 2
"""A JPEG is decoded at a fraction of its size, but at this many times the frame: the rest is averaged by area."""
_ORIENTATION = 0x0112

Turn = Callable[[Pixels], Pixels]


@dataclass(frozen=True)
class Photograph:
    """A photograph in the frame of a slice.

    Attributes:
        content: uint8 [H, W, 3], RGB, upright; its long side is the frame's edge.
        size: width and height of the original, upright, in pixels.
    """

    content: Pixels
    size: tuple[int, int]

    @cached_property
    def framed(self) -> Pixels:
        """The photograph in the middle of a square, uint8 [edge, edge, 3]; what it does not fill is black."""
        edge = max(self.content.shape)
        height, width = self.content.shape[:2]
        top, left = (edge - height) // 2, (edge - width) // 2
        frame = np.zeros((edge, edge, 3), np.uint8)
        frame[top : top + height, left : left + width] = self.content
        return frame


def read_photograph(encoded: bytes, edge: int, max_pixels: int = MAX_PIXELS) -> Photograph:
    """Decodes an untrusted photograph, turns it upright, and scales its long side to the edge of a slice.

    Smaller ones are enlarged, so that all fill their frame; one of the frame's size is not resampled. Transparent
    pixels become black, 16-bit values keep their high byte, of a camera's several pictures of a scene the first counts.

    Args:
        encoded: a file of one of `components.shared.images.decoding.FORMATS`.
        edge: of the slice in pixels.
        max_pixels: the most pixels that are decoded; the header is checked first.

    Raises:
        BadImageError: see `opened`.
    """
    with opened(encoded, max_pixels, MAX_SIDE) as image:
        turn, (width, height) = _turn_of(image), image.size
        upright = turn(_scaled(_decoded(image, edge), _size_in_frame(width, height, edge)))
    return Photograph(np.ascontiguousarray(upright), (height, width) if turn in _ON_ITS_SIDE else (width, height))


def _decoded(image: Image.Image, edge: int) -> Pixels:
    """Decodes to uint8 [H, W, 3], a JPEG at the smallest fraction of its size that still has _SPARE frames' edges."""
    image.draft(image.mode, (_SPARE * edge, _SPARE * edge))
    image.load()
    image = eight_bit(image)
    if image.has_transparency_data:
        image = _over_black(image)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _over_black(image: Image.Image) -> Image.Image:
    over = image if image.mode == "RGBA" else image.convert("RGBA")
    seen = Image.new("RGB", image.size)
    seen.paste(over, mask=over.getchannel("A"))
    return seen


def _size_in_frame(width: int, height: int, edge: int) -> tuple[int, int]:
    scale = edge / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _scaled(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Averages over areas, or enlarges between pixels; a photograph of the wanted size stays as it is."""
    if (pixels.shape[1], pixels.shape[0]) == size:
        return pixels
    smaller = max(size) < max(pixels.shape)
    scaled = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    return np.asarray(scaled, dtype=np.uint8)


def _turn_of(image: Image.Image) -> Turn:
    """Returns what makes a photograph upright; damaged EXIF says nothing."""
    try:
        return _TURNS.get(int(image.getexif().get(_ORIENTATION, 1)), _stay)
    except Exception:  # EXIF is a TIFF file of its own, damaged in its own ways
        return _stay


def _stay(pixels: Pixels) -> Pixels:
    return pixels


def _mirror(pixels: Pixels) -> Pixels:
    return pixels[:, ::-1]


def _turn_over(pixels: Pixels) -> Pixels:
    return pixels[::-1, ::-1]


def _flip(pixels: Pixels) -> Pixels:
    return pixels[::-1]


def _transpose(pixels: Pixels) -> Pixels:
    return pixels.swapaxes(0, 1)


def _turn_right(pixels: Pixels) -> Pixels:
    return pixels[::-1].swapaxes(0, 1)


def _transverse(pixels: Pixels) -> Pixels:
    return pixels[::-1, ::-1].swapaxes(0, 1)


def _turn_left(pixels: Pixels) -> Pixels:
    return pixels[:, ::-1].swapaxes(0, 1)


# EXIF 2.32, tag Orientation
_TURNS: dict[int, Turn] = {
    2: _mirror,
    3: _turn_over,
    4: _flip,
    5: _transpose,
    6: _turn_right,
    7: _transverse,
    8: _turn_left,
}
_ON_ITS_SIDE = frozenset({_transpose, _turn_right, _transverse, _turn_left})
