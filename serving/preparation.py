"""What happens to an uploaded slice before the predictor: bounded decoding, segmentation, lossless encoding."""

from collections.abc import Sequence
from dataclasses import dataclass

from components.shared.errors import BadImageError
from components.shared.images.decoding import MAX_PIXELS, Pixels, decode_image, encode_png
from components.shared.images.photographs import read_photograph
from components.shared.images.segmentation import segment_slice
from serving.protocol import Instance, RequestError

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_BIT_DEPTH, _COLOUR_TYPE = 24, 25
_COLOUR_TYPE_OF_CHANNELS = {1: 0, 3: 2}


@dataclass(frozen=True)
class Expectation:
    """What a model wants to see.

    Attributes:
        channels: 1 for grey, 3 for colour.
        segmented: whether everything but the specimen has to be black.
        image_size: edge of the slices in pixels that photographs are scaled to, 0 where it is not known.
    """

    channels: int
    segmented: bool
    image_size: int = 0


@dataclass(frozen=True)
class PreparedSlice:
    """A slice that the predictor can take.

    Attributes:
        image: an encoded image that every decoder reads alike.
        pixels: uint8 [H, W] or [H, W, 3], the same decoded.
        decoded: how many pixels were decoded for it.
    """

    image: bytes
    pixels: Pixels
    decoded: int


def prepare_slices(
    instances: Sequence[Instance], expectation: Expectation, max_pixels: int = MAX_PIXELS
) -> list[PreparedSlice]:
    """Prepares the slices of a request.

    Args:
        instances: the slices as they were sent.
        expectation: of the model that will answer.
        max_pixels: of all slices together; each header is checked before its pixels are decoded.

    Raises:
        RequestError: 400 that names the first instance which cannot be used.
    """
    prepared: list[PreparedSlice] = []
    pixels_left = max_pixels
    for number, instance in enumerate(instances):
        try:
            prepared.append(_prepare_slice(instance, expectation, min(MAX_PIXELS, pixels_left)))
        except BadImageError as error:
            raise RequestError(400, f"instance {number} is {error}") from error
        pixels_left -= prepared[-1].decoded
    return prepared


def _prepare_slice(instance: Instance, expectation: Expectation, max_pixels: int) -> PreparedSlice:
    if expectation.channels == 3 and expectation.image_size:
        return _prepare_photograph(instance, expectation.image_size, max_pixels)
    channels = 1 if expectation.segmented else expectation.channels
    decoded = decode_image(instance.image, channels, max_pixels)
    pixels = segment_slice(decoded) if expectation.segmented else decoded
    if pixels is decoded and _is_plain_png(instance.image, channels):
        return PreparedSlice(instance.image, pixels, _area(pixels))
    return PreparedSlice(encode_png(pixels), pixels, _area(pixels))


def _prepare_photograph(instance: Instance, edge: int, max_pixels: int) -> PreparedSlice:
    """Turns and scales a photograph as ingest does."""
    photograph = read_photograph(instance.image, edge, max_pixels)
    width, height = photograph.size
    return PreparedSlice(encode_png(photograph.framed), photograph.framed, width * height)


def _area(pixels: Pixels) -> int:
    return pixels.shape[0] * pixels.shape[1]


def _is_plain_png(encoded: bytes, channels: int) -> bool:
    """Whether every decoder makes the same 8-bit pixels of it: no palette, transparency, or conversion of colour."""
    return (
        encoded.startswith(_PNG_MAGIC)
        and encoded[_BIT_DEPTH] == 8
        and encoded[_COLOUR_TYPE] == _COLOUR_TYPE_OF_CHANNELS[channels]
        and b"tRNS" not in encoded
    )
