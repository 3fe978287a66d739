"""Slices segmented a batch at a time: what a worker process does. It must not import TensorFlow."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from components.shared.images.decoding import decode_image, encode_png
from components.shared.images.descriptors import describe
from components.shared.images.segmentation import segment_slice


@dataclass(frozen=True)
class Batch:
    """Some raw slices: rows of the index, encoded images, and their channels, 1 or 3."""

    rows: tuple[dict[str, Any], ...]
    encoded: tuple[bytes, ...]
    channels: int


@dataclass(frozen=True)
class SegmentedSlice:
    """A slice without background.

    Attributes:
        png: the encoded image.
        descriptors: of it, among them the share of the frame that the specimen covers.
    """

    png: bytes
    descriptors: dict[str, float]


def segment_batch(batch: Batch) -> list[SegmentedSlice | None]:
    """Segments encoded grey slices; None where no specimen is found.

    Raises:
        BadImageError: an image cannot be decoded.
    """
    return [_segment(png) for png in batch.encoded]


def keep_batch(batch: Batch) -> list[SegmentedSlice | None]:
    """Leaves slices and photographs as they are, with their background."""
    return [_as_it_is(png, batch.channels) for png in batch.encoded]


METHODS: dict[str, Callable[[Batch], list[SegmentedSlice | None]]] = {"specimen": segment_batch, "none": keep_batch}


def _as_it_is(png: bytes, channels: int) -> SegmentedSlice:
    return SegmentedSlice(png, describe(decode_image(png, channels)))


def _segment(png: bytes) -> SegmentedSlice | None:
    segmented = segment_slice(decode_image(png, channels=1))
    return SegmentedSlice(encode_png(segmented), describe(segmented)) if segmented.any() else None
