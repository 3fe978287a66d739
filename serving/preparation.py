"""Preparation of uploaded slices for the predictor: bounded decoding, segmentation, lossless encoding."""

import threading
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from components.shared.errors import BadImageError
from components.shared.images.decoding import MAX_PIXELS, Pixels, decode_image, encode_png, open_image
from components.shared.images.photographs import read_photograph
from components.shared.images.segmentation import segment_slice
from serving.predictors.base import Expectation
from serving.protocol import Instance, RequestError

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BIT_DEPTH_OFFSET, _COLOUR_TYPE_OFFSET = 24, 25
_COLOUR_TYPE_OF_CHANNELS = {1: 0, 3: 2}
_LARGE_IMAGE_PIXELS = 12 * 2**20
_LARGE_IMAGE_LOCK = threading.Lock()
"""Held while a large image is decoded, which needs 15 bytes of memory for each pixel."""


@dataclass(frozen=True)
class PreparedSlice:
    """A slice as the predictor receives it.

    Attributes:
        image: Encoded image that every decoder decodes to the same pixels.
        pixels: Pixels of that image, uint8 [H, W] or [H, W, 3].
        decoded_pixels: Number of pixels that were decoded from the upload.
    """

    image: bytes
    pixels: Pixels
    decoded_pixels: int


def prepare_slices(
    instances: Sequence[Instance], expectation: Expectation, max_pixels: int = MAX_PIXELS
) -> list[PreparedSlice]:
    """Prepare the slices of a request.

    Args:
        instances: Slices as received.
        expectation: Preprocessing that the model expects.
        max_pixels: Most pixels in all slices together; each header is checked before its pixels are decoded.

    Raises:
        RequestError: 400 that names the first unusable instance.
    """
    slices: list[PreparedSlice] = []
    pixels_left = max_pixels
    for number, instance in enumerate(instances):
        try:
            slices.append(_prepare_bounded(instance, expectation, min(MAX_PIXELS, pixels_left)))
        except BadImageError as error:
            raise RequestError(400, f"instance {number} is {error}") from error
        pixels_left -= slices[-1].decoded_pixels
    return slices


def _prepare_bounded(instance: Instance, expectation: Expectation, max_pixels: int) -> PreparedSlice:
    """Prepare a slice; of the large images of all requests, only one at a time."""
    with open_image(instance.image, max_pixels) as image:
        is_large = image.width * image.height > _LARGE_IMAGE_PIXELS
    with _LARGE_IMAGE_LOCK if is_large else nullcontext():
        return _prepare_slice(instance, expectation, max_pixels)


def _prepare_slice(instance: Instance, expectation: Expectation, max_pixels: int) -> PreparedSlice:
    if expectation.channels == 3 and expectation.image_size:
        return _prepare_photograph(instance, expectation.image_size, max_pixels)
    channels = 1 if expectation.segmented else expectation.channels
    upload = decode_image(instance.image, channels, max_pixels)
    pixels = segment_slice(upload) if expectation.segmented else upload
    if pixels is upload and _is_plain_png(instance.image, channels):
        return PreparedSlice(instance.image, pixels, _area(pixels))
    return PreparedSlice(encode_png(pixels), pixels, _area(pixels))


def _prepare_photograph(instance: Instance, edge: int, max_pixels: int) -> PreparedSlice:
    """Rotate and scale a photograph in the same way as the ingest step."""
    photograph = read_photograph(instance.image, edge, max_pixels)
    width, height = photograph.size
    return PreparedSlice(encode_png(photograph.framed), photograph.framed, width * height)


def _area(pixels: Pixels) -> int:
    return pixels.shape[0] * pixels.shape[1]


def _is_plain_png(content: bytes, channels: int) -> bool:
    """Return whether every decoder reads the same pixels: an 8-bit PNG without palette, transparency or conversion."""
    return (
        content.startswith(_PNG_SIGNATURE)
        and content[_BIT_DEPTH_OFFSET] == 8
        and content[_COLOUR_TYPE_OFFSET] == _COLOUR_TYPE_OF_CHANNELS[channels]
        and b"tRNS" not in content
    )
