"""Assignment of specimens to the folds of a grouped cross-validation (Stone 1974), in which each is tested once.

The unit is the specimen, as in `components.ingest.split`. Specimens on which no figure may rest are in no fold: every
model is trained on them. These are near-copies with contradictory species, and rare species that are trained.
"""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from components.ingest.config import IngestConfig
from components.ingest.sources.manifest import Scan
from components.ingest.split import (
    assign_splits,
    check_specimen_counts,
    model_scans,
    rare_species,
    specimens_by_species,
)
from components.shared.errors import BadManifestError
from components.shared.slices import NO_FOLD, SPLITS, SPLITS_WITH_FOLDS

AUTOMATIC_FOLDS = -1
DEFAULT_FOLDS = 5
MOST_SPECIMENS = 150
"""Largest number of specimens for which the figures rest on folds unless a number of folds is given."""


@dataclass(frozen=True)
class Assignment:
    """The use of each specimen.

    Attributes:
        splits: Split of each specimen.
        folds: Number of folds, 0 for a test split.
        fold_of: Fold of each specimen; empty without folds.
    """

    splits: dict[str, str]
    folds: int
    fold_of: dict[str, int]


def assign_specimens(scans: Sequence[Scan], config: IngestConfig, contradictory: Collection[str] = ()) -> Assignment:
    """Assign each specimen to a split, and to a fold if the data set has folds.

    Args:
        scans: Scans after the treatment of rare species.
        config: Parameters of the data set.
        contradictory: Specimens of near-copies with different species, which have to share a split.

    Raises:
        BadManifestError: As in `count_folds` and `components.ingest.split.assign_splits`.
    """
    seed, rule = config.seed, config.rare_species
    check_specimen_counts(scans, rule)
    rare = rare_species(scans) if rule == "train" else {}
    excluded_specimens = {*contradictory, *(scan.specimen for scan in scans if scan.species in rare)}
    folds = count_folds(scans, config.folds, excluded_specimens)
    used_splits = SPLITS_WITH_FOLDS if folds else SPLITS
    splits = assign_splits(scans, seed, rule, contradictory, used_splits)
    return Assignment(splits, folds, assign_folds(scans, folds, seed, excluded_specimens) if folds else {})


def count_folds(scans: Sequence[Scan], folds: int, excluded_specimens: Collection[str] = ()) -> int:
    """Return the number of folds of a data set.

    Args:
        scans: Scans of all specimens.
        folds: Number of folds, or AUTOMATIC_FOLDS for DEFAULT_FOLDS up to MOST_SPECIMENS specimens of the model's
            species and else none. A manifest with test specimens has none.
        excluded_specimens: Specimens that are in no fold.

    Raises:
        BadManifestError: The manifest has test specimens, or there are fewer specimens than folds.
    """
    specimens = {scan.specimen for scan in model_scans(scans)}
    test_scans = [scan for scan in scans if scan.split == "test"]
    count = len(specimens - set(excluded_specimens))
    if folds == AUTOMATIC_FOLDS:
        is_small = len(specimens) <= MOST_SPECIMENS and count > 1
        return min(DEFAULT_FOLDS, count) if is_small and not test_scans else 0
    if folds and test_scans:
        raise BadManifestError(
            f"folds = {folds}, and {test_scans[0].path} is in the test split",
            "folds, in which every specimen is tested, or a test split",
            "Set FOLDS=0 to test on the test split, or empty the split column.",
        )
    if folds > count:
        problem = f"folds = {folds} for {count} specimens"
        raise BadManifestError(problem, "at least one specimen for each fold", f"Set FOLDS to at most {count}.")
    return folds


def assign_folds(
    scans: Sequence[Scan], folds: int, seed: int, excluded_specimens: Collection[str] = ()
) -> dict[str, int]:
    """Assign each specimen to a fold.

    The specimens of each species are ranked by a hash of seed, species and name, and dealt to the folds in turn, the
    next species from where the last one ended. So the specimens of a species are spread over as many folds as possible,
    and both its numbers and the total numbers in two folds differ by at most one.

    Args:
        scans: Scans of all specimens.
        folds: Number of folds.
        seed: Seed of the folds.
        excluded_specimens: Specimens that are in no fold.

    Returns:
        The fold of each specimen, NO_FOLD for those of unseen species and those that are not tested.
    """
    fold_of = {scan.specimen: NO_FOLD for scan in scans}
    turn = 0
    for species, names in specimens_by_species(model_scans(scans)).items():
        for name in sorted(set(names) - set(excluded_specimens), key=lambda name: _rank(species, name, seed)):
            fold_of[name] = turn % folds
            turn += 1
    return fold_of


def _rank(species: str, specimen: str, seed: int) -> str:
    return hashlib.sha256(f"fold\0{seed}\0{species}\0{specimen}".encode()).hexdigest()
