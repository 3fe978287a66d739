"""Model selection: rule and open-set score are fitted on training and validation slices, never on test slices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.evaluate.ensemble.selection import Candidate, Ensemble, calibrate_selected, compare_rules
from components.evaluate.open_set import GreyViews, OpenSetScore, fit_open_set_score, outputs_of_rows
from components.evaluate.predictions import (
    Member,
    MemberPrediction,
    SplitSlices,
    predict_grey,
    predict_outliers,
    predict_rows,
    predict_split,
    read_split,
)
from components.evaluate.specimen_open_set import SlicesOfSpecimens, SpecimenSelection, fit_specimen_threshold
from components.shared.contracts import SlicesInfo
from components.shared.errors import ContractError
from components.shared.slices import spread_rows

MOST_TRAINING_SLICES = 2048
"""Largest size of the feature bank, which is a part of the served model."""

MOST_OUTLIERS = 512
"""Largest number of synthetic outliers of validation slices that select the open-set score."""


@dataclass(frozen=True)
class PredictedSplit:
    """A split that was not used in training, with the predictions of every member.

    Attributes:
        slices: Ids, labels and specimens of the slices.
        predictions: Predictions by backbone.
    """

    slices: SplitSlices
    predictions: Mapping[str, MemberPrediction]

    @property
    def logits(self) -> dict[str, NDArray[np.float32]]:
        """Return the logits float32 [N, K] by backbone."""
        return {name: prediction.logits for name, prediction in self.predictions.items()}

    def embedding(self, ensemble: Ensemble, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the embedding of the ensemble for some slices, float32 [len(rows), D]."""
        return np.concatenate([self.predictions[name].embedding[rows] for name in ensemble.members], axis=1)


@dataclass(frozen=True)
class EvaluationSource:
    """The data set and the backbones of an evaluation.

    Attributes:
        folder: Folder of a data set of segmented slices.
        info: Description of the data set, its `dataset.json`.
        members: Backbones by name.
        scratch: Existing folder for embeddings.
    """

    folder: Path
    info: SlicesInfo
    members: Mapping[str, Member]
    scratch: Path

    def slices(self, split: str) -> SplitSlices:
        """Read ids, labels and specimens of a split.

        Raises:
            ContractError: The split has no slices.
        """
        slices = read_split(self.folder, self.info, split)
        if not len(slices.ids):
            raise ContractError(f"the data set has no {split} slices", "slices in every split", "Add specimens.")
        return slices

    def predict(self, split: str) -> PredictedSplit:
        """Run every member over a split."""
        slices = self.slices(split)
        return PredictedSplit(slices, predict_split(self.folder, split, self.members, len(slices.ids), self.scratch))


@dataclass(frozen=True)
class Selection:
    """The result of model selection.

    Attributes:
        ensemble: Selected rule with its temperature.
        open_set: Selected open-set score with its threshold.
        specimen_open_set: Selected aggregation of the slices' scores with the thresholds for specimens.
        candidates: Rules that were compared, the simplest first.
        validation: Validation slices with the predictions of every member.
        seconds: Time that the networks took for the feature bank and the synthetic outliers.
    """

    ensemble: Ensemble
    open_set: OpenSetScore
    specimen_open_set: SpecimenSelection
    candidates: Sequence[Candidate]
    validation: PredictedSplit
    seconds: float

    def flag_unknown(self, split: PredictedSplit, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return whether each of some slices is flagged as an unknown species, bool [len(rows)]."""
        outputs = outputs_of_rows(self.ensemble, split.predictions, rows)
        return np.asarray(self.open_set.score(outputs) > self.open_set.threshold)


def select_on_validation(source: EvaluationSource) -> Selection:
    """Select the rule and the open-set score, and fit temperature and threshold.

    Args:
        source: Data set and members; only slices of its training and validation splits are read.
    """
    validation = source.predict("validation")
    labels, specimens = validation.slices.labels, validation.slices.specimens
    candidates = compare_rules(validation.logits, labels, specimens)
    ensemble = calibrate_selected(candidates, validation.logits, labels)
    training, voters = source.slices("train"), {name: source.members[name] for name in ensemble.members}
    rows = spread_rows(training.specimens, MOST_TRAINING_SLICES)
    bank = predict_rows(source.folder, "train", rows, voters, source.scratch)
    outlier_rows = spread_rows(specimens, MOST_OUTLIERS)
    outliers = predict_outliers(source.folder, "validation", outlier_rows, voters, source.scratch)
    grey_views = _predict_grey_views(source, voters, rows, len(labels))
    open_set = fit_open_set_score(ensemble, bank, training.at(rows), validation.predictions, outliers, grey_views)
    known_views = [validation.predictions, *([grey_views.validation] if grey_views else [])]
    specimen_open_set = fit_specimen_threshold(
        [SlicesOfSpecimens(open_set.score_split(ensemble, view), specimens) for view in known_views],
        SlicesOfSpecimens(open_set.score_split(ensemble, outliers), specimens[outlier_rows]),
        open_set.threshold,
    )
    samples = (bank, outliers, *((grey_views.training, grey_views.validation) if grey_views else ()))
    seconds = sum(prediction.seconds for sample in samples for prediction in sample.values())
    return Selection(ensemble, open_set, specimen_open_set, candidates, validation, seconds)


def _predict_grey_views(
    source: EvaluationSource, voters: Mapping[str, Member], training_rows: NDArray[np.int64], validation_slices: int
) -> GreyViews | None:
    """Run the voters over grey views, if one of them was trained on grey views of slices in colour."""
    if not any(member.card.channels == 3 and member.card.recipe.get("greyscale") for member in voters.values()):
        return None
    training, validation = (
        predict_grey(source.folder, split, rows, voters, source.scratch)
        for split, rows in (("train", training_rows), ("validation", np.arange(validation_slices)))
    )
    return GreyViews(training, validation)
