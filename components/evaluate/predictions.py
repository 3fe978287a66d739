"""Predictions of the trained backbones for the slices of a split.

A split is read once for all backbones, and each slice is decoded once for each input size. For each slice K logits of
each backbone stay in memory; embeddings are written to a file.
"""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from components.evaluate.layer_statistics import add_layer_statistics, has_concatenated_maps
from components.evaluate.synthetic_outliers import synthesize_outliers
from components.shared.contracts import BackboneCard, SlicesInfo
from components.shared.errors import ContractError
from components.shared.files import sha256_of_file
from components.shared.files.matrix import FileMatrix
from components.shared.images.crops import decode_and_crop
from components.shared.progress import Progress
from components.shared.slices import UNSEEN_LABEL, parse_example, read_index, shards_of
from components.shared.tfrecord import decode_example, read_records

BATCH = 64
Crops = dict[str, tf.Tensor]
"""Slices as the members receive them, uint8 [N, S, S, C], by `crop_key`."""


@dataclass(frozen=True)
class Member:
    """A trained backbone.

    Attributes:
        card: Card of the backbone, its `model.json`.
        network: Network from float32 [N, S, S, C] in 0..255 to (logits [N, K], embedding [N, D]).
        digest: SHA-256 of its `model.keras`.
        folder: Folder of its artifact.
    """

    card: BackboneCard
    network: keras.Model
    digest: str = ""
    folder: Path = Path()

    @cached_property
    def described_network(self) -> keras.Model:
        """Network with the same weights and the statistics of its last layers (`add_layer_statistics`)."""
        return add_layer_statistics(self.network)

    @cached_property
    def run(self) -> Callable[..., Sequence[tf.Tensor]]:
        """Described network as a graph, traced once for all splits."""
        return tf.function(self.described_network, reduce_retracing=True)


@dataclass(frozen=True)
class SplitSlices:
    """The slices of a split in the order of their records.

    Attributes:
        ids: Id of each slice, [N].
        labels: Label of each slice, int64 [N].
        specimens: Specimen of each slice, [N].
    """

    ids: NDArray[np.str_]
    labels: NDArray[np.int64]
    specimens: NDArray[np.str_]

    def at(self, rows: NDArray[np.int64]) -> "SplitSlices":
        """Return the slices of some rows."""
        return SplitSlices(self.ids[rows], self.labels[rows], self.specimens[rows])


@dataclass(frozen=True)
class MemberPrediction:
    """Outputs of one member for the N slices of a split.

    Attributes:
        logits: Logits of the slices, float32 [N, K].
        embedding: Embeddings of the slices, float32 [N, D] in a file; read some rows at a time.
        seconds: Time that the network took.
        layers: Statistics of the last layers, float32 [N, 2 * C] of each in a file; empty for a network without them.
        needs_spacing: Whether distances in these layers are relative to the spacing of the training slices.
    """

    logits: NDArray[np.float32]
    embedding: FileMatrix
    seconds: float = 0.0
    layers: tuple[FileMatrix, ...] = ()
    needs_spacing: bool = False


def load_member(folder: Path, info: SlicesInfo) -> Member:
    """Load a trained backbone and check that it fits the data set.

    Raises:
        ContractError: The backbone is damaged or was trained on other data.
    """
    card = BackboneCard.read(folder / "model.json")
    if card.classes != info.classes or card.data_hash != info.sources_hash:
        raise ContractError(
            f"{card.backbone} was trained on other data",
            "models trained on the data set of the evaluation",
            "Train it on these slices.",
        )
    try:
        model = keras.saving.load_model(folder / "model.keras", compile=False, safe_mode=True)
    except (OSError, ValueError) as error:
        problem = f"{folder / 'model.keras'} cannot be loaded ({error})"
        raise ContractError(problem, "a Keras model", "Train the backbone again.") from error
    network = keras.Model(model.inputs, [model.output, model.get_layer("embedding").output])
    return Member(card, network, sha256_of_file(folder / "model.keras"), folder)


