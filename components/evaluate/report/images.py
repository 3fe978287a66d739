"""The slices that a report shows, as the network sees them, and where it found its reasons."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from components.evaluate.predictions import Member, chosen_slices
from components.evaluate.report.findings import ConfusedPair, Mistake
from components.evaluate.report.grad_cam import attention
from components.shared.images.crops import decode_and_crop
from components.shared.images.decoding import encode_png

LARGEST_EDGE = 160
_HEAT = np.array([255, 106, 0], np.float32)  # orange stands out from grey in print and for the colour-blind
_MOST_COVERED = 0.75


@dataclass(frozen=True)
class Reasons:
    """A mistaken slice with what spoke for the answer and for the truth, PNG each."""

    for_answer: bytes
    for_truth: bytes


@dataclass(frozen=True)
class Pictures:
    """The pictures of a report.

    Attributes:
        slices: PNG of a test slice by row.
        reasons: of a mistake, by row.
        by: the member whose reasons they are.
        method: how they were found.
    """

    slices: Mapping[int, bytes] = field(default_factory=dict)
    reasons: Mapping[int, Reasons] = field(default_factory=dict)
    by: str = ""
    method: str = ""


def take_pictures(folder: Path, member: Member, mistakes: Sequence[Mistake], pairs: Sequence[ConfusedPair]) -> Pictures:
    """Reads the test slices of mistakes and confused pairs, and explains the mistakes.

    Args:
        folder: the data set.
        member: whose reasons are shown.
        mistakes: that are explained.
        pairs: whose examples are shown.
    """
    rows = {mistake.row for mistake in mistakes} | {pair.row for pair in pairs}
    rows |= {pair.like for pair in pairs if pair.like is not None}
    size, channels = member.card.image_size, member.card.channels
    crops = {row: decode_and_crop(png, size, channels).numpy() for row, png in chosen_slices(folder, "test", rows)}
    slices = {row: encode_png(_shown(crop)) for row, crop in crops.items()}
    if not mistakes:
        return Pictures(slices)
    batch = np.stack([crops[mistake.row] for mistake in mistakes])
    label = {species: number for number, species in enumerate(member.card.classes)}
    answer = attention(member.network, batch, np.array([label[mistake.answer] for mistake in mistakes]))
    truth = attention(member.network, batch, np.array([label[mistake.truth] for mistake in mistakes]))
    reasons = {
        mistake.row: Reasons(_heated(batch[place], answer.maps[place]), _heated(batch[place], truth.maps[place]))
        for place, mistake in enumerate(mistakes)
    }
    return Pictures(slices, reasons, member.card.backbone, answer.method)


def _heated(crop: NDArray[np.uint8], heat: NDArray[np.float32]) -> bytes:
    """Lays a map float32 [S, S] in 0..1 over a slice uint8 [S, S, C]."""
    grey = _shown(crop)
    colour = np.repeat(grey[..., None], 3, axis=2) if grey.ndim == 2 else grey
    covered = _MOST_COVERED * cv2.resize(heat, colour.shape[1::-1], interpolation=cv2.INTER_LINEAR)[..., None]
    return encode_png((colour * (1 - covered) + _HEAT * covered).clip(0, 255).astype(np.uint8))


def _shown(crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns uint8 [S, S] or [S, S, 3], with at most LARGEST_EDGE pixels a side."""
    edge = min(len(crop), LARGEST_EDGE)
    small = cv2.resize(crop, (edge, edge), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)
