"""`folds/<number>.npz` of a trained backbone: the logits of the model of one fold of the cross-validation."""

import io
import zipfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from components.shared.errors import ContractError
from components.shared.files import write_atomically

FOLDS_FOLDER = "folds"
MAX_FOLD_BYTES = 4 * 2**30
_DAMAGE = (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile)
"""Errors of reading a damaged archive, or one that is encrypted (RuntimeError)."""


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
            with zipfile.ZipFile(path) as archive:
                logits = cls(**{field.name: _read_array(archive, field.name) for field in fields(cls)})
        except _DAMAGE as error:
            reason = " ".join(str(error).split())[:200]
            raise _contract_error(f"{path} cannot be read ({reason})") from error
        for split, ids, values in (
            ("validation", logits.validation_ids, logits.validation_logits),
            ("test", logits.test_ids, logits.test_logits),
        ):
            if ids.ndim != 1 or ids.dtype.kind != "U":
                raise _contract_error(f"{path} has {split} ids of {ids.dtype} {ids.shape}")
            names, counts = np.unique(ids, return_counts=True)
            if duplicates := names[counts > 1].tolist():
                raise _contract_error(f"{path} has the {split} id {duplicates[0][:80]!r} twice")
            if values.dtype != np.float32 or values.shape != (len(ids), classes) or not np.isfinite(values).all():
                problem = "that are not finite" if np.shape(values) == (len(ids), classes) else f"{values.shape}"
                raise _contract_error(f"{path} has {split} logits {values.dtype} {problem}")
        return logits


def _read_array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """Read an array without pickle; it is not compressed, and its header announces the bytes that follow.

    Raises:
        ValueError: The array is compressed, of another size than its header announces, or has objects.
    """
    entry = archive.getinfo(f"{name}.npy")
    if entry.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed")
    with archive.open(entry) as stream:
        shape, dtype = _read_header(stream)
        if dtype.hasobject or int(np.prod(shape, dtype=object)) * dtype.itemsize != entry.file_size - stream.tell():
            raise ValueError(f"{name} announces {dtype} {shape} in {entry.file_size} bytes")
        stream.seek(0)
        return np.asarray(npy_format.read_array(stream, allow_pickle=False))


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return the shape and the type that the header of an array announces."""
    readers = {(1, 0): npy_format.read_array_header_1_0, (2, 0): npy_format.read_array_header_2_0}
    version = npy_format.read_magic(stream)
    if version not in readers:
        raise ValueError(f"an array of format {version}")
    shape, _, dtype = readers[version](stream)
    return shape, dtype


def fold_file(folder: Path, fold: int) -> Path:
    """Return the path of a fold's logits in the folder of a trained backbone; folds are numbered from 0."""
    return folder / FOLDS_FOLDER / f"{fold}.npz"


def _contract_error(problem: str) -> ContractError:
    expectation = "the ids and finite logits of a fold's validation and test slices"
    return ContractError(problem, expectation, "Train the backbone again.")
