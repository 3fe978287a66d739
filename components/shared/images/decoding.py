"""Decoding of untrusted image files within bounds, and lossless encoding of arrays as PNG."""

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
from components.shared.images.pixel_values import to_colour, to_eight_bit, to_grey
from components.shared.images.sixteen_bit import PNG_BIT_DEPTH, TRANSPARENCY, has_sixteen_bits, read_sixteen_bits
from components.shared.images.tiff import check_tiff, is_tiff
from components.shared.images.unread_formats import check_format

# Headers are checked against a lower limit; `catch_warnings` around each call is not thread-safe.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.TiffImagePlugin")

Pixels = NDArray[np.uint8]

FORMATS = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
}
"""Accepted formats by Pillow's name, with their file name extensions; the content decides, not the extension."""
IMAGE_EXTENSIONS = tuple(chain.from_iterable(FORMATS.values()))
MAX_FILE_BYTES = 128 * 2**20
MAX_PIXELS = 64 * 2**20
MAX_SIDE = 16384
"""Limits of one image, for slices and photographs, in ingest and serving alike."""
_ONE_PICTURE = ("MPO", "TIFF")
"""Formats by Pillow's name of which the first picture is read; `check_tiff` counts the pages of a TIFF file."""
_UNREAD_MODES = {"F": "float", "I": "signed or 32-bit", "LAB": "CIELAB"}
_PNG = (
    *(cv2.IMWRITE_PNG_COMPRESSION, 1),
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP),
    cv2.IMWRITE_PNG_STRATEGY,
)


@contextmanager
def open_image(contents: bytes, max_pixels: int = MAX_PIXELS, max_side: int = MAX_SIDE) -> Iterator[Image.Image]:
    """Open an untrusted image without decoding it, if its header is within bounds.

    Of a multi-picture JPEG (MPO) the first picture is opened.

    Args:
        contents: Bytes of a file in one of FORMATS.
        max_pixels: Largest number of pixels in the header.
        max_side: Largest side in pixels.

    Raises:
        BadImageError: The image has another format or is too large, animated, or damaged; also inside the block.
    """
    if not contents:
        raise BadImageError("an empty image", "a complete image file", "Copy or export it again.")
    formats = f"a complete {', '.join(FORMATS)} file"
    check_format(contents, formats)
    try:
        if is_tiff(contents):
            check_tiff(contents)
        image = Image.open(io.BytesIO(contents), formats=tuple(FORMATS))
        _check_header(image, max_pixels, max_side)
        yield image
    except (BadImageError, MemoryError):  # a lack of memory is not a defect of the image
        raise
    except Image.DecompressionBombError as error:
        size = str(error).partition(" exceeds")[0]  # the rest of Pillow's message warns of an attack
        raise BadImageError(f"an image that is too large ({size})", f"at most {max_pixels} pixels") from error
    except Exception as error:  # Pillow's decoders raise any exception on damaged files, IndexError for example
        raise BadImageError("an image that cannot be read", formats, "Copy or export it again.") from error


def _check_header(image: Image.Image, max_pixels: int, max_side: int) -> None:
    size = f"an image of {image.width} x {image.height} pixels"
    if max(image.size) > max_side:
        raise BadImageError(size, f"at most {max_side} a side", "Scale it down.")
    if image.width * image.height > max_pixels:
        raise BadImageError(size, f"at most {max_pixels} pixels", "Scale it down.")
    if image.format not in _ONE_PICTURE and getattr(image, "n_frames", 1) > 1:
        raise BadImageError("an animated image", "a single frame", "Save the frame that shows the specimen.")
    if image.mode in _UNREAD_MODES:
        values = f"an image of {_UNREAD_MODES[image.mode]} values"
        raise BadImageError(values, "8 or 16 bits in grey or RGB", "Export it as 16-bit TIFF or PNG.")


def decode_image(contents: bytes, channels: int, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Decode an untrusted image.

    Args:
        contents: Bytes of a file in one of FORMATS.
        channels: 1 for grey, 3 for colour.
        max_pixels: Largest number of pixels; the header is checked before decoding.

    Returns:
        The pixels, uint8 [H, W] for one channel, [H, W, 3] for three; see `decode_pixels`.

    Raises:
        BadImageError: See `open_image`.
    """
    with open_image(contents, max_pixels) as image:
        pixels = decode_pixels(image, contents)
        return to_grey(pixels) if channels == 1 else to_colour(pixels)


def decode_pixels(image: Image.Image, contents: bytes) -> Pixels:
    """Decode an open image on black, with the 8 high bits of its used bits (see `used_bits`).

    Args:
        image: Image from `open_image`, not yet loaded.
        contents: Its file.

    Returns:
        uint8 [H, W] of a grey image, [H, W, 3] of a colour image.
    """
    image.load()
    if has_sixteen_bits(image, contents):
        return to_eight_bit(read_sixteen_bits(image, contents))
    if image.has_transparency_data:
        return np.asarray(_paste_on_black(image, contents))
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _paste_on_black(image: Image.Image, contents: bytes) -> Image.Image:
    if image.format == "PNG" and image.mode == "L" and TRANSPARENCY in image.info:  # Pillow scales only the pixels
        image.info[TRANSPARENCY] *= 255 // ((1 << contents[PNG_BIT_DEPTH]) - 1)
    rgba = image if image.mode == "RGBA" else image.convert("RGBA")
    black = Image.new("RGB", image.size)
    black.paste(rgba, mask=rgba.getchannel("A"))
    return black


def encode_png(image: Pixels) -> bytes:
    """Encode uint8 [H, W] or [H, W, 3] as PNG, compression level 1.

    Run-length encoding of row differences takes half of the time of OpenCV's defaults, at about the same size. Images
    with few black pixels have few runs and are encoded in 20 % less time with Huffman coding alone.
    """
    mostly_black = 2 * np.count_nonzero(image) < image.size
    strategy = cv2.IMWRITE_PNG_STRATEGY_RLE if mostly_black else cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY
    bgr = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, png = cv2.imencode(".png", bgr, (*_PNG, strategy))
    return png.tobytes()
