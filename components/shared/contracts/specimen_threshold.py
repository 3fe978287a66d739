"""The flag of a specimen of an unknown species: how its slices' open-set scores are combined, and from which value on.

The evaluation fits it, the model card contains it, and the served model's signatures contain it as JSON, so that server
and client flag specimens alike, also with TensorFlow Serving, whose metadata describe nothing but signatures.
"""

import json
from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, FiniteFloat, PositiveInt, model_validator

from components.shared.contracts.document import Document
from components.shared.errors import ContractError

UNKNOWN_SHARE = 0.05
"""Share of the known specimens that may be flagged as unknown."""

MOST_COUNTS, MOST_CHARACTERS = 32, 2**14
"""Largest number of slice counts with a threshold, and of characters of the document in a signature."""

Values = NDArray[np.float64]
Aggregation = Callable[[Values, float, float], Values]
"""Function of slice scores [..., n], the level and the scale that returns one value for the last axis."""


def _mean(scores: Values, _level: float, _scale: float) -> Values:
    return np.asarray(scores.mean(axis=-1))


def _median(scores: Values, _level: float, _scale: float) -> Values:
    return np.asarray(np.median(scores, axis=-1))


def _lower_quarter(scores: Values, _level: float, _scale: float) -> Values:
    return np.asarray(np.sort(scores, axis=-1)[..., : _quarter(scores)].mean(axis=-1))


def _upper_quarter(scores: Values, _level: float, _scale: float) -> Values:
    return np.asarray(np.sort(scores, axis=-1)[..., -_quarter(scores) :].mean(axis=-1))


def _quarter(scores: Values) -> int:
    return -(-scores.shape[-1] // 4)


def _share_above(scores: Values, level: float, _scale: float) -> Values:
    return np.asarray((scores > level).mean(axis=-1))


def _squashed_mean(scores: Values, level: float, scale: float) -> Values:
    return np.asarray((0.5 + 0.5 * np.tanh((scores - level) / (2 * scale))).mean(axis=-1))


AGGREGATIONS: dict[str, Aggregation] = {
    "mean": _mean,
    "median": _median,
    "squashed_mean": _squashed_mean,
    "share_above": _share_above,
    "upper_quarter": _upper_quarter,
    "lower_quarter": _lower_quarter,
}
"""Aggregations by name, the simplest first: mean, median, mean of a logistic function of the scores, share of the
slices above the level, and means of the highest and of the lowest quarter of the scores."""


class SpecimenThreshold(Document):
    """The aggregation of slice scores with the thresholds above which a specimen is flagged as unknown.

    Attributes:
        aggregation: Name of the aggregation in AGGREGATIONS.
        level: Score above which a slice is flagged, with which `share_above` and `squashed_mean` compare.
        scale: Width of the logistic function of `squashed_mean`.
        lowest: Slice scores below this value count as this value.
        highest: Slice scores above this value, and scores that are not numbers, count as this value, so that no single
            slice outweighs all others.
        slices: Numbers of slices with a threshold, ascending from 1.
        thresholds: Threshold of the aggregate at each of these numbers.
        specimens: Number of validation specimens from which the thresholds were fitted.
        flagged_known: Largest expected share of known specimens that are flagged, 0..1.
        model_id: Id of the model whose slice scores are meant; empty in the model card.
    """

    SCHEMA: ClassVar[str] = "taxonflow.specimen-threshold/1"

    aggregation: str
    level: FiniteFloat
    scale: Annotated[FiniteFloat, Field(gt=0)]
    lowest: FiniteFloat
    highest: FiniteFloat
    slices: Annotated[tuple[PositiveInt, ...], Field(min_length=1, max_length=MOST_COUNTS)]
    thresholds: tuple[FiniteFloat, ...]
    specimens: PositiveInt
    flagged_known: Annotated[FiniteFloat, Field(ge=0, le=1)]
    model_id: str = ""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.aggregation not in AGGREGATIONS:
            raise ValueError(f"aggregation {self.aggregation[:64]!r}, expected one of {', '.join(AGGREGATIONS)}")
        if len(self.thresholds) != len(self.slices):
            raise ValueError(f"{len(self.thresholds)} thresholds for {len(self.slices)} numbers of slices")
        if self.slices[0] != 1 or list(self.slices) != sorted(set(self.slices)):
            raise ValueError("numbers of slices that do not ascend from 1")
        if self.lowest > self.highest:
            raise ValueError("a lowest slice score above the highest")
        return self

    def of_model(self, model_id: str) -> Self:
        """Return the same aggregation and thresholds with the id of their model."""
        return self.model_copy(update={"model_id": model_id})

    def to_name(self) -> str:
        """Return the document as one line of JSON, which `from_name` parses."""
        return json.dumps({"schema": self.SCHEMA, **self.model_dump(mode="json")}, separators=(",", ":"))

    @classmethod
    def from_name(cls, name: object) -> Self | None:
        """Parse the name of a dimension; return None if it is no such document, as that of a model without one."""
        if not isinstance(name, str) or not name or len(name) > MOST_CHARACTERS:
            return None
        try:
            return cls.parse(name, "the name of a dimension")
        except ContractError:
            return None

    def aggregate(self, scores: NDArray[Any] | Sequence[float]) -> Values:
        """Return the aggregate of slice scores [..., n] over the last axis."""
        values = np.nan_to_num(np.asarray(scores, np.float64), nan=self.highest)
        return AGGREGATIONS[self.aggregation](np.clip(values, self.lowest, self.highest), self.level, self.scale)

    def threshold(self, slices: int) -> float:
        """Return the threshold for a number of slices, interpolated in its logarithm and constant above the last."""
        return float(np.interp(np.log(slices), np.log(self.slices), self.thresholds))

    def score(self, scores: NDArray[Any] | Sequence[float]) -> float:
        """Return the open-set score of a specimen: the aggregate minus the threshold for its number of slices.

        Args:
            scores: Open-set scores of its slices, at least one.

        Returns:
            The score; a specimen with a score above 0 is flagged as unknown.
        """
        return float(self.aggregate(scores)) - self.threshold(len(scores))
