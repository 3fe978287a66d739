"""The data set of one fold: its specimens are tested, a share of the others validates, and the rest is trained on."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from components.shared.contracts import SlicesInfo
from components.shared.errors import ContractError
from components.shared.files import atomic_folder
from components.shared.slices import NO_FOLD, SPLITS, Slice, SlicesWriter, iterate_slices, read_index, read_info

VALIDATION_SHARE = 0.2
MIN_SPECIMENS = 3
"""Number of specimens that a species needs outside the fold so that one of them validates."""

Specimens = Mapping[str, Mapping[str, int]]
"""Fold of each specimen, by species and name."""

_FIELDS = ("id", "species", "specimen", "plane", "foreground_ratio", "spacing_mm")
_OTHER_COLUMNS = ("split", "fold", "shard", "position")


def write_fold(slices: Path, fold: int, folder: Path) -> SlicesInfo:
    """Write the data set of a fold: an ordinary data set whose test split is the fold, without unseen species.

    Args:
        slices: Folder of a data set with folds.
        fold: Number of the fold, from 0.
        folder: Folder of the data set of the fold; it is replaced.

    Returns:
        The description of the data set of the fold.

    Raises:
        ContractError: The data set has no such fold, or is damaged.
    """
    info = read_info(slices)
    if not 0 <= fold < info.folds:
        raise ContractError(f"{slices} has no fold {fold}", f"0 to {info.folds - 1}", "Create the slices again.")
    splits = fold_splits(_specimens(slices), fold, info.seed)
    with atomic_folder(folder) as new_folder, SlicesWriter(new_folder, info.classes) as writer:
        for row, png in iterate_slices(slices, SPLITS):
            descriptors = {name: value for name, value in row.items() if name not in (*_FIELDS, *_OTHER_COLUMNS)}
            fields = {name: row[name] for name in _FIELDS}
            writer.add(Slice(**fields, split=splits[row["specimen"]], descriptors=descriptors, png=png))
        steps = {**info.preprocessing, "fold": {"number": fold, "folds": info.folds}}
        update = {"folds": 0, "counts": writer.counts(), "preprocessing": steps}
        fold_info = info.model_copy(update=update)
        writer.finish(fold_info)
    return fold_info


def fold_splits(specimens: Specimens, fold: int, seed: int) -> dict[str, str]:
    """Return the split of each specimen in the data set of a fold.

    The specimens of the fold are tested. Of each species with three others, a fifth of these validates and at least
    one; if no species has three, one specimen of those with two validates. A species without a specimen outside the
    fold is trained on and not tested, since a model cannot know a species that it has not seen. The split does not
    depend on the images and labels of the specimens that are tested.

    Args:
        specimens: Fold of each specimen of the model's species; those of NO_FOLD are always trained on.
        fold: Number of the fold.
        seed: Seed of the choice of validation specimens.
    """
    splits: dict[str, str] = {}
    others = {species: [name for name in folds if folds[name] != fold] for species, folds in specimens.items()}
    for species, folds in specimens.items():
        splits.update(dict.fromkeys(folds, "test" if others[species] else "train"))
        splits.update(dict.fromkeys(others[species], "train"))
    for smallest in (MIN_SPECIMENS, MIN_SPECIMENS - 1):
        for species, names in others.items():
            count = max(1, int(VALIDATION_SHARE * len(names) + 0.5)) if len(names) >= smallest else 0
            free = [name for name in names if specimens[species][name] != NO_FOLD]
            free.sort(key=lambda name: _rank(fold, species, name, seed))
            splits.update(dict.fromkeys(free[:count], "validation"))
        if "validation" in splits.values():
            break
    return splits


def _specimens(slices: Path) -> Specimens:
    """Read the fold of each specimen of the model's species."""
    index = read_index(slices, columns=("species", "specimen", "split", "fold"))
    rows: Iterable[tuple[str, str, int]] = zip(
        *(index.loc[np.isin(index["split"], SPLITS), name] for name in ("species", "specimen", "fold")), strict=True
    )
    folds: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for species, specimen, fold in rows:
        folds[species][specimen] = int(fold)
    return {species: dict(sorted(names.items())) for species, names in sorted(folds.items())}


def _rank(fold: int, species: str, specimen: str, seed: int) -> str:
    return hashlib.sha256(f"fold {fold}\0{seed}\0{species}\0{specimen}".encode()).hexdigest()
