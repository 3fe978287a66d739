"""A cache of features on disk: blocks of rows that are appended, found by the id and the contents of a slice.

A folder contains `<name>.f16`, the rows of each feature one after the other, and `index.jsonl` with a line for each
block of rows, which is appended after the rows are on disk. A killed process leaves at most rows without a line or a
part of a line; both are removed before the next block is appended. A block with a wrong checksum is not used.
"""

import json
import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.shared.errors import TrainingError
from components.shared.files.matrix import FileMatrix
from components.train.recipe import MAX_PROBE_VIEWS

Features = Mapping[str, NDArray[np.float16]]
"""Rows of each feature by its name, float16 [rows, D]."""
INDEX_FILE = "index.jsonl"


@dataclass(frozen=True, order=True)
class Block:
    """Consecutive views of one slice.

    Attributes:
        id: Id of the slice.
        digest: Digest of the encoded slice, so that another image with this id is not taken for it.
        first: Number of the first view.
        count: Number of views.
    """

    id: str
    digest: str
    first: int
    count: int


class FeatureCache:
    """The features in a folder. One process at a time may append; others may read.

    Args:
        folder: Folder of the cache, which is created.
        widths: Number of values of each feature by its name.
    """

    def __init__(self, folder: Path, widths: Mapping[str, int]) -> None:
        self.folder, self.widths = folder, dict(sorted(widths.items()))
        self._first_rows: dict[Block, int] = {}
        self._rows = 0
        folder.mkdir(parents=True, exist_ok=True)
        self._read_index()

    def __contains__(self, block: Block) -> bool:
        return block in self._first_rows

    def __len__(self) -> int:
        return self._rows

    @property
    def row_bytes(self) -> int:
        """Size of the features of one view in bytes."""
        return 2 * sum(self.widths.values())

    def repair(self) -> None:
        """Remove what a killed process left after the last complete block; only the process that appends may call."""
        index = self.folder / INDEX_FILE
        if index.exists():
            os.truncate(index, index.read_bytes().rfind(b"\n") + 1)
        for name, width in self.widths.items():
            with self._file(name).open("ab") as file:
                file.truncate(self._rows * 2 * width)

    def append(self, blocks: Sequence[Block], features: Features) -> None:
        """Append blocks and their rows, which are on disk before the index refers to them.

        Args:
            blocks: Blocks in the order of their rows.
            features: Rows of all blocks.
        """
        for name in self.widths:
            with self._file(name).open("ab") as file:
                file.write(features[name].tobytes())
                file.flush()
                os.fsync(file.fileno())
        lines, start = [], 0
        for block in blocks:
            checksum = _checksum(features[name][start : start + block.count].tobytes() for name in self.widths)
            lines.append(json.dumps([block.id, block.digest, block.first, block.count, checksum]) + "\n")
            self._first_rows[block] = self._rows + start
            start += block.count
        with (self.folder / INDEX_FILE).open("a", encoding="utf-8") as index:
            index.write("".join(lines))
            index.flush()
            os.fsync(index.fileno())
        self._rows += start

    def rows(self, blocks: Sequence[Block]) -> NDArray[np.int64]:
        """Return the rows of blocks that have the same number of views, int64 [blocks, views]."""
        first_rows = np.array([self._first_rows[block] for block in blocks], np.int64)
        return first_rows[:, None] + np.arange(blocks[0].count)

    def matrix(self, name: str) -> FileMatrix:
        """Return the rows of a feature, float16 [rows, D] in a file."""
        return FileMatrix(self._file(name), (self._rows, self.widths[name]), np.float16)

    def _read_index(self) -> None:
        """Read the complete lines of the index, and check the rows of each block.

        Raises:
            TrainingError: A line is not one of an index.
        """
        index = self.folder / INDEX_FILE
        text = index.read_text(encoding="utf-8", errors="replace") if index.exists() else ""
        with ExitStack() as stack:
            files = [stack.enter_context(self._file(name).open("rb")) for name in self.widths] if text else []
            for line in text[: text.rfind("\n") + 1].splitlines():
                block, checksum = self._parse(line)
                widths = zip(files, self.widths.values(), strict=True)
                if _checksum(file.read(2 * width * block.count) for file, width in widths) == checksum:
                    self._first_rows[block] = self._rows
                self._rows += block.count

    def _parse(self, line: str) -> tuple[Block, int]:
        try:
            id_, digest, first, count, checksum = json.loads(line)
            if any(type(number) is not int for number in (first, count, checksum)) or not 0 < count <= MAX_PROBE_VIEWS:
                raise ValueError("a number of views that no slice has")
            return Block(str(id_), str(digest), first, count), checksum
        except (ValueError, TypeError, RecursionError) as error:
            problem = f"{self.folder / INDEX_FILE} has the line {line[:80]!r}"
            raise TrainingError(problem, "an index of features", f"Delete the folder {self.folder}.") from error

    def _file(self, name: str) -> Path:
        file = self.folder / f"{name}.f16"
        file.touch()
        return file


def _checksum(parts: Iterable[bytes]) -> int:
    return reduce(lambda checksum, part: zlib.crc32(part, checksum), parts, 0)
