"""Treatment of near-copies: which groups share a split, which are only reported, and which photographs are excluded.

Near-copies never end a run: a group is only reported if joining it would leave a species too few individuals, or if the
manifest puts its specimens into different splits.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from components.ingest.near_copies.components import ConnectedSpecimens
from components.ingest.near_copies.groups import scans_of_groups
from components.ingest.sources.manifest import Scan
from components.ingest.split import MIN_SPECIMENS
from components.shared.contracts import NearCopies
from components.shared.slices import SPLITS, UNSEEN

IsFeasible = Callable[[Sequence[NearCopies]], bool]
"""Function that returns whether the data set can be split if these groups are joined."""


def exact_copies(scans: Sequence[Scan], identical: Iterable[tuple[str, str]]) -> tuple[NearCopies, ...]:
    """Return the groups of specimens of one species that share a file, so that they are one individual for certain.

    Args:
        scans: Scans of all specimens.
        identical: Pairs of specimens that share a file; other pairs are ignored.
    """
    species_of = {scan.specimen: scan.species for scan in scans}
    names = list(species_of)
    number = {name: index for index, name in enumerate(names)}
    components = ConnectedSpecimens(len(names))
    for first, second in identical:
        if first in number and species_of[first] == species_of.get(second):
            components.connect(number[first], number[second], 0.0)
    groups = [tuple(names[member] for member in members) for members, _ in components.groups()]
    exact = tuple(NearCopies(specimens=group, species=(species_of[group[0]],), distance=0.0) for group in groups)
    members_of = zip(exact, scans_of_groups(scans, exact), strict=True)
    return tuple(group for group, members in members_of if len({scan.split for scan in members if scan.split}) <= 1)


def exclude_none(scans: Sequence[Scan], near_copies: Sequence[NearCopies]) -> list[tuple[Scan, str]]:
    """Return no scan: volumes are never excluded, so near-copies in different splits are only reported."""
    del scans, near_copies
    return []


def exclude_from_training(scans: Sequence[Scan], near_copies: Sequence[NearCopies]) -> list[tuple[Scan, str]]:
    """Return the near-copies to exclude where the manifest puts a group into different splits, each with its reason.

    Published splits of thousands of photographs contain copies of one another. The copies in the test split remain,
    then those in the validation split; the copies in the other splits are excluded. No copy of a group is excluded if
    its species would have too few specimens or none in a split.
    """
    remaining_scans, excluded_scans = list(scans), []
    for members in scans_of_groups(scans, near_copies):
        by_split = {scan.split: scan for scan in members if scan.split}
        if len(by_split) < 2 or UNSEEN in by_split:
            continue
        original = by_split[next(split for split in reversed(SPLITS) if split in by_split)]
        copies = [scan for scan in members if scan.split not in ("", original.split)]
        others = [scan for scan in remaining_scans if scan not in copies]
        if _keeps_species(remaining_scans, others, {scan.species for scan in copies}):
            remaining_scans = others
            reason = f"a near-copy of {original.path}, which is in {original.split}"
            excluded_scans += [(scan, reason) for scan in copies]
    return excluded_scans


def mark_obstacles(
    scans: Sequence[Scan], near_copies: Sequence[NearCopies], exact: Sequence[NearCopies], is_feasible: IsFeasible
) -> tuple[NearCopies, ...]:
    """Set the obstacle of each group that can only be reported; nearer groups take precedence.

    Args:
        scans: Scans under the names of the manifest.
        near_copies: Groups of near-copies among the scans.
        exact: Groups of specimens that share a file, parts of the near-copies; they are joined in any case.
        is_feasible: Function that returns whether the data set can be split if some groups are joined.

    Returns:
        The groups with their obstacles, and the exact copies in groups that are only reported.
    """
    obstacles = _obstacles_of_splits(scans, near_copies)
    _add_obstacles_of_counts(obstacles, scans, near_copies, exact)
    free = sorted(
        (group for group in near_copies if group.specimens not in obstacles),
        key=lambda group: (len(group.species) > 1, group.distance),
    )
    for group in _infeasible_groups(free, exact, is_feasible):
        names = " or ".join(group.species)
        obstacles[group.specimens] = f"otherwise {names} would lack individuals for one of the splits"
    groups = [group.model_copy(update={"obstacle": obstacles.get(group.specimens, "")}) for group in near_copies]
    reported_names = {name for group in groups if group.obstacle for name in group.specimens}
    return (*groups, *(group for group in exact if group.specimens[0] in reported_names))


def _keeps_species(before: Sequence[Scan], after: Sequence[Scan], species: set[str]) -> bool:
    """Return whether species keep specimens in each of their splits, and as many as they need for all splits."""
    splits_before, splits_after = (
        {(s.species, s.split) for s in scans if s.species in species} for scans in (before, after)
    )
    specimens = Counter(name for name, _ in {(scan.species, scan.specimen) for scan in after})
    return splits_before == splits_after and all(specimens[name] >= MIN_SPECIMENS for name in species)


def _obstacles_of_splits(scans: Sequence[Scan], near_copies: Sequence[NearCopies]) -> dict[tuple[str, ...], str]:
    """Return the obstacle of each group that the manifest puts into different splits, by its specimens."""
    obstacles = {}
    for group, members in zip(near_copies, scans_of_groups(scans, near_copies), strict=True):
        splits = {scan.split for scan in members if scan.split}
        if UNSEEN in splits:  # a specimen without a split is of a species in the model
            splits = {scan.split or "the model" for scan in members}
        if len(splits) > 1:
            obstacles[group.specimens] = f"they are given for {' and '.join(sorted(splits))}"
    return obstacles


def _add_obstacles_of_counts(
    obstacles: dict[tuple[str, ...], str],
    scans: Sequence[Scan],
    near_copies: Sequence[NearCopies],
    exact: Sequence[NearCopies],
) -> None:
    """Add an obstacle for each group that would leave a species too few individuals, by its specimens."""
    individual = {name: group.specimens[0] for group in exact for name in group.specimens}
    species_of = {individual.get(scan.specimen, scan.specimen): scan.species for scan in scans}
    counts = Counter(species_of.values())
    for group in sorted(near_copies, key=lambda group: group.distance):
        members = Counter(species_of[name] for name in {individual.get(name, name) for name in group.specimens})
        losses = {species: count - 1 for species, count in members.items() if count > 1}
        scarce = sorted(species for species, count in losses.items() if counts[species] - count < MIN_SPECIMENS)
        if group.specimens in obstacles:
            continue
        if scarce:
            obstacles[group.specimens] = (
                f"otherwise {' and '.join(scarce)} would have fewer than {MIN_SPECIMENS} specimens"
            )
        else:
            counts.subtract(losses)


def _infeasible_groups(
    groups: Sequence[NearCopies], exact: Sequence[NearCopies], is_feasible: IsFeasible
) -> list[NearCopies]:
    """Return the groups without which the data set can be split, by bisection; earlier groups take precedence."""
    feasible: list[NearCopies] = []
    infeasible: list[NearCopies] = []
    # A data set that cannot be split without near-copies is refused for another reason.
    batches = [list(groups)] if groups and is_feasible(exact) else []
    while batches:
        batch = batches.pop()
        if is_feasible(_with_exact([*feasible, *batch], exact)):
            feasible += batch
        elif len(batch) > 1:
            batches += [batch[len(batch) // 2 :], batch[: len(batch) // 2]]
        else:
            infeasible += batch
    return infeasible


def _with_exact(groups: Sequence[NearCopies], exact: Sequence[NearCopies]) -> list[NearCopies]:
    """Return groups and the exact copies that are not part of them."""
    names = {name for group in groups for name in group.specimens}
    return [*groups, *(group for group in exact if group.specimens[0] not in names)]
