"""The images of a report: slices at the network's input size and activation maps of its mistakes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from components.evaluate.answers import MeasuredAnswers
from components.evaluate.predictions import Member
from components.evaluate.report.findings import ConfusedPair, Mistake
from components.evaluate.report.grad_cam import activation_maps
from components.shared.images.crops import decode_and_crop
from components.shared.images.decoding import encode_png

LARGEST_EDGE = 160
_HEAT = np.array([255, 106, 0], np.float32)  # orange stands out from grey in print and for the colour-blind
_LARGEST_OPACITY = 0.75


@dataclass(frozen=True)
class MistakeMaps:
    """Activation maps of a wrongly identified slice, one for the predicted and one for the true species, as PNG."""

    answer: bytes
    truth: bytes


@dataclass(frozen=True)
class ReportImages:
    """The images of a report.

    Attributes:
        slices: PNG of test slices by row.
        maps: Activation maps of the mistakes by row.
        network: Name of the network whose maps are shown.
        method: Method of the maps.
    """

    slices: Mapping[int, bytes] = field(default_factory=dict)
    maps: Mapping[int, MistakeMaps] = field(default_factory=dict)
    network: str = ""
    method: str = ""


def render_images(
    folder: Path, answers: MeasuredAnswers, member: Member, mistakes: Sequence[Mistake], pairs: Sequence[ConfusedPair]
) -> ReportImages:
    """Read the test slices of mistakes and confused pairs, and compute the activation maps of the mistakes.

    Args:
        folder: Folder of the data set.
        answers: Test slices.
        member: Backbone whose activation maps are computed.
        mistakes: Mistakes to show with their maps.
        pairs: Confused pairs to show.
    """
    rows = {mistake.row for mistake in mistakes} | {pair.row for pair in pairs}
    rows |= {pair.correct_row for pair in pairs if pair.correct_row is not None}
    size, channels = member.card.image_size, member.card.channels
    images = answers.iterate_images(folder, rows)
    crops = {row: decode_and_crop(png, size, channels).numpy() for row, png in images}
    slices = {row: encode_png(_thumbnail(crop)) for row, crop in crops.items()}
    if not mistakes:
        return ReportImages(slices)
    batch = np.stack([crops[mistake.row] for mistake in mistakes])
    label = {species: number for number, species in enumerate(member.card.classes)}
    answer = activation_maps(member.network, batch, np.array([label[mistake.answer] for mistake in mistakes]))
    truth = activation_maps(member.network, batch, np.array([label[mistake.truth] for mistake in mistakes]))
    maps = {
        mistake.row: MistakeMaps(_overlay(batch[index], answer.maps[index]), _overlay(batch[index], truth.maps[index]))
        for index, mistake in enumerate(mistakes)
    }
    return ReportImages(slices, maps, member.card.backbone, answer.method)


def _overlay(crop: NDArray[np.uint8], heat: NDArray[np.float32]) -> bytes:
    """Return a PNG of a slice uint8 [S, S, C] under a map float32 [S, S] in 0..1."""
    image = _thumbnail(crop)
    colour = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image
    opacity = _LARGEST_OPACITY * cv2.resize(heat, colour.shape[1::-1], interpolation=cv2.INTER_LINEAR)[..., None]
    return encode_png((colour * (1 - opacity) + _HEAT * opacity).clip(0, 255).astype(np.uint8))


def _thumbnail(crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return uint8 [S, S] or [S, S, 3] with at most LARGEST_EDGE pixels a side."""
    edge = min(len(crop), LARGEST_EDGE)
    small = cv2.resize(crop, (edge, edge), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)
