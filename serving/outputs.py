"""The checked outputs of a served model's signatures: the contract between the graph and the readers of its answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Outputs:
    """Outputs of a signature for N slices and K species.

    Attributes:
        species: Predicted species, N names.
        confidence: Highest score, float32 [N] in 0..1.
        scores: Scores of all species, float32 [N, K].
        unknown: Whether the slice is probably of a species that the model was not trained on, bool [N].
        embedding: Embeddings, float32 [N, D].
        unknown_score: Open-set score, float32 [N]; None for a model of version 0.1.0, which does not report it.
        model: Id of the model that computed the outputs, the same N times; empty for a model without an id.
    """

    species: tuple[str, ...]
    confidence: NDArray[np.float32]
    scores: NDArray[np.float32]
    unknown: NDArray[np.bool_]
    embedding: NDArray[np.float32]
    unknown_score: NDArray[np.float32] | None = None
    model: tuple[str, ...] = ()

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """Return the outputs; a slice with a number that is not finite is unknown, whatever the model reports.

        Args:
            values: N values, or N rows, for each name of REQUIRED_OUTPUTS, and of OPTIONAL_OUTPUTS if the model has it.

        Raises:
            KeyError: An output is missing.
            TypeError: A value is not a number.
            ValueError: The outputs differ in length, are not of the shapes above, or are those of several models.
        """
        present = [name for name in OUTPUTS if name in values or name in REQUIRED_OUTPUTS]
        arrays = {name: np.asarray(values[name], np.float32) for name in present if name in _RANKS}
        shapes = {name: array.shape for name, array in arrays.items()}
        wrong_rank = any(len(shape) != _RANKS[name] for name, shape in shapes.items())
        if wrong_rank or len({len(values[name]) for name in present}) != 1:
            raise ValueError(f"shapes {shapes}")
        finite = [np.isfinite(array).all(axis=tuple(range(1, array.ndim))) for array in arrays.values()]
        unknown = np.asarray(values["unknown"], np.bool_) | ~np.logical_and.reduce(finite)
        model = _model_of(values.get("model", ()))
        return cls(species=tuple(map(str, values["species"])), unknown=unknown, model=model, **arrays)

    @property
    def model_id(self) -> str:
        """Id of the model that computed the outputs; empty if it has none."""
        return self.model[0] if self.model else ""

    def columns(self) -> dict[str, Any]:
        """Return the values of all slices by output, without the outputs that the model does not have."""
        values = {name: getattr(self, name) for name in OUTPUTS}
        absent = {"model": not self.model, "unknown_score": self.unknown_score is None}
        return {name: value for name, value in values.items() if not absent.get(name)}

    def rows(self) -> list[dict[str, Any]]:
        """Return one object of outputs per slice."""
        columns = self.columns()
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


OUTPUTS = tuple(field.name for field in fields(Outputs))
OPTIONAL_OUTPUTS = ("unknown_score", "model")
"""Outputs that models of version 0.1.0 do not have."""
REQUIRED_OUTPUTS = tuple(name for name in OUTPUTS if name not in OPTIONAL_OUTPUTS)
MAX_MODEL_ID_CHARACTERS = 128
_RANKS = {"confidence": 1, "scores": 2, "embedding": 2, "unknown_score": 1}


def _model_of(ids: Sequence[Any]) -> tuple[str, ...]:
    """Return the ids of the rows' models as one model; raises ValueError if the rows name several."""
    models = set(ids)
    if len(models) > 1:
        raise ValueError(f"answers of {len(models)} models in one")
    if any(not isinstance(model, str) or len(model) > MAX_MODEL_ID_CHARACTERS for model in models):
        raise ValueError(f"a model that is not named by a text of at most {MAX_MODEL_ID_CHARACTERS} characters")
    return tuple(ids) if any(models) else ()
