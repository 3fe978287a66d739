"""What each trained backbone says about the slices of a split.

A split is read once for all backbones, and each slice is decoded once for each input size. What stays in memory for a
slice is K logits of each backbone; embeddings lie in a file.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from components.shared.contracts import BackboneCard, SlicesInfo
from components.shared.errors import ContractError
from components.shared.files import sha256_of_file
from components.shared.images.crops import decode_and_crop
from components.shared.progress import Progress
from components.shared.slices import UNSEEN_LABEL, parse_example, read_index, shards_of
from components.shared.tfrecord import decode_example, read_records

BATCH = 64
Crops = dict[str, tf.Tensor]
"""Slices as the members see them, uint8 [N, S, S, C], by `crop_key`."""


@dataclass(frozen=True)
class Member:
    """A trained backbone.

    Attributes:
        card: its `model.json`.
        network: float32 [N, S, S, C] in 0..255 to (logits [N, K], embedding [N, D]).
        digest: SHA-256 of its `model.keras`.
    """

    card: BackboneCard
    network: keras.Model
    digest: str = ""

    @cached_property
    def run(self) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
        """The network as a graph, which is traced once for all splits."""
        return tf.function(self.network, reduce_retracing=True)


@dataclass(frozen=True)
class SplitSlices:
    """The slices of a split in the order of their records.

    Attributes:
        ids: [N].
        labels: int64 [N].
        specimens: [N].
    """

    ids: NDArray[np.str_]
    labels: NDArray[np.int64]
    specimens: NDArray[np.str_]


class StoredRows:
    """A matrix float32 [N, D] in a file, of which only the rows that are asked for come into memory.

    A memory map would count every page that was ever read as memory of this process.

    Args:
        path: of the file, rows one after the other.
        shape: N and D.
    """

    def __init__(self, path: Path, shape: tuple[int, int]) -> None:
        self.path, self.shape = path, shape

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        numbers = np.arange(len(self))[rows]
        found = np.empty((len(numbers), self.shape[1]), np.float32)
        with self.path.open("rb", buffering=0) as file:
            for place, number in enumerate(numbers.tolist()):
                file.seek(number * found.itemsize * self.shape[1])
                file.readinto(found[place])
        return found

    def __array__(self, dtype: type | None = None, copy: bool | None = None) -> NDArray[np.float32]:
        return np.asarray(self[:], dtype=dtype)


@dataclass(frozen=True)
class Prediction:
    """What a member says about the N slices of a split.

    Attributes:
        logits: float32 [N, K].
        embedding: float32 [N, D] in a file: take some rows at a time.
        seconds: that the network worked.
    """

    logits: NDArray[np.float32]
    embedding: StoredRows
    seconds: float = 0.0


def load_member(folder: Path, info: SlicesInfo) -> Member:
    """Loads a trained backbone and checks that it fits the data set.

    Raises:
        ContractError: damaged, or trained on other data.
    """
    card = BackboneCard.read(folder / "model.json")
    if card.classes != info.classes or card.data_hash != info.sources_hash:
        raise ContractError(f"{card.backbone} was trained on other data", "models trained on the data set evaluated")
    try:
        model = keras.saving.load_model(folder / "model.keras", compile=False, safe_mode=True)
    except (OSError, ValueError) as error:
        raise ContractError(f"{folder / 'model.keras'} cannot be loaded ({error})", "a Keras model") from error
    network = keras.Model(model.inputs, [model.output, model.get_layer("embedding").output])
    return Member(card, network, sha256_of_file(folder / "model.keras"))


def slices_of(folder: Path, info: SlicesInfo, split: str) -> SplitSlices:
    """Reads ids, labels and specimens of a split from the index; UNSEEN_LABEL stands for species outside the model."""
    rows = read_index(folder, split, ("id", "species", "specimen"))
    label = {species: number for number, species in enumerate(info.classes)}
    return SplitSlices(
        ids=np.asarray(rows["id"], dtype=str),
        labels=np.asarray(rows["species"].map(label).fillna(UNSEEN_LABEL), dtype=np.int64),
        specimens=np.asarray(rows["specimen"], dtype=str),
    )


class _Recorder:
    """Keeps what a member says, batch by batch: logits in memory, embeddings in a file."""

    def __init__(self, member: Member, slices: int, file: Path) -> None:
        self._run, self._name = member.run, member.card.backbone
        self._logits = np.empty((slices, len(member.card.classes)), np.float32)
        self._shape = (slices, int(member.network.outputs[1].shape[1]))
        self._path, self._file = file, file.open("wb")
        self._seconds = 0.0

    def add(self, begin: int, crops: tf.Tensor) -> None:
        """Runs the member over uint8 [N, S, S, C], which are the slices from `begin` on.

        Raises:
            ContractError: an answer is not a number; the largest of such answers would still be a species.
        """
        began = time.perf_counter()
        logits, embedding = (said.numpy() for said in self._run(tf.cast(crops, tf.float32), training=False))
        self._seconds += time.perf_counter() - began
        if not (np.isfinite(logits).all() and np.isfinite(embedding).all()):
            raise ContractError(f"{self._name} answers slices with NaN or infinity", "numbers", "Train it anew.")
        self._logits[begin : begin + len(crops)] = logits
        self._file.write(embedding.tobytes())

    def finish(self) -> Prediction:
        """Returns all that was said."""
        self._file.close()
        return Prediction(self._logits, StoredRows(self._path, self._shape), self._seconds)


def predict_split(
    folder: Path, split: str, members: Mapping[str, Member], slices: int, scratch: Path
) -> dict[str, Prediction]:
    """Runs all members over a split, a batch at a time.

    Args:
        folder: a data set of segmented slices.
        split: which part.
        members: the networks by name.
        slices: how many there are.
        scratch: an existing folder for the embeddings, which must live as long as the predictions.

    Raises:
        ContractError: there are not as many records as the index has slices, or a member's answer is not a number.
    """
    records = tf.data.TFRecordDataset([str(shard) for shard in shards_of(folder, split)])
    encoded = records.map(lambda record: parse_example(record)["image"])
    return _record(split, _crop_batches(encoded, members), members, slices, scratch)


def predict_rows(
    folder: Path, split: str, rows: NDArray[np.int64], members: Mapping[str, Member], scratch: Path
) -> dict[str, Prediction]:
    """Runs all members over some slices of a split, as `predict_split`; rows int64 [N], ascending."""
    return _record(f"sampled {split}", _batches_of_rows(folder, split, rows, members), members, len(rows), scratch)


def predict_swapped(
    folder: Path, split: str, rows: NDArray[np.int64], members: Mapping[str, Member], scratch: Path
) -> dict[str, Prediction]:
    """Runs all members over some slices of a split whose halves are swapped, as `predict_rows`."""
    batches = _batches_of_rows(folder, split, rows, members).map(swap_halves)
    return _record(f"swapped {split}", batches, members, len(rows), scratch)


def swap_halves(crops: Crops) -> Crops:
    """Swaps top and bottom of the first half of a batch of crops, left and right of the rest."""
    swapped = {}
    for key, images in crops.items():
        count, edge = tf.shape(images)[0] // 2, images.shape[1]
        upright, across = tf.roll(images[:count], edge // 2, 1), tf.roll(images[count:], edge // 2, 2)
        swapped[key] = tf.concat([upright, across], axis=0)
    return swapped


def _record(
    what: str, batches: tf.data.Dataset, members: Mapping[str, Member], slices: int, scratch: Path
) -> dict[str, Prediction]:
    """Runs all members over batches of Crops, of `slices` slices together."""
    progress = Progress("evaluate", slices, f"{what} slices by {', '.join(members)}")
    recorders = {name: _Recorder(member, slices, scratch / f"{what}-{name}.f32") for name, member in members.items()}
    done = 0
    for crops in batches:
        count = len(next(iter(crops.values())))
        if done + count > slices:
            raise ContractError(f"more {what} records than the index has", f"{slices}")
        for name, member in members.items():
            recorders[name].add(done, crops[crop_key(member.card)])
        done += count
        progress.advance(count)
    if done < slices:
        raise ContractError(f"{done} {what} records", f"{slices}, as the index says")
    return {name: recorder.finish() for name, recorder in recorders.items()}


def crop_key(card: BackboneCard) -> str:
    """Names what a member sees: members with the same name see the same crops."""
    return f"{card.image_size}x{card.channels}"


def _batches_of_rows(
    folder: Path, split: str, rows: NDArray[np.int64], members: Mapping[str, Member]
) -> tf.data.Dataset:
    encoded = tf.data.Dataset.from_generator(
        lambda: (image for _, image in chosen_slices(folder, split, rows.tolist())),
        output_signature=tf.TensorSpec([], tf.string),
    )
    return _crop_batches(encoded, members)


def _crop_batches(encoded: tf.data.Dataset, members: Mapping[str, Member]) -> tf.data.Dataset:
    """Yields Crops of up to BATCH slices from encoded ones."""
    shapes = {crop_key(member.card): (member.card.image_size, member.card.channels) for member in members.values()}
    crops = encoded.map(
        lambda image: {key: decode_and_crop(image, *shape) for key, shape in shapes.items()},
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    return crops.batch(BATCH).prefetch(4)


def chosen_slices(folder: Path, split: str, rows: Collection[int]) -> Iterator[tuple[int, bytes]]:
    """Yields (row, encoded slice) of some rows of a split, in their order, one at a time."""
    wanted = frozenset(rows)
    records = chain.from_iterable(map(read_records, shards_of(folder, split)))
    for row, record in enumerate(islice(records, max(wanted, default=-1) + 1)):
        if row in wanted:
            yield row, decode_example(record)["image"]
