"""A matrix in a file, of which only the requested rows are in memory."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


class FileMatrix:
    """A matrix [N, D] in a file.

    It is not a memory map, since the system counts every page that was read as memory of the process.

    Args:
        path: Path of the file, which contains the rows one after the other.
        shape: Number of rows and columns.
        dtype: Type of the elements.
    """

    def __init__(self, path: Path, shape: tuple[int, int], dtype: DTypeLike = np.float32) -> None:
        self.path, self.shape, self.dtype = path, shape, np.dtype(dtype)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray[Any]:
        numbers = np.arange(len(self))[rows]
        matrix = np.empty((len(numbers), self.shape[1]), self.dtype)
        with self.path.open("rb", buffering=0) as file:
            for row, number in enumerate(numbers.tolist()):
                file.seek(number * matrix.itemsize * self.shape[1])
                file.readinto(matrix[row])
        return matrix

    def __array__(self, dtype: type | None = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype=dtype)
