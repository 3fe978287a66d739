"""Near-copies: scans of one individual under several names, grouped by their fingerprints and kept in one split.

Near-copies of one species count as one specimen under the first of their names: they share a split, and are one in all
statistics over specimens. Near-copies with different species keep their names, since it is unknown which one is right;
they share a split: `train`, on which no metric is computed, unless the manifest sets another.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from components.ingest.config import RareSpecies
from components.ingest.near_copies.volume_fingerprint import near_volumes
from components.ingest.sources.manifest import Scan
from components.ingest.split import check_specimen_counts
from components.shared.contracts import NearCopies
from components.shared.errors import BadManifestError
from components.shared.progress import log
from components.shared.slices import SPLITS, UNSEEN

SPLIT_OF_CONTRADICTIONS = "train"
MAX_LOGGED_GROUPS = 5
"""Number of groups that are logged; the data set's page lists all."""

PairFinder = Callable[[Sequence[str]], Iterator[tuple[int, int, float]]]
"""Function from fingerprints to (first, second, distance) of the near pairs."""


def find_near_copies(
    scans: Sequence[Scan],
    fingerprints: Sequence[str],
    find_pairs: PairFinder = near_volumes,
    identical: Iterable[tuple[str, str]] = (),
) -> tuple[NearCopies, ...]:
    """Return the groups of specimens that show one individual: connected components of the near pairs.

    Args:
        scans: Scans of all specimens.
        fingerprints: Fingerprints of the scans, in the same order.
        find_pairs: Function that returns the near pairs of fingerprints.
        identical: Pairs of specimens that share a file; pairs with a specimen that has no scan are ignored.

    Returns:
        The groups, in the order of their first scans.
    """
    species_of = {scan.specimen: scan.species for scan in scans}
    number = {specimen: index for index, specimen in enumerate(species_of)}
    owners = [number[scan.specimen] for scan in scans]
    pairs = [(owners[one], owners[two], distance) for one, two, distance in find_pairs(fingerprints)]
    pairs += [(number[one], number[two], 0.0) for one, two in identical if one in number and two in number]
    components = _connected_groups([pair for pair in pairs if pair[0] != pair[1]], len(number))
    names = list(number)
    return tuple(
        NearCopies(
            specimens=tuple(names[member] for member in members),
            species=tuple(dict.fromkeys(species_of[names[member]] for member in members)),
            distance=round(distance, 3),
        )
        for members, distance in components
    )


def join_near_copies(
    scans: Sequence[Scan], near_copies: Sequence[NearCopies], rule: RareSpecies = "refuse"
) -> list[Scan]:
    """Return the scans, in the same order, with one specimen name and one split for each individual.

    Args:
        scans: Scans under the names of the manifest.
        near_copies: Groups of near-copies among the scans.
        rule: Treatment of species of which fewer than three individuals remain.

    Raises:
        BadManifestError: The manifest puts near-copies into different splits, or too few individuals of a species
            remain.
    """
    name_of: dict[str, str] = {}
    split_of: dict[str, str] = {}
    for group, members in zip(near_copies, _scans_of_groups(scans, near_copies), strict=True):
        split = _common_split(group, members)
        for species in group.species:
            names = [scan.specimen for scan in members if scan.species == species]
            name_of.update(dict.fromkeys(names, names[0]))
            split_of.update(dict.fromkeys(names, split))
    individuals = [
        replace(
            scan,
            specimen=name_of.get(scan.specimen, scan.specimen),
            split=split_of.get(scan.specimen, scan.split),
        )
        for scan in scans
    ]
    if rule == "refuse":
        _check_specimen_counts(individuals, near_copies)
    return individuals


def check_near_copies(scans: Sequence[Scan], near_copies: Sequence[NearCopies], splits: Sequence[str]) -> None:
    """Check that each group of near-copies is in one split.

    Args:
        scans: Scans under the names of the manifest.
        near_copies: Groups of near-copies among the scans.
        splits: Splits of the scans, in the same order.

    Raises:
        BadManifestError: Near-copies are in different splits.
    """
    splits_of: defaultdict[str, set[str]] = defaultdict(set)
    for scan, split in zip(scans, splits, strict=True):
        splits_of[scan.specimen].add(split)
    for group in near_copies:
        group_splits = sorted(set().union(*(splits_of[specimen] for specimen in group.specimens)))
        if len(group_splits) > 1:
            raise BadManifestError(
                f"the near-copies {_describe(group)} are in {' and '.join(group_splits)}", "one split"
            )


def exclude_none(scans: Sequence[Scan], near_copies: Sequence[NearCopies]) -> list[tuple[Scan, str]]:
    """Return no scan: volumes are never excluded, so near-copies in different splits end the step with an error."""
    del scans, near_copies
    return []


