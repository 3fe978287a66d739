"""Photographs as slices: decoded within bounds, upright, in colour, scaled to the frame of a slice.

Ingest and serving call the same function, so that served photographs are processed like training photographs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from PIL import Image

from components.shared.images.decoding import MAX_PIXELS, Pixels, decode_pixels, open_image
from components.shared.images.pixel_values import to_colour

_OVERSAMPLING = 2
"""A JPEG is decoded at a fraction of its size, at least this many times the frame, then reduced by area averaging."""
_ORIENTATION = 0x0112

Transform = Callable[[Pixels], Pixels]


@dataclass(frozen=True)
class Photograph:
    """A photograph in the frame of a slice.

    Attributes:
        content: Pixels, uint8 [H, W, 3], RGB, upright; the long side is the edge of the frame.
        size: Width and height of the upright original in pixels.
    """

    content: Pixels
    size: tuple[int, int]

    @cached_property
    def framed(self) -> Pixels:
        """Photograph centred in a black square, uint8 [edge, edge, 3]."""
        edge = max(self.content.shape)
        height, width = self.content.shape[:2]
        row, column = (edge - height) // 2, (edge - width) // 2
        frame = np.zeros((edge, edge, 3), np.uint8)
        frame[row : row + height, column : column + width] = self.content
        return frame


def read_photograph(contents: bytes, edge: int, max_pixels: int = MAX_PIXELS) -> Photograph:
    """Decode an untrusted photograph, rotate it upright, and scale its long side to the edge of a slice.

    Smaller photographs are enlarged to fill their frame; a photograph of the frame's size is not resampled. Transparent
    pixels become black, 16-bit values are reduced as in `decode_image`. A multi-picture JPEG yields its first picture.

    Args:
        contents: Bytes of a file in one of `components.shared.images.decoding.FORMATS`.
        edge: Edge of the slice in pixels.
        max_pixels: Largest number of pixels; the header is checked before decoding.

    Raises:
        BadImageError: See `open_image`.
    """
    with open_image(contents, max_pixels) as image:
        transform, (width, height) = _exif_transform(image), image.size
        upright = transform(_scale(_decode(image, contents, edge), _size_in_frame(width, height, edge)))
    size = (height, width) if transform in _SWAPS_SIDES else (width, height)
    return Photograph(np.ascontiguousarray(upright), size)


def _decode(image: Image.Image, contents: bytes, edge: int) -> Pixels:
    """Decode to uint8 [H, W, 3]; a JPEG at the smallest fraction of its size with _OVERSAMPLING times the edge."""
    image.draft(image.mode, (_OVERSAMPLING * edge, _OVERSAMPLING * edge))
    return to_colour(decode_pixels(image, contents))


def _size_in_frame(width: int, height: int, edge: int) -> tuple[int, int]:
    scale = edge / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _scale(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Reduce by area averaging or enlarge bilinearly; return a photograph of that size unchanged."""
    if (pixels.shape[1], pixels.shape[0]) == size:
        return pixels
    method = cv2.INTER_AREA if max(size) < max(pixels.shape) else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, size, interpolation=method), dtype=np.uint8)


def _exif_transform(image: Image.Image) -> Transform:
    """Return the transform that makes a photograph upright; the identity if its EXIF is damaged.

    Pillow rotates TIFF images when it decodes them.
    """
    if image.format == "TIFF":
        return _identity
    try:
        return _TRANSFORMS.get(int(image.getexif().get(_ORIENTATION, 1)), _identity)
    except Exception:  # Pillow raises exceptions of many classes on damaged EXIF
        return _identity


def _identity(pixels: Pixels) -> Pixels:
    return pixels


def _mirror(pixels: Pixels) -> Pixels:
    return pixels[:, ::-1]


def _rotate_180(pixels: Pixels) -> Pixels:
    return pixels[::-1, ::-1]


def _flip(pixels: Pixels) -> Pixels:
    return pixels[::-1]


def _transpose(pixels: Pixels) -> Pixels:
    return pixels.swapaxes(0, 1)


def _rotate_right(pixels: Pixels) -> Pixels:
    return pixels[::-1].swapaxes(0, 1)


def _transverse(pixels: Pixels) -> Pixels:
    return pixels[::-1, ::-1].swapaxes(0, 1)


def _rotate_left(pixels: Pixels) -> Pixels:
    return pixels[:, ::-1].swapaxes(0, 1)


# EXIF 2.32, tag Orientation
_TRANSFORMS: dict[int, Transform] = {
    2: _mirror,
    3: _rotate_180,
    4: _flip,
    5: _transpose,
    6: _rotate_right,
    7: _transverse,
    8: _rotate_left,
}
_SWAPS_SIDES = frozenset({_transpose, _rotate_right, _transverse, _rotate_left})
