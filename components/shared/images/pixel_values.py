"""Rules for pixel values: bits in use, transparency on black, conversion to grey.

`components.shared.images.graph_decoding` computes the same values in TensorFlow.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Bytes = NDArray[np.uint8]
Values = NDArray[np.uint16]

USED_BITS = (8, 10, 12, 14, 16)
"""Bits that cameras and scanners write into 16-bit files."""
OPAQUE = 255
LUMA, LUMA_BITS = (19595, 38470, 7471), 16
"""Weights of red, green and blue in a grey value, and the bits of their sum (ITU-R 601-2, as in Pillow)."""
_BLOCK_ROWS = 256


def used_bits(maximum: int) -> int:
    """Return the smallest number of USED_BITS that holds the maximum of an image."""
    return next(bits for bits in USED_BITS if maximum < 1 << bits)


def to_eight_bit(values: Values) -> Bytes:
    """Reduce 16-bit values of any shape to the 8 high ones of their used bits."""
    shift = used_bits(int(values.max(initial=0))) - 8
    pixels = np.empty(values.shape, np.uint8)
    for rows in _blocks(len(values)):
        pixels[rows] = values[rows] >> shift
    return pixels


def invert_used_bits(values: Values) -> None:
    """Replace values of a scale on which zero is white by those of a scale on which zero is black."""
    np.subtract((1 << used_bits(int(values.max(initial=0)))) - 1, values, out=values, casting="unsafe")


def composite_on_black(values: Values, alpha: Bytes) -> None:
    """Multiply 16-bit values [H, W] or [H, W, C] by their opacity, uint8 [H, W], rounded to the nearest integer."""
    for rows in _blocks(len(values)):
        opacity = alpha[rows].astype(np.uint32)
        block = values[rows].astype(np.uint32) * (opacity if values.ndim == 2 else opacity[..., np.newaxis])
        values[rows] = (block + OPAQUE // 2) // OPAQUE


def to_grey(pixels: Bytes) -> Bytes:
    """Convert uint8 [H, W, 3] to grey [H, W] by Pillow's luma (ITU-R 601-2); return [H, W] unchanged."""
    return pixels if pixels.ndim == 2 else np.asarray(Image.fromarray(pixels).convert("L"))


def to_colour(pixels: Bytes) -> Bytes:
    """Return uint8 [H, W, 3]; grey values are repeated."""
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., np.newaxis], 3, axis=2)


def _blocks(count: int) -> Any:
    return (slice(start, start + _BLOCK_ROWS) for start in range(0, count, _BLOCK_ROWS))