def read_split(folder: Path, info: SlicesInfo, split: str) -> SplitSlices:
    """Read ids, labels and specimens of a split from the index.

    Species outside the model have the label UNSEEN_LABEL.
    """
    rows = read_index(folder, split, ("id", "species", "specimen"))
    label = {species: number for number, species in enumerate(info.classes)}
    return SplitSlices(
        ids=np.asarray(rows["id"], dtype=str),
        labels=np.asarray(rows["species"].map(label).fillna(UNSEEN_LABEL), dtype=np.int64),
        specimens=np.asarray(rows["specimen"], dtype=str),
    )


class _PredictionWriter:
    """Writer of the outputs of one member, batch by batch: logits in memory, all other outputs in files."""

    def __init__(self, member: Member, slices: int, file: Path) -> None:
        self._run, self._name = member.run, member.card.backbone
        self._logits = np.empty((slices, len(member.card.classes)), np.float32)
        widths = [int(output.shape[1]) for output in member.described_network.outputs[1:]]
        paths = [file.with_suffix(f".{number}.f32") for number in range(len(widths))]
        self._matrices = [FileMatrix(path, (slices, width)) for path, width in zip(paths, widths, strict=True)]
        self._files = [path.open("wb") for path in paths]
        self._seconds, self._needs_spacing = 0.0, has_concatenated_maps(member.network)

    def add(self, begin: int, crops: tf.Tensor) -> None:
        """Run the member over crops uint8 [N, S, S, C] of the slices from row `begin`.

        Raises:
            ContractError: An output is NaN or infinite; such outputs would still give a predicted species.
        """
        start = time.perf_counter()
        logits, *features = (output.numpy() for output in self._run(tf.cast(crops, tf.float32), training=False))
        self._seconds += time.perf_counter() - start
        if not all(np.isfinite(output).all() for output in (logits, *features)):
            raise ContractError(f"{self._name} returns NaN or infinity", "finite numbers", "Train it again.")
        self._logits[begin : begin + len(crops)] = logits
        for file, output in zip(self._files, features, strict=True):
            file.write(output.tobytes())

    def finish(self) -> MemberPrediction:
        """Close the files and return the predictions for all slices."""
        for file in self._files:
            file.close()
        embedding, *layers = self._matrices
        return MemberPrediction(self._logits, embedding, self._seconds, tuple(layers), self._needs_spacing)


def predict_split(
    folder: Path, split: str, members: Mapping[str, Member], slices: int, scratch: Path
) -> dict[str, MemberPrediction]:
    """Run all members over a split, a batch at a time.

    Args:
        folder: Folder of a data set of segmented slices.
        split: Name of the split.
        members: Networks by name.
        slices: Number of slices in the split.
        scratch: Existing folder for the embeddings, which has to exist as long as the predictions are used.

    Raises:
        ContractError: The number of records differs from the index, or an output is not a finite number.
    """
    records = tf.data.TFRecordDataset([str(shard) for shard in shards_of(folder, split)])
    images = records.map(lambda record: parse_example(record)["image"])
    return _predict_batches(split, _crop_batches(images, members), members, slices, scratch)


def predict_rows(
    folder: Path, split: str, rows: NDArray[np.int64], members: Mapping[str, Member], scratch: Path
) -> dict[str, MemberPrediction]:
    """Run all members over some slices of a split, like `predict_split`; rows are int64 [N], ascending."""
    batches = _batches_of_rows(folder, split, [rows], members)
    return _predict_batches(f"sampled {split}", batches, members, len(rows), scratch)


def predict_outliers(
    folder: Path, split: str, rows: NDArray[np.int64], members: Mapping[str, Member], scratch: Path
) -> dict[str, MemberPrediction]:
    """Run all members over synthetic outliers, one from each of some slices of a split, like `predict_rows`.

    The slice of a row is mixed with that of another row, half of the rows away.
    """
    half = len(rows) // 2
    slices = _batches_of_rows(folder, split, [rows], members)
    others = _batches_of_rows(folder, split, [rows[half:], rows[:half]], members)
    batches = tf.data.Dataset.zip((slices, others)).map(synthesize_outliers)
    return _predict_batches(f"outliers of {split}", batches, members, len(rows), scratch)


