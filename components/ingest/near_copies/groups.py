"""Scans of one individual under several names: found by their fingerprints, then kept out of two splits.

Near-copies of one species count as one specimen, under the first of their names: together in one split, and one in all
statistics over specimens. Near-copies that name different species keep their names, since nobody knows which is right;
they share a split, and that is `train` unless the manifest says otherwise, so that nothing is measured on them.
"""

import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from components.ingest.near_copies.volume_fingerprint import near_pairs
from components.ingest.sources.manifest import Scan
from components.ingest.split import check_enough
from components.shared.contracts import NearCopies
from components.shared.errors import BadManifestError
from components.shared.slices import SPLITS, UNSEEN

SPLIT_OF_CONTRADICTIONS = "train"
MOST_TOLD = 5
"""Groups that are named while the step runs; its page has all."""

Pairs = Callable[[Sequence[str]], Iterator[tuple[int, int, float]]]
"""From fingerprints to (first, second, distance) of those that are near."""


def find_near_copies(
    scans: Sequence[Scan],
    fingerprints: Sequence[str],
    near: Pairs = near_pairs,
    same: Iterable[tuple[str, str]] = (),
) -> tuple[NearCopies, ...]:
    """Finds the specimens that are one individual: pairs of near scans, and what they are pairs of in turn.

    Args:
        scans: of all specimens.
        fingerprints: of the scans, in their order.
        near: finds the pairs.
        same: specimens known to be one individual, two by two; those without a scan do not matter.

    Returns:
        The groups in the order of their first scans.
    """
    species_of = {scan.specimen: scan.species for scan in scans}
    number = {specimen: place for place, specimen in enumerate(species_of)}
    owners = [number[scan.specimen] for scan in scans]
    pairs = [(owners[one], owners[two], far) for one, two, far in near(fingerprints)]
    pairs += [(number[one], number[two], 0.0) for one, two in same if one in number and two in number]
    joined = _joined([pair for pair in pairs if pair[0] != pair[1]], len(number))
    names = list(number)
    return tuple(
        NearCopies(
            specimens=tuple(names[member] for member in members),
            species=tuple(dict.fromkeys(species_of[names[member]] for member in members)),
            distance=round(distance, 3),
        )
        for members, distance in joined
    )


def as_individuals(scans: Sequence[Scan], near_copies: Sequence[NearCopies]) -> list[Scan]:
    """Gives the scans of each individual one name and one split, in the order of the scans.

    Raises:
        BadManifestError: the manifest's splits tear near-copies apart, or a species is left with too few individuals.
    """
    name_of: dict[str, str] = {}
    split_of: dict[str, str] = {}
    for group, members in zip(near_copies, _members(scans, near_copies), strict=True):
        split = _common_split(group, members)
        for species in group.species:
            alike = [scan.specimen for scan in members if scan.species == species]
            name_of.update(dict.fromkeys(alike, alike[0]))
            split_of.update(dict.fromkeys(alike, split))
    individuals = [
        replace(
            scan,
            specimen=name_of.get(scan.specimen, scan.specimen),
            split=split_of.get(scan.specimen, scan.split),
        )
        for scan in scans
    ]
    _check_enough(individuals, near_copies)
    return individuals


def check_near_copies(scans: Sequence[Scan], near_copies: Sequence[NearCopies], splits: Sequence[str]) -> None:
    """Checks that no near-copies are in two splits.

    Args:
        scans: under the names of the manifest.
        near_copies: of them.
        splits: of the scans, in their order.

    Raises:
        BadManifestError: otherwise.
    """
    found: defaultdict[str, set[str]] = defaultdict(set)
    for scan, split in zip(scans, splits, strict=True):
        found[scan.specimen].add(split)
    for group in near_copies:
        present = sorted(set().union(*(found[specimen] for specimen in group.specimens)))
        if len(present) > 1:
            raise BadManifestError(f"the near-copies {_listed(group)} are in {' and '.join(present)}", "one split")


def keep_all(scans: Sequence[Scan], near_copies: Sequence[NearCopies]) -> list[tuple[Scan, str]]:
    """Leaves nothing out: near-copies in two splits end the step, for a volume is too dear to drop unasked."""
    del scans, near_copies
    return []


