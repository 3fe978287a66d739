"""Assignment of specimens to splits: no specimen is in two splits, and every species is in all of them."""

from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.ingest.near_copies.groups import check_near_copies, join_near_copies
from components.ingest.sources.manifest import Scan
from components.ingest.split import assign_splits, check_split
from components.shared.contracts import NearCopies
from components.shared.errors import BadManifestError
from components.shared.slices import SPLITS, UNSEEN


def _scans(specimens: dict[str, int], scans_each: int = 1) -> list[Scan]:
    return [
        Scan(f"{species}{number}-{scan}", Path(f"{species}{number}-{scan}"), species, f"{species}{number}")
        for species, count in specimens.items()
        for number in range(count)
        for scan in range(scans_each)
    ]


@pytest.mark.parametrize(
    ("count", "expected"),
    [(3, (1, 1, 1)), (5, (3, 1, 1)), (8, (4, 2, 2)), (12, (8, 2, 2)), (15, (9, 3, 3)), (20, (12, 4, 4))],
)
def test_specimens_are_split_sixty_twenty_twenty(count: int, expected: tuple[int, int, int]) -> None:
    splits = assign_splits(_scans({"a": count, "b": count}), seed=0)
    for species in "ab":
        counts = Counter(split for specimen, split in splits.items() if specimen.startswith(species))
        assert tuple(counts[split] for split in SPLITS) == expected


def test_the_split_depends_on_the_seed_and_not_on_the_order() -> None:
    scans = _scans({"a": 20, "b": 20})
    assert assign_splits(scans, 0) == assign_splits(scans[::-1], 0)
    assert assign_splits(scans, 0) != assign_splits(scans, 1)


def test_training_specimens_are_taken_for_validation_if_none_are_given() -> None:
    scans = [
        replace(scan, split="test" if number % 5 == 0 else "train")
        for number, scan in enumerate(_scans({"a": 10, "b": 10}))
    ]
    try:
        splits = assign_splits(scans, seed=0)
    except BadManifestError as error:
        splits = {"a0": str(error)}
    assert Counter(splits.values()) == {"train": 12, "validation": 4, "test": 4}
    assert all(splits[scan.specimen] == "test" for scan in scans if scan.split == "test")


def test_a_new_specimen_moves_few_others() -> None:
    before, after = assign_splits(_scans({"a": 20, "b": 20}), 0), assign_splits(_scans({"a": 21, "b": 20}), 0)
    assert sum(after[specimen] != split for specimen, split in before.items()) <= 2


def test_splits_of_the_manifest_are_kept() -> None:
    scans = _scans({"a": 6, "b": 6})
    labelled_scans = [Scan(s.path, s.file, s.species, s.specimen, "test" if s.specimen == "a3" else "") for s in scans]
    assert assign_splits(labelled_scans, 0)["a3"] == "test"


def test_a_specimen_in_two_splits_of_the_manifest_is_refused() -> None:
    scans = _scans({"a": 6, "b": 6}, scans_each=2)
    leaking_scans = [Scan(s.path, s.file, s.species, s.specimen, SPLITS[int(s.path[-1])]) for s in scans]
    with pytest.raises(BadManifestError, match="'a0' has scans in train and validation"):
        assign_splits(leaking_scans, 0)


def test_manifest_splits_without_one_of_the_species_are_refused() -> None:
    scans = [Scan(s.path, s.file, s.species, s.specimen, "train") for s in _scans({"a": 6, "b": 6})]
    with pytest.raises(BadManifestError, match="no specimen for validation and test"):
        assign_splits(scans, 0)


@pytest.mark.parametrize(
    ("specimens", "sentence"),
    [({"a": 2, "b": 5}, "'a' has 2"), ({"a": 9}, "only the species 'a'"), ({}, "no usable volume")],
)
def test_too_few_specimens_are_refused_with_the_species_name(specimens: dict[str, int], sentence: str) -> None:
    with pytest.raises(BadManifestError, match=sentence):
        assign_splits(_scans(specimens), 0)


def test_the_check_rejects_a_file_in_two_splits() -> None:
    scans = _scans({"a": 3, "b": 3})
    splits = assign_splits(scans, 0)
    twin = Scan("twin", scans[0].file, "a", "twin")
    other = next(split for split in SPLITS if split != splits[scans[0].specimen])
    with pytest.raises(BadManifestError, match="one split"):
        check_split([*scans, twin], {**splits, "twin": other})


_SPLIT_CELLS = st.sampled_from(["", "", "", "", "", "", "", "", "", "", "train", "validation", "test"])
_SPECIMEN = st.tuples(st.integers(1, 3), _SPLIT_CELLS)
_SPECIMENS = st.lists(_SPECIMEN, min_size=5, max_size=9) | st.lists(_SPECIMEN, min_size=2, max_size=5)
_GROUPS = st.lists(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 8)), min_size=2, max_size=3), max_size=2)


