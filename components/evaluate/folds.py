"""Cross-validation: the models of all folds, each tested on the specimens of its fold (Stone 1974; Kohavi 1995).

The artifact of a trained backbone has `folds/<k>.npz` for each fold k, written by `components.train.folds`: the logits
of a model that was trained without the specimens of the fold, for these specimens (`test_ids`, `test_logits`) and for
those that its training was selected on (`validation_ids`, `validation_logits`). Rule and temperature are selected for
each fold on its validation logits, so nothing is selected with a slice that it is measured on.
"""

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from components.evaluate.answers import Fold, HeldOut, MeasuredAnswers
from components.evaluate.ensemble.rules import Logits
from components.evaluate.ensemble.selection import Ensemble, calibrate_selected, compare_rules
from components.evaluate.model_selection import EvaluationSource
from components.evaluate.predictions import SplitSlices
from components.shared.errors import ContractError
from components.shared.slices import NO_FOLD, UNSEEN_LABEL, index_columns, read_index

FOLDS_FOLDER = "folds"
KNOWN_SPLITS = ("train", "validation")
_REMEDY = "Train the backbone again on these slices."
_SPARE_BYTES = 2**20
_DAMAGE = (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""Errors of reading a damaged archive; NotImplementedError and an encrypted archive are a RuntimeError."""


@dataclass(frozen=True)
class KnownSlices:
    """The slices of all known species with their folds, in the order of the records of KNOWN_SPLITS.

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
class SplitLogits:
    """Logits of the model of a fold for some slices.

    Attributes:
        ids: Id of each slice, [n].
        logits: Logits of each slice, float32 [n, K].
    """

    ids: NDArray[np.str_]
    logits: Logits


@dataclass(frozen=True)
class FoldPrediction:
    """Logits of one backbone's model of a fold, in the order of the known slices.

    Attributes:
        validation_rows: Rows of the validation slices among the known slices, int64 [M], ascending.
        validation_logits: Their logits, float32 [M, K].
        test_rows: Rows of the fold's slices among the known slices, int64 [N], ascending.
        test_logits: Their logits, float32 [N, K].
    """

    validation_rows: NDArray[np.int64]
    validation_logits: Logits
    test_rows: NDArray[np.int64]
    test_logits: Logits


def cross_validate(source: EvaluationSource, held_out: HeldOut, served: Ensemble) -> MeasuredAnswers:
    """Select rule and temperature for each fold, score its slices, and join the folds.

    Args:
        source: Data set with folds, and backbones whose artifacts have the logits of every fold.
        held_out: Slices on which the served model ran, for the time of the networks.
        served: Rule of the served model, whose networks' time is that of the ensemble.

    Raises:
        ContractError: The index has no valid folds, or the logits of a fold are missing, damaged or of other slices.
    """
    known = read_known_slices(source)
    tested = np.flatnonzero(known.fold != NO_FOLD)
    joined = {name: np.empty((len(known.fold), len(source.info.classes)), np.float32) for name in source.members}
    scores = np.empty((len(known.fold), len(source.info.classes)), np.float32)
    folds = []
    for number in range(known.folds):
        predictions = dict(_read_fold(source, known, number))
        ensemble = select_for_fold(known, predictions)
        rows = next(iter(predictions.values())).test_rows
        scores[rows] = ensemble.scores({name: prediction.test_logits for name, prediction in predictions.items()})
        for name, prediction in predictions.items():
            joined[name][rows] = prediction.test_logits
        folds.append(Fold(number, ensemble, np.searchsorted(tested, rows)))
    slices = known.slices
    return MeasuredAnswers(
        slices=SplitSlices(slices.ids[tested], slices.labels[tested], slices.specimens[tested]),
        splits=KNOWN_SPLITS,
        records=tested,
        scores=scores[tested],
        logits={name: logits[tested] for name, logits in joined.items()},
        milliseconds=held_out.milliseconds(served),
        folds=tuple(folds),
    )


def select_for_fold(known: KnownSlices, predictions: Mapping[str, FoldPrediction]) -> Ensemble:
    """Select rule and temperature on the validation slices of a fold; its test slices are not read.

    Args:
        known: Slices of all known species.
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
    labels = known.slices.labels[rows]
    return calibrate_selected(compare_rules(logits, labels, known.slices.specimens[rows]), logits, labels)


def read_known_slices(source: EvaluationSource) -> KnownSlices:
    """Read the slices of all known species with their folds.

    Raises:
        ContractError: The index has no folds, a fold is empty or outside 0..folds-1, or a specimen is in two folds.
    """
    folds, label = source.info.folds, {name: number for number, name in enumerate(source.info.classes)}
    if "fold" not in index_columns(source.folder):
        raise ContractError(f"{source.folder}: the index has no column fold", "folds", "Create the slices again.")
    parts = [read_index(source.folder, split, ("id", "species", "specimen", "fold")) for split in KNOWN_SPLITS]
    rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0].columns}
    slices = SplitSlices(
        ids=rows["id"].astype(str),
        labels=np.array([label.get(species, UNSEEN_LABEL) for species in rows["species"]], np.int64),
        specimens=rows["specimen"].astype(str),
    )
    known = KnownSlices(slices, rows["fold"].astype(np.int64), folds)
    _check_folds(known)
    return known


def _check_folds(known: KnownSlices) -> None:
    numbers = set(np.unique(known.fold).tolist())
    wrong = sorted(numbers - set(range(NO_FOLD, known.folds)))
    absent = sorted(set(range(known.folds)) - numbers)
    if wrong or absent:
        problem = (
            f"the index has slices of fold {wrong[0]}" if wrong else f"the index has no slices of fold {absent[0]}"
        )
        raise ContractError(problem, f"slices in each of the folds 0 to {known.folds - 1}", "Create the slices again.")
    fold_of: dict[str, int] = {}
    for specimen, fold in zip(known.slices.specimens.tolist(), known.fold.tolist(), strict=True):
        if fold_of.setdefault(specimen, fold) != fold:
            problem = f"specimen {specimen} is in the folds {fold_of[specimen]} and {fold}"
            raise ContractError(problem, "each specimen in one fold", "Create the slices again.")


def _read_fold(source: EvaluationSource, known: KnownSlices, number: int) -> Iterator[tuple[str, FoldPrediction]]:
    """Yield each backbone with the logits of its model of a fold."""
    for name, member in source.members.items():
        if member.card.folds != known.folds:
            problem = f"{name} was trained with {member.card.folds} folds"
            raise ContractError(problem, f"{known.folds} folds, as the data set has", _REMEDY)
        yield name, read_fold(member.folder / FOLDS_FOLDER / f"{number}.npz", known, number, len(source.info.classes))


def read_fold(file: Path, known: KnownSlices, number: int, classes: int) -> FoldPrediction:
    """Read the logits of the model of one fold and check that they are of the right slices.

    Args:
        file: File of the fold.
        known: Slices of all known species.
        number: Number of the fold.
        classes: Number of species.

    Raises:
        ContractError: The file is missing, damaged or too large, a value is not finite, the test slices are not exactly
            those of the fold, or a validation slice is unknown or of the fold.
    """
    arrays = _read_arrays(file, known, classes)
    validation, test = (_split_logits(file, arrays, split, classes) for split in ("validation", "test"))
    own = np.flatnonzero(known.fold == number)
    _check_ids(file, "test", test.ids, known.slices.ids[own], f"the slices of fold {number}")
    if missing := sorted(set(known.slices.ids[own].tolist()) - set(test.ids.tolist())):
        problem = f"{file}: test_ids lacks {_first_of(missing)}"
        raise ContractError(problem, f"the slices of fold {number}, each once", _REMEDY)
    others = known.slices.ids[known.fold != number]
    _check_ids(file, "validation", validation.ids, others, f"slices that are not of fold {number}")
    if not len(validation.ids):
        raise ContractError(f"{file} has no validation slices", "validation slices in every fold", "Add specimens.")
    return FoldPrediction(*_ordered(known, validation), *_ordered(known, test))


def _ordered(known: KnownSlices, split: SplitLogits) -> tuple[NDArray[np.int64], Logits]:
    """Return the rows of slices among the known slices, ascending, and their logits in this order."""
    rows = known.rows_of(split.ids)
    order = np.argsort(rows)
    return rows[order], split.logits[order]


def _check_ids(file: Path, split: str, ids: NDArray[np.str_], allowed: NDArray[np.str_], expectation: str) -> None:
    """Raise ContractError if an id occurs twice or is not among those allowed."""
    names, counts = np.unique(ids, return_counts=True)
    if repeated := names[counts > 1].tolist():
        raise ContractError(
            f"{file}: {split}_ids has {_first_of(repeated)} twice", f"{expectation}, each once", _REMEDY
        )
    if wrong := sorted(set(ids.tolist()) - set(allowed.tolist())):
        raise ContractError(f"{file}: {split}_ids has {_first_of(wrong)}", f"{expectation}, each once", _REMEDY)


def _first_of(names: list[str]) -> str:
    """Return the first name, at most 80 characters of it, and the number of further ones."""
    others = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0][:80]!r}{others}"


def _split_logits(file: Path, arrays: Mapping[str, NDArray[Any]], split: str, classes: int) -> SplitLogits:
    ids, logits = arrays[f"{split}_ids"], arrays[f"{split}_logits"]
    if ids.dtype.kind != "U" or ids.ndim != 1:
        problem = f"{file}: {split}_ids is {ids.dtype} {list(ids.shape)}"
        raise ContractError(problem, "a list of ids as text", _REMEDY)
    if logits.dtype != np.float32 or logits.shape != (len(ids), classes):
        problem = f"{file}: {split}_logits is {logits.dtype} {list(logits.shape)}"
        raise ContractError(problem, f"float32 [{len(ids)}, {classes}]", _REMEDY)
    if not np.isfinite(logits).all():
        raise ContractError(f"{file}: {split}_logits has NaN or infinity", "finite numbers", _REMEDY)
    return SplitLogits(ids, logits)


def _read_arrays(file: Path, known: KnownSlices, classes: int) -> dict[str, NDArray[Any]]:
    """Read the four arrays of a fold, none of them larger than twice what all known slices need."""
    if not file.is_file():
        raise ContractError(f"{file} does not exist", "the logits of every fold", _REMEDY)
    largest = 2 * len(known.fold) * max(4 * classes, known.slices.ids.dtype.itemsize) + _SPARE_BYTES
    names = [f"{split}_{kind}" for split in ("validation", "test") for kind in ("ids", "logits")]
    try:
        with zipfile.ZipFile(file) as archive:
            return {name: _read_array(archive, name, largest) for name in names}
    except _DAMAGE as error:
        reason = " ".join(str(error).split())[:200]
        raise ContractError(f"{file} cannot be read ({reason})", f"the arrays {', '.join(names)}", _REMEDY) from error


def _read_array(archive: zipfile.ZipFile, name: str, largest: int) -> NDArray[Any]:
    """Read an array without pickle; its header has to announce as many bytes as the archive, at most `largest`."""
    entry = archive.getinfo(f"{name}.npy")
    if entry.file_size > largest:
        raise ValueError(f"{name} has {entry.file_size} bytes, more than {largest}")
    with archive.open(entry) as stream:
        shape, dtype = _read_header(stream)
        header = stream.tell()
        if dtype.hasobject or int(np.prod(shape, dtype=object)) * dtype.itemsize != entry.file_size - header:
            raise ValueError(f"{name} announces {dtype} {list(shape)} in {entry.file_size} bytes")
        stream.seek(0)
        return np.asarray(npy_format.read_array(stream, allow_pickle=False))


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return shape and type that the header of an array announces."""
    readers = {(1, 0): npy_format.read_array_header_1_0, (2, 0): npy_format.read_array_header_2_0}
    version = npy_format.read_magic(stream)
    if version not in readers:
        raise ValueError(f"an array of format {version}")
    shape, _, dtype = readers[version](stream)
    return shape, dtype
