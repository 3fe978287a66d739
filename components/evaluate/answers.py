"""The answers that an evaluation measures, and the slices on which the served model is compared with others.

Without folds both are the test split. With folds the measured answers are those of the folds' models for every specimen
(`components.evaluate.folds`), and the served model is compared on the validation split, on which it was not trained.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.evaluate.ensemble.selection import Ensemble
from components.evaluate.model_selection import EvaluationSource, PredictedSplit, Selection
from components.evaluate.predictions import SplitSlices, iterate_records
from components.shared.metrics import Scores
from components.shared.slices import held_out_split, shards_of

ENSEMBLE = "ensemble"


@dataclass(frozen=True)
class HeldOut:
    """Slices that the served model was not trained on, with its predictions.

    Attributes:
        split: Name of the split: "test", or "validation" for a data set with folds.
        outputs: Slices with the predictions of every member.
        scores: Scores of the served model, float32 [N, K].
    """

    split: str
    outputs: PredictedSplit
    scores: Scores

    @property
    def slices(self) -> SplitSlices:
        """Ids, labels and specimens of the slices."""
        return self.outputs.slices

    def milliseconds(self, ensemble: Ensemble) -> dict[str, float]:
        """Return the time of each network, and of the ensemble's, for one slice."""
        seconds = {name: prediction.seconds for name, prediction in self.outputs.predictions.items()}
        seconds[ENSEMBLE] = sum(seconds[name] for name in ensemble.members)
        return {name: 1000 * value / len(self.scores) for name, value in seconds.items()}


@dataclass(frozen=True)
class Fold:
    """A fold of cross-validation.

    Attributes:
        number: Number of the fold, from 0.
        ensemble: Rule and temperature, selected on the validation slices of the fold.
        rows: Rows of the fold's slices among the tested slices, int64 [n].
    """

    number: int
    ensemble: Ensemble
    rows: NDArray[np.int64]


@dataclass(frozen=True)
class MeasuredAnswers:
    """Answers for slices that the answering models were neither trained nor selected on.

    Attributes:
        slices: Ids, labels and specimens of the tested slices.
        splits: Splits whose records contain these slices.
        records: Number of each slice among the records of these splits, int64 [N], ascending.
        scores: Scores of the ensemble, float32 [N, K].
        logits: Logits of each backbone, float32 [N, K].
        milliseconds: Time for one slice by backbone, and of the ensemble under ENSEMBLE.
        folds: Folds of cross-validation; empty if the served model itself answered.
        untested_specimens: Number of known specimens that no fold tests.
    """

    slices: SplitSlices
    splits: tuple[str, ...]
    records: NDArray[np.int64]
    scores: Scores
    logits: Mapping[str, NDArray[np.float32]]
    milliseconds: Mapping[str, float]
    folds: tuple[Fold, ...] = ()
    untested_specimens: int = 0

    def iterate_images(self, folder: Path, rows: Collection[int]) -> Iterator[tuple[int, bytes]]:
        """Yield (row, encoded slice) for some rows of the tested slices, in their order, one at a time.

        Args:
            folder: Folder of the data set.
            rows: Rows of the slices, 0..N-1.
        """
        row_of = {int(self.records[row]): row for row in rows}
        shards = chain.from_iterable(shards_of(folder, split) for split in self.splits)
        for record, image in iterate_records(shards, row_of):
            yield row_of[record], image


def predict_held_out(source: EvaluationSource, selection: Selection) -> HeldOut:
    """Return the slices that the served model was not trained on; a test split is read here for the first time."""
    split = held_out_split(source.info)
    outputs = selection.validation if split == "validation" else source.predict(split)
    return HeldOut(split, outputs, selection.ensemble.scores(outputs.logits))


def answers_of_test_split(held_out: HeldOut, ensemble: Ensemble) -> MeasuredAnswers:
    """Return the answers of the served model for the test split."""
    return MeasuredAnswers(
        slices=held_out.slices,
        splits=(held_out.split,),
        records=np.arange(len(held_out.scores)),
        scores=held_out.scores,
        logits=held_out.outputs.logits,
        milliseconds=held_out.milliseconds(ensemble),
    )
