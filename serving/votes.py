"""What a specimen is, by all of its slices together: in an answer, and in the client for more slices than one holds."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serving.protocol import SIGNATURE, Outputs


@dataclass(frozen=True)
class Vote:
    """The answer for a specimen.

    Attributes:
        species: with the highest mean score.
        confidence: that mean score, 0..1.
        agreement: share of the slices with that answer.
        slices: that took part.
        unknown: whether more than half of them were taken for a species that the model never saw.
    """

    species: str
    confidence: float
    agreement: float
    slices: int
    unknown: bool


def specimen_votes(specimens: Sequence[str], outputs: Outputs, classes: Sequence[str] = ()) -> dict[str, Vote]:
    """Votes for each named specimen by the mean of its slices' scores, as the evaluation does.

    Args:
        specimens: N names; slices with an empty one take part in no vote.
        outputs: of the N slices.
        classes: species in the order of the scores; where they are not known, or are those of a model that another has
            just replaced, only species that were answered can win.
    """
    rows_of: dict[str, list[int]] = {}
    for row, specimen in enumerate(specimens):
        if specimen:
            rows_of.setdefault(specimen, []).append(row)
    answered = dict(zip(outputs.scores.argmax(axis=1).tolist(), outputs.species, strict=True))
    fits = len(classes) == outputs.scores.shape[1] and all(classes[place] == name for place, name in answered.items())
    names = dict(enumerate(classes)) if fits else answered
    return {specimen: _vote(outputs, rows, names) for specimen, rows in rows_of.items()}


def classes_of(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """Reads the species in the order of the scores from the answer to a metadata request.

    Returns:
        What `components.evaluate.export.saved_model` wrote, or () where it did not.
    """
    try:
        signature = metadata["metadata"]["signature_def"]["signature_def"][SIGNATURE]
        return tuple(json.loads(signature["outputs"]["scores"]["tensor_shape"]["dim"][1]["name"]))
    except (LookupError, TypeError, ValueError):
        return ()


def _vote(outputs: Outputs, rows: list[int], names: dict[int, str]) -> Vote:
    mean = outputs.scores[rows].mean(axis=0)
    best = max(names, key=lambda index: mean[index])
    return Vote(
        species=names[best],
        confidence=float(mean[best]),
        agreement=sum(outputs.species[row] == names[best] for row in rows) / len(rows),
        slices=len(rows),
        unknown=bool(outputs.unknown[rows].mean() > 0.5),
    )
