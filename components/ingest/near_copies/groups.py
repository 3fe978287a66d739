"""Near-copies: scans of one individual under several names, grouped by their fingerprints and kept in one split.

Near-copies of one species count as one specimen under the first of their names: they share a split, and are one in all
statistics over specimens. Near-copies with different species keep their names, since it is unknown which one is right;
they share a split: `train`, on which no metric is computed, unless the manifest sets another. Groups with an obstacle,
see `components.ingest.near_copies.treatment`, are only reported.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from components.ingest.config import RareSpecies
from components.ingest.near_copies.components import ConnectedSpecimens
from components.ingest.near_copies.threshold import distance_of_copies
from components.ingest.near_copies.volume_fingerprint import near_volumes
from components.ingest.sources.manifest import Scan
from components.ingest.split import check_specimen_counts
from components.shared.contracts import NearCopies
from components.shared.errors import BadManifestError
from components.shared.progress import log
from components.shared.slices import UNSEEN

SPLIT_OF_CONTRADICTIONS = "train"
MAX_LOGGED_GROUPS = 5
"""Number of groups that are logged; the data set's page lists all."""

PairFinder = Callable[[Sequence[str]], Iterator[tuple[int, int, float]]]
"""Function from fingerprints to (first, second, distance) of the near pairs."""


@dataclass(frozen=True)
class CopySearch:
    """The result of a search for near-copies.

    Attributes:
        groups: Groups of specimens that show one individual, in the order of their first scans.
        distance: Distance below which two scans of this data set are near-copies; infinite if all pairs of `find_pairs`
            are.
    """

    groups: tuple[NearCopies, ...]
    distance: float


def search_near_copies(
    scans: Sequence[Scan],
    fingerprints: Sequence[str],
    find_pairs: PairFinder = near_volumes,
    identical: Iterable[tuple[str, str]] = (),
) -> CopySearch:
    """Group the specimens that show one individual: connected components of the pairs below the data set's distance.

    The pairs are compared twice, for the distance and for the groups, so that they are not held in memory.

    Args:
        scans: Scans of all specimens.
        fingerprints: Fingerprints of the scans, in the same order.
        find_pairs: Function that returns the pairs of fingerprints within the largest distance of any data set.
        identical: Pairs of specimens that share a file; pairs with a specimen that has no scan are ignored.
    """
    limit = distance_of_copies(fingerprints, [scan.species for scan in scans], find_pairs(fingerprints))
    species_of = {scan.specimen: scan.species for scan in scans}
    number = {specimen: index for index, specimen in enumerate(species_of)}
    owners = [number[scan.specimen] for scan in scans]
    components = ConnectedSpecimens(len(number))
    for one, other, distance in find_pairs(fingerprints):
        if distance < limit:
            components.connect(owners[one], owners[other], distance)
    for first, second in identical:
        if first in number and second in number:
            components.connect(number[first], number[second], 0.0)
    names = list(number)
    groups = tuple(
        NearCopies(
            specimens=tuple(names[member] for member in members),
            species=tuple(dict.fromkeys(species_of[names[member]] for member in members)),
            distance=round(distance, 3),
        )
        for members, distance in components.groups()
    )
    return CopySearch(groups, limit)


def join_near_copies(
    scans: Sequence[Scan], near_copies: Sequence[NearCopies], rule: RareSpecies = "refuse"
) -> list[Scan]:
    """Return the scans, in the same order, with one specimen name and one split for each individual.

    Args:
        scans: Scans under the names of the manifest.
        near_copies: Groups of near-copies among the scans; those with an obstacle keep their names and splits.
        rule: Treatment of species of which fewer than three individuals remain.

    Raises:
        BadManifestError: The manifest puts near-copies into different splits, or too few individuals of a species
            remain.
    """
    name_of: dict[str, str] = {}
    split_of: dict[str, str] = {}
    groups = joined_groups(near_copies)
    for group, members in zip(groups, scans_of_groups(scans, groups), strict=True):
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
    """Check that each group of near-copies that are joined is in one split.

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
    for group in joined_groups(near_copies):
        group_splits = sorted(set().union(*(splits_of[specimen] for specimen in group.specimens)))
        if len(group_splits) > 1:
            raise BadManifestError(
                f"the near-copies {_describe(group)} are in {' and '.join(group_splits)}", "one split"
            )


def log_near_copies(near_copies: Sequence[NearCopies], distance: float = math.inf) -> None:
    """Log the first groups of near-copies: those only reported, then contradictory species, then the others.

    Args:
        near_copies: Groups of near-copies.
        distance: Distance below which scans of this data set are near-copies, see `CopySearch`.
    """
    if math.isfinite(distance):
        log("ingest", f"near-copies have a distance below {distance:.3f}: different species are not nearer")
    groups = sorted(near_copies, key=lambda group: (group.obstacle == "", len(group.species) == 1))
    for group in groups[:MAX_LOGGED_GROUPS]:
        log("ingest", f"near-copies {_describe(group)}: {describe_treatment(group)}")
    if len(groups) > MAX_LOGGED_GROUPS:
        more = len(groups) - MAX_LOGGED_GROUPS
        log("ingest", f"near-copies: {more} more groups, all of them on the page of the slices")


def describe_treatment(group: NearCopies) -> str:
    """Return a sentence on the treatment of a group of near-copies."""
    if group.obstacle:
        return f"they are only reported and may be in different splits, since {group.obstacle}"
    if len(group.species) == 1:
        return f"they count as one specimen, {group.specimens[0]}"
    names = " and ".join(group.species)
    return f"they are labelled {names}: a label is wrong, or the specimens only look alike; they share a split"


def scans_of_groups(scans: Sequence[Scan], near_copies: Sequence[NearCopies]) -> list[list[Scan]]:
    """Return the scans of each group, in the order of the scans; a specimen is in one group at most."""
    group_of = {specimen: number for number, group in enumerate(near_copies) for specimen in group.specimens}
    members: list[list[Scan]] = [[] for _ in near_copies]
    for scan in scans:
        if scan.specimen in group_of:
            members[group_of[scan.specimen]].append(scan)
    return members


def joined_groups(near_copies: Sequence[NearCopies]) -> list[NearCopies]:
    """Return the groups whose specimens share a split."""
    return [group for group in near_copies if not group.obstacle]


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
