"""The data set of slices: `dataset.json`, `index.parquet`, `slices-<split>-<number>.tfrecord`.

A record is a `tf.train.Example` of `image` (a lossless PNG), `label` (int64) and `id`. The split `unseen` contains
species outside the classes, labelled UNSEEN_LABEL; no model is trained, selected or gated on it. A data set for
cross-validation has no split `test`; the column `fold` of its index has the fold in which a specimen is tested, and
NO_FOLD for specimens that are never tested: those of unseen species, and those that every fold trains on. A shard has
SHARD_SLICES records of one split in the order in which they were added; its bytes depend only on the slices.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components.shared.contracts import SlicesInfo, SplitCount
from components.shared.errors import ContractError
from components.shared.files.arrow import record_batch
from components.shared.tfrecord import RecordWriter, decode_example, encode_example, read_records

if TYPE_CHECKING:
    import pandas as pd
    import tensorflow as tf

SPLITS = ("train", "validation", "test")
SPLITS_WITH_FOLDS = ("train", "validation")
"""Splits of a data set with folds."""
UNSEEN, UNSEEN_LABEL = "unseen", -1
NO_FOLD = -1
SHARD_SLICES = 2048
INFO_FILE, INDEX_FILE = "dataset.json", "index.parquet"
ROW_GROUP_SIZE = 4096


@dataclass(frozen=True)
class Slice:
    """One slice with its metadata.

    Attributes:
        id: Id of the slice, unique in the data set.
        species: One of the classes, or any other species in the split UNSEEN.
        specimen: Individual that the slice shows.
        split: One of SPLITS, or UNSEEN.
        plane: Description of the cutting plane.
        foreground_ratio: Share of the frame that the specimen covers, 0..1.
        spacing_mm: Size of a pixel, 0 if unknown.
        descriptors: `components.shared.images.descriptors.describe` of a segmented slice; empty for a raw slice.
        png: Image as PNG.
        fold: Fold in which the specimen is tested, or NO_FOLD; None in a data set without folds.
    """

    id: str
    species: str
    specimen: str
    split: str
    plane: str
    foreground_ratio: float
    spacing_mm: float
    descriptors: Mapping[str, float]
    png: bytes
    fold: int | None = None


class SlicesWriter:
    """A writer of a data set of slices, slice by slice, in constant memory.

    Use it as a context manager; `finish` writes `dataset.json` last.

    Args:
        folder: Existing empty folder.
        classes: Species in the order of their labels.
    """

    def __init__(self, folder: Path, classes: Iterable[str]) -> None:
        self.folder = folder
        self.label = {species: number for number, species in enumerate(classes)}
        self._written: Counter[str] = Counter()
        self._shards: dict[str, RecordWriter] = {}
        self._rows: list[dict[str, Any]] = []
        self._index: pq.ParquetWriter | None = None
        self._slices: Counter[tuple[str, str]] = Counter()
        self._specimens: defaultdict[tuple[str, str], set[str]] = defaultdict(set)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for shard in self._shards.values():
            shard.close()
        if self._index:
            self._index.close()

    def add(self, item: Slice) -> None:
        """Append a slice to the shard of its split and to the index."""
        number, position = divmod(self._written[item.split], SHARD_SLICES)
        shard = shard_name(item.split, number)
        if position == 0:
            self._open_shard(item.split, shard)
        label = UNSEEN_LABEL if item.split == UNSEEN else self.label[item.species]
        self._shards[item.split].write(_to_example(item, label))
        self._written[item.split] += 1
        self._rows.append(_to_row(item, shard, position))
        self._slices[item.species, item.split] += 1
        self._specimens[item.species, item.split].add(item.specimen)
        if len(self._rows) == ROW_GROUP_SIZE:
            self._flush_rows()

    def counts(self) -> tuple[SplitCount, ...]:
        """Return the numbers of specimens and slices written so far, by species and split."""
        return tuple(
            SplitCount(species=species, split=split, specimens=len(self._specimens[species, split]), slices=slices)
            for (species, split), slices in sorted(self._slices.items())
        )

    def finish(self, info: SlicesInfo) -> None:
        """Write the rest of the index, then `dataset.json`, which marks the folder as complete."""
        self._flush_rows()
        self.__exit__()
        info.write(self.folder / INFO_FILE)

    def _open_shard(self, split: str, shard: str) -> None:
        if split in self._shards:
            self._shards[split].close()
        self._shards[split] = RecordWriter(self.folder / shard)

    def _flush_rows(self) -> None:
        if not self._rows:
            return
        table = pa.Table.from_batches([record_batch(self._rows)])
        if self._index is None:
            self._index = pq.ParquetWriter(self.folder / INDEX_FILE, table.schema)
        self._index.write_table(table)
        self._rows = []


def shard_name(split: str, number: int) -> str:
    """Return the file name of a shard."""
    return f"slices-{split}-{number:05d}.tfrecord"


def shards_of(folder: Path, split: str) -> list[Path]:
    """Return the shards of a split in order.

    Raises:
        ContractError: There are none.
    """
    shards = sorted(folder.glob(f"slices-{split}-*.tfrecord"))
    if not shards:
        raise ContractError(
            f"{folder} has no {split} shards", f"at least {shard_name(split, 0)}", "Create the slices again."
        )
    return shards


def read_info(folder: Path) -> SlicesInfo:
    """Read `dataset.json`.

    Raises:
        ContractError: The file is missing, damaged, or of another schema version.
    """
    return SlicesInfo.read(folder / INFO_FILE)


def held_out_split(info: SlicesInfo) -> str:
    """Return the split that the served model was not trained on: `test`, or `validation` in a data set with folds."""
    return "validation" if info.folds else "test"


def count_tested(folder: Path) -> dict[str, int]:
    """Return the number of specimens of each species on which figures rest: of the test split, or of all folds.

    With folds, a species whose specimens are all in one fold is not counted: no model that tests it was trained on it.
    """
    info = read_info(folder)
    if not info.folds:
        return {count.species: count.specimens for count in info.counts if count.split == "test"}
    index = read_index(folder, columns=("species", "specimen", "fold"))
    is_tested = (index["fold"] != NO_FOLD) & (index.groupby("species")["fold"].transform("nunique") > 1)
    specimens = index[is_tested].drop_duplicates("specimen")
    return {str(species): int(count) for species, count in specimens.groupby("species").size().items()}


def read_index(folder: Path, split: str | None = None, columns: Sequence[str] | None = None) -> "pd.DataFrame":
    """Read `index.parquet`: one row per slice in the order of the records, one column per descriptor.

    Args:
        folder: Data set of slices.
        split: Split to read; None reads all splits.
        columns: Columns to read; None reads all columns.

    Raises:
        ContractError: The index is missing or damaged.
    """
    import pandas as pd

    rows = [("split", "==", split)] if split else None
    with _index(folder) as file:
        return pd.read_parquet(file, columns=list(columns) if columns else None, filters=rows)


def index_rows(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of `index.parquet`, reading 1024 at a time.

    Raises:
        ContractError: The index is missing or damaged.
    """
    with _index(folder) as file, pq.ParquetFile(file) as index:
        for batch in index.iter_batches(batch_size=1024):
            yield from batch.to_pylist()