def leave_out_of_training(scans: Sequence[Scan], near_copies: Sequence[NearCopies]) -> list[tuple[Scan, str]]:
    """Returns the near-copies that are not in the split nearest to the verdict that any of them was given, and why.

    Given splits of thousands of photographs hold copies of one another. What is measured on stays as it was given;
    what is trained on gives way.
    """
    left_out = []
    for members in _members(scans, near_copies):
        given = {scan.split: scan for scan in members if scan.split}
        if len(given) > 1 and UNSEEN not in given:
            kept = given[next(split for split in reversed(SPLITS) if split in given)]
            reason = f"a near-copy of {kept.path}, which is in {kept.split}"
            left_out += [(scan, reason) for scan in members if scan.split not in ("", kept.split)]
    return left_out


def tell(near_copies: Sequence[NearCopies]) -> None:
    """Says what was found as soon as it is known: the first groups in full, those under two names before the others."""
    ranked = sorted(near_copies, key=lambda group: len(group.species) == 1)
    for group in ranked[:MOST_TOLD]:
        sys.stdout.write(f"[ingest] near-copies {_listed(group)}: {verdict(group)}\n")
    if len(ranked) > MOST_TOLD:
        more = len(ranked) - MOST_TOLD
        sys.stdout.write(f"[ingest] near-copies: {more} more groups, all of them on the page of the slices\n")
    sys.stdout.flush()


def verdict(group: NearCopies) -> str:
    """Returns in words what becomes of near-copies."""
    if len(group.species) == 1:
        return f"they count as one specimen, {group.specimens[0]}"
    said = f"they are said to be {' and '.join(group.species)}"
    return f"{said}: a name is wrong, or they are merely alike; they share a split"


def _joined(pairs: Sequence[tuple[int, int, float]], count: int) -> list[tuple[list[int], float]]:
    """Returns (members ascending, largest distance of their pairs) of each connected group of two or more."""
    ends = np.array([pair[:2] for pair in pairs], dtype=np.int64).reshape(-1, 2)
    _, label = connected_components(coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(count, count)))
    distance: defaultdict[int, float] = defaultdict(float)
    for one, _, far in pairs:
        distance[int(label[one])] = max(distance[int(label[one])], far)
    members: defaultdict[int, list[int]] = defaultdict(list)
    for member in np.flatnonzero(np.isin(label, list(distance))):
        members[int(label[member])].append(int(member))
    return [(group, distance[place]) for place, group in members.items()]


def _members(scans: Sequence[Scan], near_copies: Sequence[NearCopies]) -> list[list[Scan]]:
    """Returns the scans of each group, in their order."""
    group_of = {specimen: number for number, group in enumerate(near_copies) for specimen in group.specimens}
    members: list[list[Scan]] = [[] for _ in near_copies]
    for scan in scans:
        if scan.specimen in group_of:
            members[group_of[scan.specimen]].append(scan)
    return members


def _common_split(group: NearCopies, members: Sequence[Scan]) -> str:
    """Returns the split that the manifest gives to near-copies, or that of contradictions, or nothing."""
    given = {scan.split: scan for scan in members if scan.split}
    if UNSEEN in given:  # then a free specimen is not free: its species is one of the model's
        given = {scan.split or "the model": scan for scan in members}
    if len(given) > 1:
        where = " and ".join(f"{scan.specimen!r} ({scan.path}) in {split}" for split, scan in sorted(given.items()))
        raise BadManifestError(
            f"a leak: {where} show one individual (distance {group.distance:g})",
            "near-copies in one split",
            "Give them the same split, also if they are two individuals after all: alike as they are, that is safe.",
        )
    return next(iter(given), "" if len(group.species) == 1 else SPLIT_OF_CONTRADICTIONS)


def _check_enough(individuals: Sequence[Scan], near_copies: Sequence[NearCopies]) -> None:
    try:
        check_enough(individuals)
    except BadManifestError as error:
        if not near_copies:
            raise
        listed = "; ".join(_listed(group) for group in near_copies)
        raise BadManifestError(
            f"{error.problem}, where near-copies count as one ({listed})",
            "at least three individuals of each species",
            "Add specimens, or take the species out.",
        ) from error


def _listed(group: NearCopies) -> str:
    return f"{', '.join(group.specimens)} (distance {group.distance:g})"
