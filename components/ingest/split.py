"""Assignment of specimens to the splits train, validation and test.

The unit is the specimen: all its scans are in the same split. Slices of one specimen resemble each other more than
slices of two, so a specimen in two splits would let a model be tested on individuals of its training data.
"""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from components.ingest.config import RareSpecies
from components.ingest.sources.manifest import Scan
from components.shared.errors import BadManifestError
from components.shared.progress import log
from components.shared.slices import SPLITS, UNSEEN

TEST_SHARE = VALIDATION_SHARE = 0.2
MIN_SPECIMENS = len(SPLITS)
MIN_SPECIES = 2
_TAKEN_FOR_VALIDATION = ("train", "validation")
"""Split in the manifest and split in use of a training specimen that is taken for validation."""


def model_scans(scans: Sequence[Scan]) -> list[Scan]:
    """Return the scans of the model's species, without those of unseen species."""
    return [scan for scan in scans if scan.split != UNSEEN]


def rare_species(scans: Sequence[Scan]) -> dict[str, int]:
    """Return the species of the model with too few specimens for every split, with their numbers of specimens."""
    specimens = specimens_by_species(model_scans(scans))
    return {species: len(names) for species, names in specimens.items() if len(names) < MIN_SPECIMENS}


def treat_rare_species(scans: Sequence[Scan], rule: RareSpecies) -> list[Scan]:
    """Return the scans, those of rare species as unseen ones or as training ones unless the rule is `refuse`."""
    rare = {} if rule == "refuse" else rare_species(scans)
    split = UNSEEN if rule == "unseen" else "train"
    return [replace(scan, split=split) if scan.species in rare else scan for scan in scans]


def log_rare_species(rare: Mapping[str, int], rule: RareSpecies) -> None:
    """Log the treatment of rare species; the rule `refuse` ends the run with an error instead."""
    if rare and rule != "refuse":
        names = ", ".join(f"{species} ({count})" for species, count in rare.items())
        unseen, train = "the model has to recognize them as unknown", "they are trained and not tested"
        treatment = unseen if rule == "unseen" else train
        log("ingest", f"species with fewer than {MIN_SPECIMENS} specimens: {names}; {treatment}")


def check_specimen_counts(scans: Sequence[Scan], rule: RareSpecies = "refuse") -> None:
    """Check that every species of the model has enough specimens for every split.

    Args:
        scans: Scans after `treat_rare_species`.
        rule: Treatment of rare species.

    Raises:
        BadManifestError: There are fewer than two species with three specimens, a species has fewer than three
            specimens and the rule is `refuse`, or a species is unseen for some of its specimens only.
    """
    specimens = specimens_by_species(model_scans(scans))
    _check_unseen(scans, specimens)
    if rule != "refuse":
        _check_common_species(scans, specimens)
        return
    if len(specimens) < MIN_SPECIES:
        problem = f"only the species {next(iter(specimens))!r}" if specimens else "no usable volume"
        raise BadManifestError(problem, f"at least {MIN_SPECIES} species of {MIN_SPECIMENS} specimens each")
    scarce = [f"{species!r} has {len(names)}" for species, names in specimens.items() if len(names) < MIN_SPECIMENS]
    if scarce:
        raise BadManifestError(
            f"too few specimens: {', '.join(scarce)}",
            f"at least {MIN_SPECIMENS} usable ones of each species, one for each of {', '.join(SPLITS)}",
            "Add specimens, or remove the species.",
        )


def _check_common_species(scans: Sequence[Scan], specimens: Mapping[str, Sequence[str]]) -> None:
    common_species = [species for species, names in specimens.items() if len(names) >= MIN_SPECIMENS]
    if len(common_species) < MIN_SPECIES:
        counts = {species: len(names) for species, names in specimens_by_species(scans).items()}
        counts_text = ", ".join(f"{species!r} has {count}" for species, count in counts.items())
        raise BadManifestError(
            f"too few specimens: {counts_text}" if counts else "no usable volume",
            f"at least {MIN_SPECIES} species of {MIN_SPECIMENS} usable specimens each",
            "Add specimens.",
        )


def assign_splits(
    scans: Sequence[Scan],
    seed: int,
    rule: RareSpecies = "refuse",
    kept_in_training: Collection[str] = (),
    used_splits: Sequence[str] = SPLITS,
) -> dict[str, str]:
    """Assign each specimen to a split: 60 % train, 20 % validation, 20 % test of each species, at least one in each.

    Without the split test, which a data set with folds does not have, 80 % are in train. Splits in the manifest are
    kept; if it gives specimens of the other splits and none for validation, a share of the training specimens is taken
    for validation. The other specimens are ranked by a hash of seed, species and name, so that a new specimen moves few
    others.

    Args:
        scans: Scans after `treat_rare_species`.
        seed: Seed of the split.
        rule: Treatment of rare species.
        kept_in_training: Specimens that are not taken for validation.
        used_splits: Splits of the data set: SPLITS, or SPLITS_WITH_FOLDS with folds.

    Returns:
        The split of each specimen.

    Raises:
        BadManifestError: As in `check_specimen_counts`, or the manifest puts a specimen into two splits or leaves a
            split without specimens of a species.
    """
    check_specimen_counts(scans, rule)
    fixed_splits = _manifest_splits(scans)
    splits = {scan.specimen: UNSEEN for scan in scans if scan.split == UNSEEN}
    for species, specimens in specimens_by_species(model_scans(scans)).items():
        splits.update(_assign_species(species, specimens, fixed_splits, seed, used_splits))
    rare = rare_species(scans) if rule == "train" else {}
    given_splits = set(fixed_splits.values())
    if given_splits >= set(used_splits) - {"validation"} and "validation" not in given_splits:
        training_only = {*kept_in_training, *(scan.specimen for scan in scans if scan.species in rare)}
        splits.update(_validation_from_training(scans, splits, training_only, seed))
    check_split(scans, splits, rare, used_splits)
    return splits