def index_columns(folder: Path) -> list[str]:
    """Return the names of the columns of `index.parquet`.

    Raises:
        ContractError: The index is missing or damaged.
    """
    with _index(folder) as file:
        return list(pq.read_schema(file).names)


@contextmanager
def _index(folder: Path) -> Iterator[Path]:
    file = folder / INDEX_FILE
    try:
        yield file
    except (OSError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())[:200]
        raise ContractError(
            f"{file} cannot be read ({reason})", "an index of slices", "Create the slices again."
        ) from error


def parse_example(record: "tf.Tensor") -> dict[str, "tf.Tensor"]:
    """Parse one record inside a tf.data graph: scalar `image` (string), `label` (int64), `id` (string)."""
    import tensorflow as tf

    features = {
        "image": tf.io.FixedLenFeature([], tf.string),
        "label": tf.io.FixedLenFeature([], tf.int64),
        "id": tf.io.FixedLenFeature([], tf.string),
    }
    return dict(tf.io.parse_single_example(record, features))


def iterate_split(folder: Path, split: str) -> Iterator[tuple[str, int, bytes]]:
    """Yield (id, label, PNG) of each slice of a split in the order of the records."""
    for shard in shards_of(folder, split):
        for record in read_records(shard):
            features = decode_example(record)
            yield features["id"].decode(), features["label"], features["image"]


def iterate_slices(folder: Path, splits: Collection[str]) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Yield (row of the index, PNG) of each slice of some splits, in the order of the index.

    Raises:
        ContractError: The records differ from the index.
    """
    images = {split: iterate_split(folder, split) for split in splits}
    for row in index_rows(folder):
        if row["split"] not in images:
            continue
        slice_id, _, png = next(images[row["split"]], ("no more records", 0, b""))
        if slice_id != row["id"]:
            problem = f"{folder}: record {slice_id!r}"
            raise ContractError(problem, f"{row['id']!r}, as in the index", "Create the slices again.")
        yield row, png


def _to_example(item: Slice, label: int) -> bytes:
    return encode_example({"image": item.png, "label": label, "id": item.id.encode()})


def _to_row(item: Slice, shard: str, position: int) -> dict[str, Any]:
    return {
        "id": item.id,
        "species": item.species,
        "specimen": item.specimen,
        "split": item.split,
        **({} if item.fold is None else {"fold": np.int8(item.fold)}),
        "shard": shard,
        "position": position,
        "plane": item.plane,
        "foreground_ratio": item.foreground_ratio,
        "spacing_mm": item.spacing_mm,
        **{name: value for name, value in item.descriptors.items() if name != "foreground_ratio"},
    }


def spread_rows(specimens: NDArray[np.str_], limit: int) -> NDArray[np.int64]:
    """Select rows evenly within each specimen, the same share of each specimen.

    Args:
        specimens: Specimen of each row, [N].
        limit: Largest number of rows. A specimen is omitted only if there are more specimens than rows.

    Returns:
        Indices of the rows, int64 [at most `limit`], ascending.
    """
    position = _positions_within_specimens(specimens)
    first, longest = max(1, -(-len(specimens) // limit)), int(position.max(initial=0)) + 1
    steps = range(first, max(first, longest))  # the smallest step with at most `limit` rows
    step = first + bisect_left(steps, True, key=lambda step: (position % step == 0).sum().item() <= limit)
    rows = np.flatnonzero(position % step == 0)
    if len(rows) > limit:
        rows = rows[np.linspace(0, len(rows) - 1, limit).astype(np.int64)]
    return rows


def _positions_within_specimens(specimens: NDArray[np.str_]) -> NDArray[np.int64]:
    """Return the position of each row among the rows of its specimen, counted from 0."""
    _, codes = np.unique(specimens, return_inverse=True)
    counts = np.bincount(codes)
    positions = np.empty(len(specimens), np.int64)
    positions[np.argsort(codes, kind="stable")] = np.arange(len(specimens)) - np.repeat(
        np.cumsum(counts) - counts, counts
    )
    return positions
