"""The model now served, asked about the same test slices through its own signature."""

from itertools import islice
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from components.evaluate.comparisons import specimen_permutation_p
from components.evaluate.gate import Champion
from components.evaluate.predictions import SplitSlices
from components.shared.errors import ContractError
from components.shared.model_repository import latest_version_folder
from components.shared.slices import iterate_split

_BATCH = 64
_SCHEME = "file://"


def ask_champion(
    source: str, folder: Path, classes: tuple[str, ...], test: SplitSlices, right: NDArray[np.bool_], seed: int
) -> Champion:
    """Measures the model now served; why it cannot be measured is part of the answer, never an error.

    Slices of a species that it does not know count as wrong.

    Args:
        source: its version folder, or a folder of versions of which the highest counts; maybe with file://.
        folder: the data set with the test slices.
        classes: species of the data set in the order of its labels.
        test: labels and specimens of the test slices.
        right: whether the new model names each of them right, bool [N].
        seed: of the permutations.
    """
    try:
        names = _answers(_version_folder(source), folder)
    except (ContractError, OSError, ValueError, tf.errors.OpError) as error:
        return Champion(source, float("nan"), str(error).split("\n")[0].rstrip("."))
    hits = names == np.asarray(classes)[test.labels]
    return Champion(source, float(hits.mean()), p=specimen_permutation_p(right, hits, test.specimens, seed))


def _version_folder(source: str) -> Path:
    if "://" in source and not source.startswith(_SCHEME):
        raise ContractError(f"champion {source}", "a folder or file:// address", "Mount it")
    return latest_version_folder(Path(source.removeprefix(_SCHEME)))


def _answers(version: Path, folder: Path) -> NDArray[np.str_]:
    """Returns the species that a served model names for every test slice, [N]."""
    signature = tf.saved_model.load(str(version)).signatures.get("serving_default")
    taken, given = (signature.structured_input_signature[1], signature.structured_outputs) if signature else ({}, {})
    if "image_bytes" not in taken or "species" not in given:
        raise ContractError(f"{version} takes {sorted(taken)} and gives {sorted(given)}", "image_bytes and species")
    encoded = (image for _, _, image in iterate_split(folder, "test"))
    named = []
    while some := list(islice(encoded, _BATCH)):
        named.append(signature(image_bytes=tf.constant(some))["species"].numpy())
    return np.char.decode(np.concatenate(named).astype(bytes), "utf-8")
