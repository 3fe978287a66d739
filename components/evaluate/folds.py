"""Cross-validation: the models of all folds, each tested on the specimens of its fold (Stone 1974; Kohavi 1995).

The artifact of a trained backbone has `folds/<k>.npz` for each fold k (`components.shared.contracts.fold_logits`): the
logits of a model that was trained without the specimens of the fold, for these specimens and for those that its
training was selected on. Rule and temperature are selected for each fold on its validation logits, so nothing is
selected with a slice that it is measured on.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.evaluate.answers import Fold, HeldOut, MeasuredAnswers
from components.evaluate.ensemble.rules import Logits
from components.evaluate.ensemble.selection import Ensemble, calibrate_selected, compare_rules
from components.evaluate.model_selection import EvaluationSource
from components.evaluate.predictions import SplitSlices
from components.shared.contracts.fold_logits import FoldLogits, fold_file
from components.shared.errors import ContractError
from components.shared.slices import NO_FOLD, SPLITS_WITH_FOLDS, UNSEEN_LABEL, index_columns, read_index

_REMEDY = "Train the backbone again on these slices."


@dataclass(frozen=True)
class FoldIndex:
    """The slices of all species of the model with their folds, in the order of the records of SPLITS_WITH_FOLDS.

    Attributes:
        slices: Ids, labels and specimens.
        fold: Fold of each slice, int64 [N]; NO_FOLD for a slice that no fold tests.
        folds: Number of folds.
    """

    slices: SplitSlices
    fold: NDArray[np.int64]
    folds: int

    def rows_of(self, ids: NDArray[np.str_]) -> NDArray[np.int64]:
        """Return the row of each id; -1 for an id that the data set does not have."""
        row_of = {id_: row for row, id_ in enumerate(self.slices.ids.tolist())}
        return np.array([row_of.get(id_, -1) for id_ in ids.tolist()], np.int64)


@dataclass(frozen=True)
class FoldPrediction:
    """Logits of one backbone's model of a fold, in the order of the fold index.

    Attributes:
        validation_rows: Rows of the validation slices in the index, int64 [M], ascending.
        validation_logits: Their logits, float32 [M, K].
        test_rows: Rows of the fold's slices in the index, int64 [N], ascending.
        test_logits: Their logits, float32 [N, K].
    """

    validation_rows: NDArray[np.int64]
    validation_logits: Logits
    test_rows: NDArray[np.int64]
    test_logits: Logits


def cross_validate(source: EvaluationSource, held_out: HeldOut, served_ensemble: Ensemble) -> MeasuredAnswers:
    """Select rule and temperature for each fold, score its slices, and join the folds.

    Args:
        source: Data set with folds, and backbones whose artifacts have the logits of every fold.
        held_out: Slices on which the served model ran, for the time of the networks.
        served_ensemble: Rule of the served model, whose networks' time is that of the ensemble.

    Raises:
        ContractError: The index has no valid folds, or the logits of a fold are missing, damaged or of other slices.
    """
    index = read_fold_index(source)
    tested_rows = np.flatnonzero(index.fold != NO_FOLD)
    all_logits = {name: np.empty((len(index.fold), len(source.info.classes)), np.float32) for name in source.members}
    scores = np.empty((len(index.fold), len(source.info.classes)), np.float32)
    folds = []
    for number in range(index.folds):
        predictions = dict(_read_fold(source, index, number))
        rows = next(iter(predictions.values())).test_rows
        if not len(rows):
            continue
        ensemble = select_for_fold(index, predictions)
        scores[rows] = ensemble.scores({name: prediction.test_logits for name, prediction in predictions.items()})
        for name, prediction in predictions.items():
            all_logits[name][rows] = prediction.test_logits
        folds.append(Fold(number, ensemble, np.searchsorted(tested_rows, rows)))
    if not folds:
        raise ContractError("no specimen is tested in a fold", "species with specimens in two folds", "Add specimens.")
    slices = index.slices
    return MeasuredAnswers(
        slices=SplitSlices(slices.ids[tested_rows], slices.labels[tested_rows], slices.specimens[tested_rows]),
        splits=SPLITS_WITH_FOLDS,
        records=tested_rows,
        scores=scores[tested_rows],
        logits={name: logits[tested_rows] for name, logits in all_logits.items()},
        milliseconds=held_out.milliseconds(served_ensemble),
        folds=tuple(folds),
        untested_specimens=len(np.unique(slices.specimens[index.fold == NO_FOLD])),
    )


def select_for_fold(index: FoldIndex, predictions: Mapping[str, FoldPrediction]) -> Ensemble:
    """Select rule and temperature on the validation slices of a fold; its test slices are not read.

    Args:
        index: Slices of all species of the model with their folds.
        predictions: Logits of the models of the fold, by backbone.

    Raises:
        ContractError: The backbones have different validation slices.
    """
    rows = next(iter(predictions.values())).validation_rows
    for name, prediction in predictions.items():
        if not np.array_equal(prediction.validation_rows, rows):
            problem = f"{name} has other validation slices than {next(iter(predictions))}"
            raise ContractError(problem, "the same validation slices of a fold for all backbones", _REMEDY)
    logits = {name: prediction.validation_logits for name, prediction in predictions.items()}
    labels = index.slices.labels[rows]
    return calibrate_selected(compare_rules(logits, labels, index.slices.specimens[rows]), logits, labels)


def read_fold_index(source: EvaluationSource) -> FoldIndex:
    """Read the slices of all species of the model with their folds.

    Raises:
        ContractError: The index has no folds, a fold is outside 0..folds-1, or a specimen is in two folds.
    """
    folds, label = source.info.folds, {name: number for number, name in enumerate(source.info.classes)}
    if "fold" not in index_columns(source.folder):
        raise ContractError(f"{source.folder}: the index has no column fold", "folds", "Create the slices again.")
    parts = [read_index(source.folder, split, ("id", "species", "specimen", "fold")) for split in SPLITS_WITH_FOLDS]
    rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0].columns}
    slices = SplitSlices(
        ids=rows["id"].astype(str),
        labels=np.array([label.get(species, UNSEEN_LABEL) for species in rows["species"]], np.int64),
        specimens=rows["specimen"].astype(str),
    )
    index = FoldIndex(slices, rows["fold"].astype(np.int64), folds)
    _check_folds(index)
    return replace(index, fold=_without_species_of_one_fold(index))


def _without_species_of_one_fold(index: FoldIndex) -> NDArray[np.int64]:
    """Return the fold of each slice, NO_FOLD for a species of one fold: a model cannot know it without this fold."""
    fold = index.fold.copy()
    for label in np.unique(index.slices.labels):
        own = index.slices.labels == label
        if len(np.unique(fold[own])) == 1:
            fold[own] = NO_FOLD
    return fold


def _check_folds(index: FoldIndex) -> None:
    """Raise ContractError for wrong folds; a fold is empty if all slices of its specimens were dropped."""
    if wrong := sorted(set(np.unique(index.fold).tolist()) - set(range(NO_FOLD, index.folds))):
        problem, expectation = f"the index has slices of fold {wrong[0]}", f"the folds 0 to {index.folds - 1}"
        raise ContractError(problem, expectation, "Create the slices again.")
    fold_of: dict[str, int] = {}
    for specimen, fold in zip(index.slices.specimens.tolist(), index.fold.tolist(), strict=True):
        if fold_of.setdefault(specimen, fold) != fold:
            problem = f"specimen {specimen} is in the folds {fold_of[specimen]} and {fold}"
            raise ContractError(problem, "each specimen in one fold", "Create the slices again.")


def _read_fold(source: EvaluationSource, index: FoldIndex, number: int) -> Iterator[tuple[str, FoldPrediction]]:
    """Yield each backbone with the logits of its model of a fold."""
    for name, member in source.members.items():
        if member.card.folds != index.folds:
            problem = f"{name} was trained with {member.card.folds} folds"
            raise ContractError(problem, f"{index.folds} folds, as the data set has", _REMEDY)
        yield name, read_fold(fold_file(member.folder, number), index, number, len(source.info.classes))


def read_fold(file: Path, index: FoldIndex, number: int, classes: int) -> FoldPrediction:
    """Read the logits of the model of one fold and check that they are of the right slices.

    Args:
        file: File of the fold.
        index: Slices of all species of the model with their folds.
        number: Number of the fold.
        classes: Number of species.

    Raises:
        ContractError: As in `FoldLogits.read`, or the test slices are not exactly those of the fold, or a validation
            slice is unknown or of the fold.
    """
    logits, ids = FoldLogits.read(file, classes), index.slices.ids
    own = ids[index.fold == number]
    _check_ids(file, "test", logits.test_ids, own, f"the slices of fold {number}")
    if absent := sorted(set(own.tolist()) - set(logits.test_ids.tolist())):
        problem = f"{file} lacks the test id {_first_of(absent)}"
        raise ContractError(problem, f"the slices of fold {number}", _REMEDY)
    others = ids[index.fold != number]
    _check_ids(file, "validation", logits.validation_ids, others, f"slices that are not of fold {number}")
    if len(own) and not len(logits.validation_ids):
        raise ContractError(f"{file} has no validation slices", "validation slices in every fold", "Add specimens.")
    validation = _ordered(index, logits.validation_ids, logits.validation_logits)
    return FoldPrediction(*validation, *_ordered(index, logits.test_ids, logits.test_logits))


def _ordered(index: FoldIndex, ids: NDArray[np.str_], logits: Logits) -> tuple[NDArray[np.int64], Logits]:
    """Return the rows of slices in the index, ascending, and their logits in this order."""
    rows = index.rows_of(ids)
    order = np.argsort(rows)
    return rows[order], logits[order]


def _check_ids(file: Path, split: str, ids: NDArray[np.str_], choices: NDArray[np.str_], expectation: str) -> None:
    """Raise ContractError if an id is not among those allowed."""
    if wrong := sorted(set(ids.tolist()) - set(choices.tolist())):
        raise ContractError(f"{file} has the {split} id {_first_of(wrong)}", expectation, _REMEDY)


def _first_of(names: list[str]) -> str:
    """Return the first name, at most 80 characters of it, and the number of further ones."""
    others = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0][:80]!r}{others}"
