"""Segmentation of a batch of slices in a worker process. This module must not import TensorFlow."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from components.shared.images.decoding import decode_image, encode_png
from components.shared.images.descriptors import describe
from components.shared.images.segmentation import segment_slice


@dataclass(frozen=True)
class Batch:
    """A batch of raw slices.

    Attributes:
        rows: Rows of the index.
        images: Encoded images of the rows.
        channels: Channels of the images, 1 or 3.
    """

    rows: tuple[dict[str, Any], ...]
    images: tuple[bytes, ...]
    channels: int


@dataclass(frozen=True)
class SegmentedSlice:
    """A slice after segmentation.

    Attributes:
        png: Encoded image.
        descriptors: Descriptors of the image, including `foreground_ratio`.
    """

    png: bytes
    descriptors: dict[str, float]


def segment_batch(batch: Batch) -> list[SegmentedSlice | None]:
    """Segment encoded grey slices; the result is None for a slice without a specimen.

    Raises:
        BadImageError: An image cannot be decoded.
    """
    return [_segment(png) for png in batch.images]


def keep_batch(batch: Batch) -> list[SegmentedSlice | None]:
    """Return slices or photographs unchanged, with their descriptors."""
    return [_describe(png, batch.channels) for png in batch.images]


METHODS: dict[str, Callable[[Batch], list[SegmentedSlice | None]]] = {"specimen": segment_batch, "none": keep_batch}


def _describe(png: bytes, channels: int) -> SegmentedSlice:
    return SegmentedSlice(png, describe(decode_image(png, channels)))


def _segment(png: bytes) -> SegmentedSlice | None:
    image = segment_slice(decode_image(png, channels=1))
    return SegmentedSlice(encode_png(image), describe(image)) if image.any() else None