@settings(max_examples=1000, deadline=None, database=None)
@given(
    species=st.lists(_SPECIMENS, min_size=2, max_size=3), near=_GROUPS, has_splits=st.booleans(), seed=st.integers(0, 5)
)
def test_no_individual_is_in_two_splits_for_any_manifest(
    species: list[list[tuple[int, str]]], near: list[list[tuple[int, int]]], has_splits: bool, seed: int
) -> None:
    scans = [
        Scan(f"{kind}-{number}-{scan}", Path(f"{kind}-{number}-{scan}"), f"s{kind}", f"s{kind}-{number}", split)
        for kind, specimens in enumerate(species)
        for number, (repeats, cell) in enumerate(specimens)
        for scan in range(repeats)
        for split in [cell if has_splits else ""]
    ]
    groups = _groups(near, {scan.specimen for scan in scans})
    try:
        individuals = join_near_copies(scans, groups)
        contradictory = {name for group in groups if len(group.species) > 1 for name in group.specimens}
        splits = assign_splits(individuals, seed, kept_in_training=contradictory)
    except BadManifestError:
        assert _may_be_refused(scans, groups)
        return
    split_of = {old.path: splits[new.specimen] for old, new in zip(scans, individuals, strict=True)}
    check_near_copies(scans, groups, list(split_of.values()))
    splits_of_individual: defaultdict[str, set[str]] = defaultdict(set)
    present: defaultdict[str, set[str]] = defaultdict(set)
    group_of = {name: number for number, group in enumerate(groups) for name in group.specimens}
    for scan in scans:
        # Validation may come from the training specimens, if the manifest gives none.
        assert scan.split in ("", split_of[scan.path]) or (scan.split, split_of[scan.path]) == ("train", "validation")
        splits_of_individual[str(group_of.get(scan.specimen, scan.specimen))].add(split_of[scan.path])
        present[scan.species].add(split_of[scan.path])
    assert all(len(individual_splits) == 1 for individual_splits in splits_of_individual.values())
    assert all(species_splits == set(SPLITS) for species_splits in present.values())


def _groups(near: list[list[tuple[int, int]]], specimens: set[str]) -> list[NearCopies]:
    """Return groups of existing specimens; no specimen is in two groups."""
    free, groups = set(specimens), []
    for members in near:
        names = sorted({f"s{kind}-{number}" for kind, number in members} & free)
        if len(names) > 1:
            free -= set(names)
            species = tuple(sorted({name.split("-")[0] for name in names}))
            groups.append(NearCopies(specimens=tuple(names), species=species, distance=0.1))
    return groups


def _may_be_refused(scans: list[Scan], groups: list[NearCopies]) -> bool:
    """Return whether a manifest may be refused: too few species or specimens, or splits set by it or by near-copies."""
    individual = {name: group.specimens[0] for group in groups for name in group.specimens}
    individuals = {(scan.species, individual.get(scan.specimen, scan.specimen)) for scan in scans}
    specimens = Counter(species for species, _ in individuals)
    has_fixed_splits = any(scan.split for scan in scans) or any(len(group.species) > 1 for group in groups)
    return len(specimens) < 2 or min(specimens.values()) < 3 or has_fixed_splits


def test_the_share_of_each_split_is_the_same_for_every_species() -> None:
    specimens = {f"s{count}": count for count in range(3, 40)}
    splits = assign_splits(_scans(specimens), seed=3)
    for species, count in specimens.items():
        species_splits = [splits[f"{species}{number}"] for number in range(count)]
        for split in ("validation", "test"):
            assert abs(species_splits.count(split) - 0.2 * count) <= max(0.5, 1 - 0.2 * count)


def _unseen(scans: list[Scan], species: str) -> list[Scan]:
    return [replace(scan, split=UNSEEN) if scan.species == species else scan for scan in scans]


def test_an_unseen_species_is_not_split_and_may_have_one_specimen() -> None:
    splits = assign_splits(_unseen(_scans({"a": 5, "b": 5, "c": 1}), "c"), seed=0)
    assert splits == {**assign_splits(_scans({"a": 5, "b": 5}), seed=0), "c0": UNSEEN}


def test_unseen_species_do_not_count_as_species_of_the_model() -> None:
    with pytest.raises(BadManifestError, match="only the species 'a'"):
        assign_splits(_unseen(_scans({"a": 5, "b": 5}), "b"), 0)


def test_a_species_that_is_unseen_in_some_rows_only_is_refused() -> None:
    scans = _scans({"a": 6, "b": 6})
    with pytest.raises(BadManifestError, match="'a' is unseen in some rows and a species of the model in others"):
        assign_splits([replace(scans[0], split=UNSEEN), *scans[1:]], 0)
