"""Which specimens train, validate and test.

The unit is the specimen: all its scans go together. Slices of one specimen resemble each other more than those of two,
so a specimen in two splits would let a model be tested on what it has seen.
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence

from components.ingest.sources.manifest import Scan
from components.shared.errors import BadManifestError
from components.shared.slices import SPLITS, UNSEEN

TEST_SHARE = VALIDATION_SHARE = 0.2
FEWEST_SPECIMENS = len(SPLITS)
FEWEST_SPECIES = 2


def scans_of_the_model(scans: Sequence[Scan]) -> list[Scan]:
    """Leaves out the scans of species that the model shall not know."""
    return [scan for scan in scans if scan.split != UNSEEN]


def check_enough(scans: Sequence[Scan]) -> None:
    """Checks that every species of the model can be in every split.

    Raises:
        BadManifestError: fewer than two species, a species with fewer than three specimens, or one that is unseen for
            some of its specimens only.
    """
    specimens = _specimens_by_species(scans_of_the_model(scans))
    _check_unseen(scans, specimens)
    if len(specimens) < FEWEST_SPECIES:
        only = f"only the species {next(iter(specimens))!r}" if specimens else "no usable volume"
        raise BadManifestError(only, f"at least {FEWEST_SPECIES} species of {FEWEST_SPECIMENS} specimens each")
    scarce = [f"{species!r} has {len(names)}" for species, names in specimens.items() if len(names) < FEWEST_SPECIMENS]
    if scarce:
        raise BadManifestError(
            f"too few specimens: {', '.join(scarce)}",
            f"at least {FEWEST_SPECIMENS} usable ones of each species, one for each of {', '.join(SPLITS)}",
            "Add specimens, or take the species out.",
        )


def assign_splits(scans: Sequence[Scan], seed: int) -> dict[str, str]:
    """Assigns each specimen to a split: of each species 60 % train, 20 % validation, 20 % test, at least one in each.

    What the manifest says is kept. A specimen's rank among its species is a hash of seed and name, so that a new
    specimen moves few others.

    Returns:
        The split for each specimen.

    Raises:
        BadManifestError: as `check_enough`, or the manifest's own splits leave a species out of a split or put a
            specimen into two.
    """
    check_enough(scans)
    given = _given_splits(scans)
    splits = {scan.specimen: UNSEEN for scan in scans if scan.split == UNSEEN}
    for species, specimens in _specimens_by_species(scans_of_the_model(scans)).items():
        splits.update(_assign_species(species, specimens, given, seed))
    check_split(scans, splits)
    return splits


def check_split(scans: Sequence[Scan], splits: Mapping[str, str]) -> None:
    """Checks that no specimen is in two splits and that every species is in all of them.

    Raises:
        BadManifestError: otherwise.
    """
    found: defaultdict[str, set[str]] = defaultdict(set)
    files: dict[str, str] = {}
    for scan in scans:
        split = scan.split or splits[scan.specimen]
        if split != splits[scan.specimen]:
            raise BadManifestError(f"specimen {scan.specimen!r} is in {split} and {splits[scan.specimen]}", "one split")
        if files.setdefault(str(scan.file), split) != split:
            raise BadManifestError(f"{scan.path} is in {split} and {files[str(scan.file)]}", "one split")
        found[scan.species].add(split)
    for species, present in found.items():
        missing = [split for split in SPLITS if split not in present and present != {UNSEEN}]
        if missing:
            raise BadManifestError(
                f"species {species!r} has no specimen for {' and '.join(missing)}",
                f"at least one specimen of each species in each of {', '.join(SPLITS)}",
                "Change the split column or leave it empty.",
            )


def _specimens_by_species(scans: Sequence[Scan]) -> dict[str, list[str]]:
    specimens: defaultdict[str, set[str]] = defaultdict(set)
    for scan in scans:
        specimens[scan.species].add(scan.specimen)
    return {species: sorted(names) for species, names in sorted(specimens.items())}


def _check_unseen(scans: Sequence[Scan], known: Mapping[str, Sequence[str]]) -> None:
    both = sorted({scan.species for scan in scans if scan.split == UNSEEN} & known.keys())
    if both:
        raise BadManifestError(
            f"species {both[0]!r} is {UNSEEN} in some rows and in the model by others",
            f"the split {UNSEEN} in all rows of a species or in none",
            "Correct the split column.",
        )


def _given_splits(scans: Sequence[Scan]) -> dict[str, str]:
    given: dict[str, str] = {}
    for scan in scans:
        if scan.split and given.setdefault(scan.specimen, scan.split) != scan.split:
            raise BadManifestError(
                f"specimen {scan.specimen!r} has scans in {given[scan.specimen]} and {scan.split}",
                "all scans of a specimen in one split",
                "Correct the split column.",
            )
    return given


def _assign_species(species: str, specimens: Sequence[str], given: Mapping[str, str], seed: int) -> dict[str, str]:
    splits = {name: given[name] for name in specimens if name in given}
    free = sorted((name for name in specimens if name not in given), key=lambda name: _rank(species, name, seed))
    for split, wanted in (
        ("test", _share(len(specimens), TEST_SHARE)),
        ("validation", _share(len(specimens), VALIDATION_SHARE)),
        ("train", len(specimens)),
    ):
        taken = max(0, wanted - sum(found == split for found in splits.values()))
        splits.update(dict.fromkeys(free[:taken], split))
        free = free[taken:]
    return splits


def _share(specimens: int, share: float) -> int:
    return max(1, int(share * specimens + 0.5))


def _rank(species: str, specimen: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}\0{species}\0{specimen}".encode()).hexdigest()
