"""No specimen is in two splits, every species is in all of them."""

from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.ingest.manifest import SPLITS, UNSEEN, Scan
from components.ingest.split import assign_splits, check_split
from components.shared.errors import BadManifestError


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
        found = Counter(split for specimen, split in splits.items() if specimen.startswith(species))
        assert tuple(found[split] for split in SPLITS) == expected


def test_the_seed_decides_and_nothing_else() -> None:
    scans = _scans({"a": 20, "b": 20})
    assert assign_splits(scans, 0) == assign_splits(scans[::-1], 0)
    assert assign_splits(scans, 0) != assign_splits(scans, 1)


def test_a_new_specimen_moves_few_others() -> None:
    before, after = assign_splits(_scans({"a": 20, "b": 20}), 0), assign_splits(_scans({"a": 21, "b": 20}), 0)
    assert sum(after[specimen] != split for specimen, split in before.items()) <= 2


def test_given_splits_are_kept() -> None:
    scans = _scans({"a": 6, "b": 6})
    given_split = [Scan(s.path, s.file, s.species, s.specimen, "test" if s.specimen == "a3" else "") for s in scans]
    assert assign_splits(given_split, 0)["a3"] == "test"


def test_a_specimen_given_to_two_splits_is_refused() -> None:
    scans = _scans({"a": 6, "b": 6}, scans_each=2)
    leaking = [Scan(s.path, s.file, s.species, s.specimen, SPLITS[int(s.path[-1])]) for s in scans]
    with pytest.raises(BadManifestError, match="'a0' has scans in train and validation"):
        assign_splits(leaking, 0)


def test_given_splits_without_a_species_are_refused() -> None:
    scans = [Scan(s.path, s.file, s.species, s.specimen, "train") for s in _scans({"a": 6, "b": 6})]
    with pytest.raises(BadManifestError, match="no specimen for validation and test"):
        assign_splits(scans, 0)


@pytest.mark.parametrize(
    ("specimens", "sentence"),
    [({"a": 2, "b": 5}, "'a' has 2"), ({"a": 9}, "only the species 'a'"), ({}, "no usable volume")],
)
def test_too_few_specimens_are_named(specimens: dict[str, int], sentence: str) -> None:
    with pytest.raises(BadManifestError, match=sentence):
        assign_splits(_scans(specimens), 0)


def test_the_check_finds_a_leak() -> None:
    scans = _scans({"a": 3, "b": 3})
    splits = assign_splits(scans, 0)
    twin = Scan("twin", scans[0].file, "a", "twin")
    other = next(split for split in SPLITS if split != splits[scans[0].specimen])
    with pytest.raises(BadManifestError, match="one split"):
        check_split([*scans, twin], {**splits, "twin": other})


_ROWS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 6), st.sampled_from(["", "", "", "train", "validation", "test"])),
    max_size=60,
)


@settings(max_examples=1000, deadline=None)
@given(rows=_ROWS, seed=st.integers(0, 5))
def test_no_specimen_is_in_two_splits_whatever_the_manifest(rows: list[tuple[int, int, str]], seed: int) -> None:
    scans = [
        Scan(str(row), Path(str(row)), f"s{species}", f"s{species}-{number}", split)
        for row, (species, number, split) in enumerate(rows)
    ]
    try:
        splits = assign_splits(scans, seed)
    except BadManifestError:
        return
    present: defaultdict[str, set[str]] = defaultdict(set)
    for scan in scans:
        assert scan.split in ("", splits[scan.specimen])
        present[scan.species].add(splits[scan.specimen])
    assert all(found == set(SPLITS) for found in present.values())


def _unseen(scans: list[Scan], species: str) -> list[Scan]:
    return [replace(scan, split=UNSEEN) if scan.species == species else scan for scan in scans]


def test_an_unseen_species_is_in_no_split_of_the_model_and_may_have_one_specimen() -> None:
    splits = assign_splits(_unseen(_scans({"a": 5, "b": 5, "c": 1}), "c"), seed=0)
    assert splits == {**assign_splits(_scans({"a": 5, "b": 5}), seed=0), "c0": UNSEEN}


def test_unseen_species_do_not_count_as_species_of_the_model() -> None:
    with pytest.raises(BadManifestError, match="only the species 'a'"):
        assign_splits(_unseen(_scans({"a": 5, "b": 5}), "b"), 0)


def test_a_species_that_is_unseen_in_some_rows_only_is_refused() -> None:
    scans = _scans({"a": 6, "b": 6})
    with pytest.raises(BadManifestError, match="'a' is unseen in some rows and in the model by others"):
        assign_splits([replace(scans[0], split=UNSEEN), *scans[1:]], 0)
