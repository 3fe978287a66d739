"""Votes for specimens: one prediction from all slices of a specimen.

The server votes within a request; the client votes over more slices than one request holds.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.shared.contracts.specimen_threshold import SpecimenThreshold
from serving.outputs import Outputs
from serving.protocol import SIGNATURE


@dataclass(frozen=True)
class ModelDescription:
    """What the votes need of a model besides its outputs.

    Attributes:
        classes: Species in the order of the scores. If they are unknown, or belong to a model that has just been
            replaced, only the predicted species of the slices can win.
        thresholds: Aggregation and thresholds by which specimens are flagged as unknown, by id of their model. If those
            of the model that answered are unknown, a specimen is flagged if more than half of its slices are.
    """

    classes: tuple[str, ...] = ()
    thresholds: Mapping[str, SpecimenThreshold] = field(default_factory=dict)


@dataclass(frozen=True)
class SpecimenVote:
    """The prediction for a specimen.

    Attributes:
        species: Species with the highest mean score.
        confidence: That mean score, 0..1.
        agreement: Fraction of the slices that are predicted as that species.
        slices: Number of slices.
        unknown: Whether the specimen is probably of a species that the model was not trained on.
        unknown_score: Open-set score of the specimen, above 0 if it is flagged as unknown; None from a model without
            thresholds for specimens.
        model: Id of the model that classified the slices; empty for a model without an id.
    """

    species: str
    confidence: float
    agreement: float
    slices: int
    unknown: bool
    unknown_score: float | None = None
    model: str = ""

    def document(self) -> dict[str, Any]:
        """Return the vote as JSON, without the fields that the model does not report."""
        return {name: value for name, value in asdict(self).items() if value not in (None, "")}


def specimen_votes(
    specimens: Sequence[str], outputs: Outputs, description: ModelDescription
) -> dict[str, SpecimenVote]:
    """Return the vote for each named specimen by the mean of its slices' scores, as in the evaluation.

    Args:
        specimens: Names of the N slices' specimens; slices with an empty name are skipped.
        outputs: Outputs of the N slices.
        description: Species and thresholds of the model.
    """
    classes = description.classes
    rows_of: dict[str, list[int]] = {}
    for row, specimen in enumerate(specimens):
        if specimen:
            rows_of.setdefault(specimen, []).append(row)
    predicted_names = dict(zip(outputs.scores.argmax(axis=1).tolist(), outputs.species, strict=True))
    classes_match = len(classes) == outputs.scores.shape[1] and all(
        classes[index] == name for index, name in predicted_names.items()
    )
    names = dict(enumerate(classes)) if classes_match else predicted_names
    threshold = description.thresholds.get(outputs.model_id)
    return {specimen: _vote(outputs, rows, names, threshold) for specimen, rows in rows_of.items()}


def describe_model(metadata: Mapping[str, Any]) -> ModelDescription:
    """Return the species and the specimens' thresholds from the answer to a metadata request."""
    threshold = SpecimenThreshold.from_name(_dimension_name(metadata, "unknown_score", 0))
    return ModelDescription(classes_of(metadata), {threshold.model_id: threshold} if threshold else {})


def classes_of(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the species in the order of the scores from the answer to a metadata request.

    Returns:
        Species that `components.evaluate.export.saved_model` wrote into the signature, () if there are none.
    """
    try:
        return tuple(json.loads(_dimension_name(metadata, "scores", 1)))
    except (TypeError, ValueError):
        return ()


def _dimension_name(metadata: Mapping[str, Any], output: str, dimension: int) -> Any:
    """Return the name of a dimension of an output in the answer to a metadata request, None if there is none."""
    try:
        signature = metadata["metadata"]["signature_def"]["signature_def"][SIGNATURE]
        return signature["outputs"][output]["tensor_shape"]["dim"][dimension]["name"]
    except (LookupError, TypeError):
        return None


def _vote(
    outputs: Outputs, rows: list[int], names: dict[int, str], threshold: SpecimenThreshold | None
) -> SpecimenVote:
    mean = outputs.scores[rows].mean(axis=0)
    best = max(names, key=lambda index: mean[index])
    score = threshold.score(_slice_scores(outputs)[rows]) if threshold and outputs.unknown_score is not None else None
    return SpecimenVote(
        species=names[best],
        confidence=float(mean[best]),
        agreement=sum(outputs.species[row] == names[best] for row in rows) / len(rows),
        slices=len(rows),
        unknown=bool(outputs.unknown[rows].mean() > 0.5) if score is None else score > 0,
        unknown_score=score,
        model=outputs.model_id,
    )


def _slice_scores(outputs: Outputs) -> NDArray[np.float64]:
    """Return the open-set score of each slice; NaN, which counts as the highest, for one that is not finite."""
    rows = (outputs.confidence[:, None], outputs.scores, outputs.embedding)
    is_finite = np.logical_and.reduce([np.isfinite(values).all(axis=1) for values in rows])
    return np.where(is_finite, np.asarray(outputs.unknown_score, np.float64), np.nan)
