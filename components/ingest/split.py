"""Assignment of specimens to the splits train, validation and test.

The unit is the specimen: all its scans are in the same split. Slices of one specimen resemble each other more than
slices of two, so a specimen in two splits would let a model be tested on individuals of its training data.
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence

from components.ingest.sources.manifest import Scan
from components.shared.errors import BadManifestError
from components.shared.slices import SPLITS, UNSEEN

TEST_SHARE = VALIDATION_SHARE = 0.2
MIN_SPECIMENS = len(SPLITS)
MIN_SPECIES = 2


def model_scans(scans: Sequence[Scan]) -> list[Scan]:
    """Return the scans of the model's species, without those of unseen species."""
    return [scan for scan in scans if scan.split != UNSEEN]


def check_specimen_counts(scans: Sequence[Scan]) -> None:
    """Check that every species of the model has enough specimens for every split.

    Raises:
        BadManifestError: There are fewer than two species, a species has fewer than three specimens, or a species is
            unseen for some of its specimens only.
    """
    specimens = _specimens_by_species(model_scans(scans))
    _check_unseen(scans, specimens)
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


def assign_splits(scans: Sequence[Scan], seed: int) -> dict[str, str]:
    """Assign each specimen to a split: 60 % train, 20 % validation, 20 % test of each species, at least one in each.

    Splits in the manifest are kept. The other specimens are ranked by a hash of seed, species and name, so that a new
    specimen moves few others.

    Returns:
        The split of each specimen.

    Raises:
        BadManifestError: As in `check_specimen_counts`, or the manifest puts a specimen into two splits or leaves a
            split without specimens of a species.
    """
    check_specimen_counts(scans)
    fixed_splits = _manifest_splits(scans)
    splits = {scan.specimen: UNSEEN for scan in scans if scan.split == UNSEEN}
    for species, specimens in _specimens_by_species(model_scans(scans)).items():
        splits.update(_assign_species(species, specimens, fixed_splits, seed))
    check_split(scans, splits)
    return splits


def check_split(scans: Sequence[Scan], splits: Mapping[str, str]) -> None:
    """Check that no specimen and no file is in two splits, and that every species is in all splits.

    Raises:
        BadManifestError: One of these conditions is violated.
    """
    splits_of: defaultdict[str, set[str]] = defaultdict(set)
    files: dict[str, str] = {}
    for scan in scans:
        split = scan.split or splits[scan.specimen]
        if split != splits[scan.specimen]:
            raise BadManifestError(f"specimen {scan.specimen!r} is in {split} and {splits[scan.specimen]}", "one split")
        if files.setdefault(str(scan.file), split) != split:
            raise BadManifestError(f"{scan.path} is in {split} and {files[str(scan.file)]}", "one split")
        splits_of[scan.species].add(split)
    for species, present in splits_of.items():
        missing_splits = [split for split in SPLITS if split not in present and present != {UNSEEN}]
        if missing_splits:
            raise BadManifestError(
                f"species {species!r} has no specimen for {' and '.join(missing_splits)}",
                f"at least one specimen of each species in each of {', '.join(SPLITS)}",
                "Change the split column or leave it empty.",
            )


def _specimens_by_species(scans: Sequence[Scan]) -> dict[str, list[str]]:
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
    species: str, specimens: Sequence[str], fixed_splits: Mapping[str, str], seed: int
) -> dict[str, str]:
    splits = {name: fixed_splits[name] for name in specimens if name in fixed_splits}
    free = sorted((name for name in specimens if name not in fixed_splits), key=lambda name: _rank(species, name, seed))
    for split, target in (
        ("test", _share(len(specimens), TEST_SHARE)),
        ("validation", _share(len(specimens), VALIDATION_SHARE)),
        ("train", len(specimens)),
    ):
        count = max(0, target - list(splits.values()).count(split))
        splits.update(dict.fromkeys(free[:count], split))
        free = free[count:]
    return splits


def _share(specimens: int, share: float) -> int:
    return max(1, int(share * specimens + 0.5))


def _rank(species: str, specimen: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}\0{species}\0{specimen}".encode()).hexdigest()
