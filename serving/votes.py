"""Votes for specimens: one prediction from all slices of a specimen.

The server votes within a request; the client votes over more slices than one request holds.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from serving.outputs import Outputs
from serving.protocol import SIGNATURE


@dataclass(frozen=True)
class SpecimenVote:
    """The prediction for a specimen.

    Attributes:
        species: Species with the highest mean score.
        confidence: That mean score, 0..1.
        agreement: Fraction of the slices that are predicted as that species.
        slices: Number of slices.
        unknown: Whether more than half of the slices are of an unknown species.
        model: Id of the model that classified the slices; empty for a model without an id.
    """

    species: str
    confidence: float
    agreement: float
    slices: int
    unknown: bool
    model: str = ""

    def document(self) -> dict[str, Any]:
        """Return the vote as JSON, without `model` if it is empty."""
        return {name: value for name, value in asdict(self).items() if name != "model" or value}


def specimen_votes(specimens: Sequence[str], outputs: Outputs, classes: Sequence[str] = ()) -> dict[str, SpecimenVote]:
    """Return the vote for each named specimen by the mean of its slices' scores, as in the evaluation.

    Args:
        specimens: Names of the N slices' specimens; slices with an empty name are skipped.
        outputs: Outputs of the N slices.
        classes: Species in the order of the scores. If they are unknown, or belong to a model that has just been
            replaced, only the predicted species of the slices can win.
    """
    rows_of: dict[str, list[int]] = {}
    for row, specimen in enumerate(specimens):
        if specimen:
            rows_of.setdefault(specimen, []).append(row)
    predicted_names = dict(zip(outputs.scores.argmax(axis=1).tolist(), outputs.species, strict=True))
    classes_match = len(classes) == outputs.scores.shape[1] and all(
        classes[index] == name for index, name in predicted_names.items()
    )
    names = dict(enumerate(classes)) if classes_match else predicted_names
    return {specimen: _vote(outputs, rows, names) for specimen, rows in rows_of.items()}


def classes_of(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the species in the order of the scores from the answer to a metadata request.

    Returns:
        Species that `components.evaluate.export.saved_model` wrote into the signature, () if there are none.
    """
    try:
        signature = metadata["metadata"]["signature_def"]["signature_def"][SIGNATURE]
        return tuple(json.loads(signature["outputs"]["scores"]["tensor_shape"]["dim"][1]["name"]))
    except (LookupError, TypeError, ValueError):
        return ()


def _vote(outputs: Outputs, rows: list[int], names: dict[int, str]) -> SpecimenVote:
    mean = outputs.scores[rows].mean(axis=0)
    best = max(names, key=lambda index: mean[index])
    return SpecimenVote(
        species=names[best],
        confidence=float(mean[best]),
        agreement=sum(outputs.species[row] == names[best] for row in rows) / len(rows),
        slices=len(rows),
        unknown=bool(outputs.unknown[rows].mean() > 0.5),
        model=outputs.model_id,
    )
