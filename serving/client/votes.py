"""What a specimen is, by all of its slices together."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from serving.client.endpoint import Prediction


@dataclass(frozen=True)
class Vote:
    """The answer for a specimen.

    Attributes:
        specimen: its name.
        species: with the highest mean score of those that any slice was answered with.
        confidence: that mean score, 0..1.
        agreement: share of the slices with that answer.
        slices: that were answered.
        unknown: whether more than half of them were taken for a species that the model never saw.
    """

    specimen: str
    species: str
    confidence: float
    agreement: float
    slices: int
    unknown: bool


def vote(specimen: str, predictions: Sequence[Prediction]) -> Vote:
    """Votes by the mean of the slices' scores, as the evaluation and the server do.

    The server votes on one request; this is for a specimen with more slices than go into one.

    Args:
        specimen: its name.
        predictions: at least one.
    """
    scores = np.array([prediction.scores for prediction in predictions])
    names = {int(row.argmax()): prediction.species for row, prediction in zip(scores, predictions, strict=True)}
    mean = scores.mean(axis=0)
    best = max(names, key=lambda index: mean[index])
    return Vote(
        specimen=specimen,
        species=names[best],
        confidence=float(mean[best]),
        agreement=float(np.mean([prediction.species == names[best] for prediction in predictions])),
        slices=len(predictions),
        unknown=bool(np.mean([prediction.unknown for prediction in predictions]) > 0.5),
    )