def predict_grey(
    folder: Path, split: str, rows: NDArray[np.int64], members: Mapping[str, Member], scratch: Path
) -> dict[str, MemberPrediction]:
    """Run all members over the grey views of some slices of a split in colour, like `predict_rows`."""
    batches = _batches_of_rows(folder, split, [rows], members).map(convert_to_grey)
    return _predict_batches(f"grey {split}", batches, members, len(rows), scratch)


def convert_to_grey(crops: Crops) -> Crops:
    """Convert crops in colour to grey, with equal channels."""
    return {key: tf.image.grayscale_to_rgb(tf.image.rgb_to_grayscale(images)) for key, images in crops.items()}


def _predict_batches(
    sample: str, batches: tf.data.Dataset, members: Mapping[str, Member], slices: int, scratch: Path
) -> dict[str, MemberPrediction]:
    """Run all members over batches of Crops.

    Args:
        sample: Name of the sample of slices, for messages and file names.
        batches: Batches of Crops.
        members: Networks by name.
        slices: Number of slices in all batches.
        scratch: Existing folder for the embeddings.
    """
    progress = Progress("evaluate", slices, f"{sample} slices by {', '.join(members)}")
    writers = {
        name: _PredictionWriter(member, slices, scratch / f"{sample}-{name}.f32") for name, member in members.items()
    }
    row = 0
    for crops in batches:
        count = len(next(iter(crops.values())))
        if row + count > slices:
            raise ContractError(f"more {sample} records than the index has", f"{slices}", "Segment the slices again.")
        for name, member in members.items():
            writers[name].add(row, crops[crop_key(member.card)])
        row += count
        progress.advance(count)
    if row < slices:
        raise ContractError(f"{row} {sample} records", f"{slices} as in the index", "Segment the slices again.")
    return {name: writer.finish() for name, writer in writers.items()}


def crop_key(card: BackboneCard) -> str:
    """Return the name of a member's input format; members with the same one receive the same crops."""
    return f"{card.image_size}x{card.channels}"


def _batches_of_rows(
    folder: Path, split: str, blocks: Sequence[NDArray[np.int64]], members: Mapping[str, Member]
) -> tf.data.Dataset:
    """Return batches of Crops of the rows of some blocks, one block after the other; each is ascending."""
    images = tf.data.Dataset.from_generator(
        lambda: (image for rows in blocks for _, image in iterate_rows(folder, split, rows.tolist())),
        output_signature=tf.TensorSpec([], tf.string),
    )
    return _crop_batches(images, members)


def _crop_batches(images: tf.data.Dataset, members: Mapping[str, Member]) -> tf.data.Dataset:
    """Return a data set of Crops of up to BATCH slices from one of encoded slices."""
    shapes = {crop_key(member.card): (member.card.image_size, member.card.channels) for member in members.values()}
    crops = images.map(
        lambda image: {key: decode_and_crop(image, *shape) for key, shape in shapes.items()},
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    return crops.batch(BATCH).prefetch(4)


def iterate_rows(folder: Path, split: str, rows: Collection[int]) -> Iterator[tuple[int, bytes]]:
    """Yield (row, encoded slice) for some rows of a split, in the split's order, one at a time."""
    return iterate_records(shards_of(folder, split), rows)


def iterate_records(shards: Iterable[Path], numbers: Collection[int]) -> Iterator[tuple[int, bytes]]:
    """Yield (number, encoded slice) for some records of shards, counted over all of them, one at a time."""
    number_set = frozenset(numbers)
    records = chain.from_iterable(map(read_records, shards))
    for number, record in enumerate(islice(records, max(number_set, default=-1) + 1)):
        if number in number_set:
            yield number, decode_example(record)["image"]
