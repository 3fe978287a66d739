"""The champion: the served model, measured on the same held-out slices by calling its `serving_default` signature."""

from itertools import islice
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from components.evaluate.answers import HeldOut
from components.evaluate.gate import Champion
from components.evaluate.statistics import specimen_permutation_p
from components.shared.errors import ContractError
from components.shared.files import folder_without_wildcards
from components.shared.model_repository import latest_version_folder
from components.shared.slices import iterate_split

_BATCH = 64
_SCHEME = "file://"


def measure_champion(source: str, folder: Path, classes: tuple[str, ...], held_out: HeldOut, seed: int) -> Champion:
    """Measure the served model on the held-out slices; a failure is reported in the result and not raised.

    Slices of species that the served model does not have count as wrong.

    Args:
        source: Version folder of the model, or a folder of versions of which the highest is used; may begin with
            file://.
        folder: Folder of the data set with the held-out slices.
        classes: Species of the data set in the order of its labels.
        held_out: Held-out slices with the scores of the new model.
        seed: Seed of the permutations of the paired test.
    """
    slices, split = held_out.slices, held_out.split
    try:
        species = _predict_species(_version_folder(source), folder, split)
    except (ContractError, OSError, ValueError, tf.errors.OpError) as error:
        return Champion(source, float("nan"), str(error).split("\n")[0].rstrip("."), split=split)
    hits, correct = species == np.asarray(classes)[slices.labels], held_out.scores.argmax(axis=1) == slices.labels
    p = specimen_permutation_p(correct, hits, slices.specimens, seed)
    return Champion(source, float(hits.mean()), p=p, split=split, new_accuracy=float(correct.mean()))


def _version_folder(source: str) -> Path:
    if "://" in source and not source.startswith(_SCHEME):
        raise ContractError(f"champion {source}", "a folder or file:// address", "Mount it as a folder.")
    path = unquote(source.removeprefix(_SCHEME)) if source.startswith(_SCHEME) else source
    return latest_version_folder(Path(path))


def _predict_species(version: Path, folder: Path, split: str) -> NDArray[np.str_]:
    """Return the species that a served model predicts for every slice of a split, [N]."""
    with folder_without_wildcards(version) as folder_to_load:
        signature = tf.saved_model.load(str(folder_to_load)).signatures.get("serving_default")
    inputs, outputs = (signature.structured_input_signature[1], signature.structured_outputs) if signature else ({}, {})
    if "image_bytes" not in inputs or "species" not in outputs:
        problem = f"{version} has inputs {sorted(inputs)} and outputs {sorted(outputs)}"
        raise ContractError(problem, "image_bytes and species", "Set champion to a served model of Taxonflow.")
    images = (image for _, _, image in iterate_split(folder, split))
    species = []
    while batch := list(islice(images, _BATCH)):
        species.append(signature(image_bytes=tf.constant(batch))["species"].numpy())
    return np.char.decode(np.concatenate(species).astype(bytes), "utf-8")
