"""What is chosen: everything comes from training and validation slices, and no test slice is read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.evaluate.ensemble.calibration import Ensemble, choose_ensemble
from components.evaluate.ensemble.selection import Candidate, compare_rules
from components.evaluate.open_set import UnknownScore, answers_to, fit_unknown
from components.evaluate.predictions import (
    Member,
    Prediction,
    SplitSlices,
    predict_rows,
    predict_split,
    predict_swapped,
    slices_of,
)
from components.shared.contracts import SlicesInfo
from components.shared.errors import ContractError
from components.shared.slices import spread_rows

MOST_TRAINING_SLICES = 2048
"""Training slices that unknown species are told by; they travel in the served model."""

MOST_SWAPPED_SLICES = 512


@dataclass(frozen=True)
class HeldOut:
    """A split that training did not see, with what every member says about it.

    Attributes:
        slices: ids, labels, specimens.
        predictions: by backbone.
    """

    slices: SplitSlices
    predictions: Mapping[str, Prediction]

    @property
    def logits(self) -> dict[str, NDArray[np.float32]]:
        """Logits float32 [N, K] by backbone."""
        return {name: prediction.logits for name, prediction in self.predictions.items()}

    def embedding(self, ensemble: Ensemble, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The embedding of the ensemble for some slices, float32 [len(rows), D]."""
        return np.concatenate([self.predictions[name].embedding[rows] for name in ensemble.members], axis=1)


@dataclass(frozen=True)
class Source:
    """What is evaluated.

    Attributes:
        folder: a data set of segmented slices.
        info: its `dataset.json`.
        members: the backbones by name.
        scratch: an existing folder for embeddings.
    """

    folder: Path
    info: SlicesInfo
    members: Mapping[str, Member]
    scratch: Path

    def slices(self, split: str) -> SplitSlices:
        """Reads ids, labels and specimens of a split.

        Raises:
            ContractError: there are no slices in it.
        """
        slices = slices_of(self.folder, self.info, split)
        if not len(slices.ids):
            raise ContractError(f"the data set has no {split} slices", "some of every split", "Add specimens.")
        return slices

    def predict(self, split: str) -> HeldOut:
        """Asks every member about a split."""
        slices = self.slices(split)
        return HeldOut(slices, predict_split(self.folder, split, self.members, len(slices.ids), self.scratch))


@dataclass(frozen=True)
class Choice:
    """What was chosen on validation slices.

    Attributes:
        ensemble: rule and temperature.
        unknown: score and threshold of unknown species.
        candidates: the rules that were tried, the simplest first.
        validation: the validation slices and what every member says about them.
        seconds: that the networks worked on further slices than the validation split's.
    """

    ensemble: Ensemble
    unknown: UnknownScore
    candidates: Sequence[Candidate]
    validation: HeldOut
    seconds: float

    def calls_unknown(self, held_out: HeldOut, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether some slices are taken for species that the model never saw, bool [len(rows)]."""
        answers = answers_to(self.ensemble, held_out.predictions, rows)
        return np.asarray(self.unknown.of_answers(answers) > self.unknown.threshold)


def choose_on_validation(source: Source) -> Choice:
    """Chooses rule, temperature, score of unknown species and its threshold; no test slice is read.

    Args:
        source: data set and members; only slices of its training and validation split are read.
    """
    validation = source.predict("validation")
    labels, specimens = validation.slices.labels, validation.slices.specimens
    candidates = compare_rules(validation.logits, labels, specimens)
    ensemble = choose_ensemble(candidates, validation.logits, labels)
    training, voting = source.slices("train"), {name: source.members[name] for name in ensemble.members}
    rows = spread_rows(training.specimens, MOST_TRAINING_SLICES)
    known = predict_rows(source.folder, "train", rows, voting, source.scratch)
    some = spread_rows(specimens, MOST_SWAPPED_SLICES)
    swapped = predict_swapped(source.folder, "validation", some, voting, source.scratch)
    unknown = fit_unknown(ensemble, known, training.labels[rows], validation.predictions, swapped)
    seconds = sum(said.seconds for sample in (known, swapped) for said in sample.values())
    return Choice(ensemble, unknown, candidates, validation, seconds)
