"""`folds/<number>.npz` of a trained backbone: the logits of the model of one fold of the cross-validation."""

import io
import zipfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from components.shared.errors import ContractError
from components.shared.files import write_atomically

FOLDS_FOLDER = "folds"
MAX_FOLD_BYTES = 4 * 2**30


@dataclass(frozen=True)
class FoldLogits:
    """Logits of the model of one fold, for slices that it was not trained on.

    Attributes:
        validation_ids: Ids of the fold's validation slices, [V].
        validation_logits: Logits of these slices, float32 [V, K].
        test_ids: Ids of the slices of the specimens that are tested in this fold, [T].
        test_logits: Logits of these slices, float32 [T, K].
    """

    validation_ids: NDArray[np.str_]
    validation_logits: NDArray[np.float32]
    test_ids: NDArray[np.str_]
    test_logits: NDArray[np.float32]

    @classmethod
    def empty(cls, classes: int) -> Self:
        """Return the logits of a fold without slices to test, for which no model is trained."""
        ids, logits = np.empty(0, np.str_), np.empty((0, classes), np.float32)
        return cls(ids, logits, ids, logits)

    def write(self, path: Path) -> None:
        """Write the file atomically."""
        content = io.BytesIO()
        np.savez(content, **{field.name: getattr(self, field.name) for field in fields(self)})
        write_atomically(path, content.getvalue())

    @classmethod
    def read(cls, path: Path, classes: int) -> Self:
        """Read the file of a fold.

        Args:
            path: Path of the file.
            classes: Number of classes of the data set.

        Raises:
            ContractError: The file is missing, too large or damaged, or its arrays have other types or shapes.
        """
        if not path.is_file():
            raise _contract_error(f"{path} does not exist")
        if path.stat().st_size > MAX_FOLD_BYTES:
            raise _contract_error(f"{path} has {path.stat().st_size} bytes")
        try:
            with np.load(path, allow_pickle=False) as arrays:
                logits = cls(**{field.name: arrays[field.name] for field in fields(cls)})
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise _contract_error(f"{path} cannot be read ({error})") from error
        for split, ids, values in (
            ("validation", logits.validation_ids, logits.validation_logits),
            ("test", logits.test_ids, logits.test_logits),
        ):
            if ids.ndim != 1 or ids.dtype.kind != "U" or len(set(ids.tolist())) < len(ids):
                raise _contract_error(f"{path} has {split} ids that are not different texts")
            if values.dtype != np.float32 or values.shape != (len(ids), classes) or not np.isfinite(values).all():
                raise _contract_error(f"{path} has {split} logits of {values.dtype} {values.shape}")
        return logits


def fold_file(folder: Path, fold: int) -> Path:
    """Return the path of a fold's logits in the folder of a trained backbone; folds are numbered from 0."""
    return folder / FOLDS_FOLDER / f"{fold}.npz"


def _contract_error(problem: str) -> ContractError:
    expectation = "the ids and finite logits of a fold's validation and test slices"
    return ContractError(problem, expectation, "Train the backbone again.")
