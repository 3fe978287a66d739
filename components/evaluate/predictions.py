"""What each trained backbone says about the slices of a split."""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from components.shared.contracts import BackboneCard, SlicesInfo
from components.shared.errors import ContractError
from components.shared.preprocessing import decode_and_crop
from components.shared.progress import Progress
from components.shared.slices import parse_example, read_index, shards_of

BATCH = 64


@dataclass(frozen=True)
class Member:
    """A trained backbone.

    Attributes:
        card: its `model.json`.
        network: float32 [N, S, S, C] in 0..255 to (logits [N, K], embedding [N, D]).
    """

    card: BackboneCard
    network: keras.Model


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


@dataclass(frozen=True)
class Prediction:
    """What a member says: `logits` float32 [N, K], `embedding` float32 [N, D]."""

    logits: NDArray[np.float32]
    embedding: NDArray[np.float32]


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
    return Member(card, keras.Model(model.inputs, [model.output, model.get_layer("embedding").output]))


def slices_of(folder: Path, info: SlicesInfo, split: str) -> SplitSlices:
    """Reads ids, labels and specimens of a split from the index."""
    index = read_index(folder)
    rows = index[index["split"] == split]
    label = {species: number for number, species in enumerate(info.classes)}
    return SplitSlices(
        ids=np.asarray(rows["id"], dtype=str),
        labels=np.asarray(rows["species"].map(label), dtype=np.int64),
        specimens=np.asarray(rows["specimen"], dtype=str),
    )


def predict_split(folder: Path, split: str, member: Member, slices: int) -> Prediction:
    """Runs a member over a split, a batch at a time.

    Args:
        folder: a data set of segmented slices.
        split: which part.
        member: the network.
        slices: how many there are, for the progress.
    """
    progress = Progress("evaluate", slices, f"{split} slices by {member.card.backbone}")
    size, channels = member.card.image_size, member.card.channels
    records = tf.data.TFRecordDataset([str(shard) for shard in shards_of(folder, split)])
    crops = records.map(parse_example).map(
        lambda example: decode_and_crop(example["image"], size, channels), num_parallel_calls=tf.data.AUTOTUNE
    )
    network = tf.function(member.network, reduce_retracing=True)
    logits, embeddings = [], []
    for batch in crops.batch(BATCH).prefetch(2):
        batch_logits, batch_embedding = network(tf.cast(batch, tf.float32), training=False)
        logits.append(batch_logits.numpy())
        embeddings.append(batch_embedding.numpy())
        progress.advance(len(batch))
    return Prediction(np.concatenate(logits), np.concatenate(embeddings))