def _validation_from_training(
    scans: Sequence[Scan], splits: Mapping[str, str], training_only: Collection[str], seed: int
) -> dict[str, str]:
    """Return training specimens to use for validation, of each species without any, by the ranks of `assign_splits`."""
    validation: dict[str, str] = {}
    for species, specimens in specimens_by_species(model_scans(scans)).items():
        if any(splits[name] == "validation" for name in specimens):
            continue
        training = [name for name in specimens if splits[name] == "train"]
        free = sorted(set(training) - set(training_only), key=lambda name: _rank(species, name, seed))
        count = min(len(training) - 1, _share(len(specimens), VALIDATION_SHARE))
        validation.update(dict.fromkeys(free[: max(0, count)], "validation"))
    return validation


def log_validation(scans: Sequence[Scan], splits: Mapping[str, str]) -> None:
    """Log the number of training specimens that are taken for validation."""
    specimens = {scan.specimen for scan in scans if (scan.split, splits[scan.specimen]) == _TAKEN_FOR_VALIDATION}
    if specimens:
        log(
            "ingest",
            f"no specimens are given for validation: {len(specimens)} of the training specimens are used for it",
        )


def check_split(
    scans: Sequence[Scan],
    splits: Mapping[str, str],
    rare: Collection[str] = (),
    used_splits: Sequence[str] = SPLITS,
) -> None:
    """Check that no specimen and no file is in two splits, and that every species is in all used splits.

    Args:
        scans: Scans of all specimens.
        splits: Split of each specimen.
        rare: Species that need not be in all splits.
        used_splits: Splits of the data set.

    Raises:
        BadManifestError: One of these conditions is violated.
    """
    splits_of: defaultdict[str, set[str]] = defaultdict(set)
    files: dict[str, str] = {}
    for scan in scans:
        split = splits[scan.specimen]
        if scan.split not in ("", split) and (scan.split, split) != _TAKEN_FOR_VALIDATION:
            raise BadManifestError(f"specimen {scan.specimen!r} is in {scan.split} and {split}", "one split")
        if files.setdefault(str(scan.file), split) != split:
            raise BadManifestError(f"{scan.path} is in {split} and {files[str(scan.file)]}", "one split")
        splits_of[scan.species].add(split)
    for species, present in splits_of.items():
        if species in rare:
            continue
        missing_splits = [split for split in used_splits if split not in present and present != {UNSEEN}]
        if missing_splits:
            raise BadManifestError(
                f"species {species!r} has no specimen for {' and '.join(missing_splits)}",
                f"at least one specimen of each species in each of {', '.join(used_splits)}",
                _remedy_of_missing(missing_splits),
            )


def specimens_by_species(scans: Sequence[Scan]) -> dict[str, list[str]]:
    """Return the names of the specimens of each species, both sorted."""
    specimens: defaultdict[str, set[str]] = defaultdict(set)
    for scan in scans:
        specimens[scan.species].add(scan.specimen)
    return {species: sorted(names) for species, names in sorted(specimens.items())}


def _check_unseen(scans: Sequence[Scan], model_specimens: Mapping[str, Sequence[str]]) -> None:
    contradictions = sorted({scan.species for scan in scans if scan.split == UNSEEN} & model_specimens.keys())
    if contradictions:
        raise BadManifestError(
            f"species {contradictions[0]!r} is {UNSEEN} in some rows and a species of the model in others",
            f"the split {UNSEEN} in all rows of a species or in none",
            "Correct the split column.",
        )


def _manifest_splits(scans: Sequence[Scan]) -> dict[str, str]:
    """Return the split of each specimen for which the manifest sets one."""
    splits: dict[str, str] = {}
    for scan in scans:
        if scan.split and splits.setdefault(scan.specimen, scan.split) != scan.split:
            raise BadManifestError(
                f"specimen {scan.specimen!r} has scans in {splits[scan.specimen]} and {scan.split}",
                "all scans of a specimen in one split",
                "Correct the split column.",
            )
    return splits


def _assign_species(
    species: str, specimens: Sequence[str], fixed_splits: Mapping[str, str], seed: int, used_splits: Sequence[str]
) -> dict[str, str]:
    splits = {name: fixed_splits[name] for name in specimens if name in fixed_splits}
    free = sorted((name for name in specimens if name not in fixed_splits), key=lambda name: _rank(species, name, seed))
    targets = {
        "test": _share(len(specimens), TEST_SHARE),
        "validation": _share(len(specimens), VALIDATION_SHARE),
        "train": len(specimens),
    }
    for split, target in targets.items():
        if split not in used_splits:
            continue
        count = max(0, target - list(splits.values()).count(split))
        splits.update(dict.fromkeys(free[:count], split))
        free = free[count:]
    return splits


def _remedy_of_missing(splits: Sequence[str]) -> str:
    remedy = "Change the split column or leave it empty"
    can_have_folds = "test" in splits and "train" not in splits
    return f"{remedy}, or test every specimen in one of FOLDS=5 folds." if can_have_folds else f"{remedy}."


def _share(specimens: int, share: float) -> int:
    return max(1, int(share * specimens + 0.5))


def _rank(species: str, specimen: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}\0{species}\0{specimen}".encode()).hexdigest()
