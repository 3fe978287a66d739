"""Slices and photographs as files: untrusted images are decoded within bounds, arrays are encoded without loss."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from components.shared.errors import BadImageError

# The header is checked against a lower limit; `catch_warnings` around each call is not safe with threads.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)

Pixels = NDArray[np.uint8]

FORMATS = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg", ".jpe"),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
    "GIF": (".gif",),
}
"""What is decoded, by Pillow's name, and the ends of such files' names."""
IMAGE_ENDINGS = tuple(chain.from_iterable(FORMATS.values()))
MAX_PIXELS = 32 * 2**20
MAX_SIDE = 8192
_SEVERAL_PICTURES_OF_A_SCENE = "MPO"
_PNG = (
    *(cv2.IMWRITE_PNG_COMPRESSION, 1),
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP),
    cv2.IMWRITE_PNG_STRATEGY,
)


@contextmanager
def opened(encoded: bytes, max_pixels: int, max_side: int) -> Iterator[Image.Image]:
    """Opens an untrusted image, not yet decoded, once its header is within bounds.

    Of a camera's several pictures of a scene the first is opened.

    Args:
        encoded: a file of one of FORMATS.
        max_pixels: the most pixels that it may promise.
        max_side: its longest side in pixels.

    Raises:
        BadImageError: not such an image, too large, animated, or damaged, even if that shows while it is used.
    """
    if not encoded:
        raise BadImageError("an empty image", "a whole image file", "Copy or export it again.")
    try:
        image = Image.open(io.BytesIO(encoded), formats=tuple(FORMATS))
        _check_header(image, max_pixels, max_side)
        yield image
    except (BadImageError, MemoryError):  # the latter is not the image's fault
        raise
    except Image.DecompressionBombError as error:
        promised = str(error).partition(" exceeds")[0]  # Pillow goes on to speak of an attack
        raise BadImageError(f"an image that promises too much ({promised})", f"at most {max_pixels} pixels") from error
    except Exception as error:  # Pillow's decoders raise whatever a damaged file leads them to, IndexError for one
        expected = f"a whole file of {', '.join(FORMATS)}"
        raise BadImageError("an image that cannot be read", expected, "Copy or export it again.") from error


def _check_header(image: Image.Image, max_pixels: int, max_side: int) -> None:
    size = f"an image of {image.width} x {image.height} pixels"
    if max(image.size) > max_side:
        raise BadImageError(size, f"at most {max_side} a side", "Scale it down.")
    if image.width * image.height > max_pixels:
        raise BadImageError(size, f"at most {max_pixels} pixels", "Scale it down.")
    if image.format != _SEVERAL_PICTURES_OF_A_SCENE and getattr(image, "n_frames", 1) > 1:
        raise BadImageError("an animated image", "a single frame", "Save the frame that shows the specimen.")


def eight_bit(image: Image.Image) -> Image.Image:
    """Keeps the high byte of a 16-bit image; others stay as they are."""
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8))


def decode_image(encoded: bytes, channels: int, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Decodes an untrusted image.

    Args:
        encoded: a file of one of FORMATS.
        channels: 1 for grey, 3 for colour.
        max_pixels: the most pixels that are decoded; the header is checked first.

    Returns:
        uint8 [H, W] for one channel, [H, W, 3] for three; 16-bit images keep their high byte.

    Raises:
        BadImageError: see `opened`.
    """
    with opened(encoded, max_pixels, MAX_SIDE) as image:
        image.load()
        return np.asarray(eight_bit(image).convert("L" if channels == 1 else "RGB"))


def encode_png(image: Pixels) -> bytes:
    """Encodes uint8 [H, W] or [H, W, 3] as PNG without loss, compression level 1.

    Run lengths of differences between rows take half of the time of OpenCV's defaults and about as many bytes; where
    little is black there are few runs, and without looking for them it takes a fifth less again.
    """
    mostly_black = 2 * np.count_nonzero(image) < image.size
    strategy = cv2.IMWRITE_PNG_STRATEGY_RLE if mostly_black else cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY
    stored = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".png", stored, (*_PNG, strategy))
    return encoded.tobytes()