def exclude_from_training(scans: Sequence[Scan], near_copies: Sequence[NearCopies]) -> list[tuple[Scan, str]]:
    """Return the near-copies to exclude where the manifest puts a group into different splits, each with its reason.

    Published splits of thousands of photographs contain copies of one another. The copies in the test split remain,
    then those in the validation split; the copies in the other splits are excluded.
    """
    excluded_scans = []
    for members in _scans_of_groups(scans, near_copies):
        by_split = {scan.split: scan for scan in members if scan.split}
        if len(by_split) > 1 and UNSEEN not in by_split:
            original = by_split[next(split for split in reversed(SPLITS) if split in by_split)]
            reason = f"a near-copy of {original.path}, which is in {original.split}"
            excluded_scans += [(scan, reason) for scan in members if scan.split not in ("", original.split)]
    return excluded_scans


def exclude_rare(
    scans: Sequence[Scan], near_copies: Sequence[NearCopies], rare: Collection[str]
) -> list[tuple[Scan, str]]:
    """Return the scans of rare species that are near-copies of a scan of another species, each with its reason."""
    excluded_scans = []
    for group, members in zip(near_copies, _scans_of_groups(scans, near_copies), strict=True):
        originals = [scan for scan in members if scan.species not in rare]
        if len(group.species) > 1 and originals:
            reason = f"a near-copy of {originals[0].path}, which is of another species"
            excluded_scans += [(scan, reason) for scan in members if scan.species in rare]
    return excluded_scans


def log_near_copies(near_copies: Sequence[NearCopies]) -> None:
    """Log the first groups of near-copies, those with contradictory species before the others."""
    groups = sorted(near_copies, key=lambda group: len(group.species) == 1)
    for group in groups[:MAX_LOGGED_GROUPS]:
        log("ingest", f"near-copies {_describe(group)}: {describe_treatment(group)}")
    if len(groups) > MAX_LOGGED_GROUPS:
        more = len(groups) - MAX_LOGGED_GROUPS
        log("ingest", f"near-copies: {more} more groups, all of them on the page of the slices")


def describe_treatment(group: NearCopies) -> str:
    """Return a sentence on the treatment of a group of near-copies."""
    if len(group.species) == 1:
        return f"they count as one specimen, {group.specimens[0]}"
    names = " and ".join(group.species)
    return f"they are labelled {names}: a label is wrong, or the specimens only look alike; they share a split"


def _connected_groups(pairs: Sequence[tuple[int, int, float]], count: int) -> list[tuple[list[int], float]]:
    """Return (ascending members, largest distance of a pair) of each connected group of two or more."""
    ends = np.array([pair[:2] for pair in pairs], dtype=np.int64).reshape(-1, 2)
    _, labels = connected_components(coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(count, count)))
    distances: defaultdict[int, float] = defaultdict(float)
    for one, _, distance in pairs:
        distances[int(labels[one])] = max(distances[int(labels[one])], distance)
    members: defaultdict[int, list[int]] = defaultdict(list)
    for member in np.flatnonzero(np.isin(labels, list(distances))):
        members[int(labels[member])].append(int(member))
    return [(group, distances[label]) for label, group in members.items()]


def _scans_of_groups(scans: Sequence[Scan], near_copies: Sequence[NearCopies]) -> list[list[Scan]]:
    """Return the scans of each group, in the order of the scans."""
    group_of = {specimen: number for number, group in enumerate(near_copies) for specimen in group.specimens}
    members: list[list[Scan]] = [[] for _ in near_copies]
    for scan in scans:
        if scan.specimen in group_of:
            members[group_of[scan.specimen]].append(scan)
    return members


def _common_split(group: NearCopies, members: Sequence[Scan]) -> str:
    """Return the split that the manifest sets for a group; without one, `train` if its species differ, or "".

    Raises:
        BadManifestError: The manifest puts the group into different splits.
    """
    by_split = {scan.split: scan for scan in members if scan.split}
    if UNSEEN in by_split:  # a specimen without a split is of a species in the model, so it cannot join this group
        by_split = {scan.split or "the model": scan for scan in members}
    if len(by_split) > 1:
        where = " and ".join(f"{scan.specimen!r} ({scan.path}) in {split}" for split, scan in sorted(by_split.items()))
        raise BadManifestError(
            f"a leak: {where} show one individual (distance {group.distance:g})",
            "near-copies in one split",
            "Give them the same split. This is also safe if they are two individuals that only look alike.",
        )
    return next(iter(by_split), "" if len(group.species) == 1 else SPLIT_OF_CONTRADICTIONS)


def _check_specimen_counts(individuals: Sequence[Scan], near_copies: Sequence[NearCopies]) -> None:
    try:
        check_specimen_counts(individuals)
    except BadManifestError as error:
        if not near_copies:
            raise
        descriptions = "; ".join(_describe(group) for group in near_copies)
        raise BadManifestError(
            f"{error.problem}, if near-copies count as one specimen ({descriptions})",
            "at least three individuals of each species",
            "Add specimens, or remove the species.",
        ) from error


def _describe(group: NearCopies) -> str:
    return f"{', '.join(group.specimens)} (distance {group.distance:g})"
