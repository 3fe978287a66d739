"""Assignment of specimens to folds: what shares a split shares a fold, and each species is spread over the folds."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from components.ingest.config import IngestConfig
from components.ingest.dataset import make_dataset
from components.ingest.folds import assign_folds, assign_specimens, count_folds
from components.ingest.sources.manifest import Scan
from components.segment.dataset import segment_dataset
from components.shared.errors import BadConfigError, BadManifestError
from components.shared.slices import NO_FOLD, UNSEEN, held_out_split, read_index, read_info

CONFIG = IngestConfig.checked(image_size=32, slices_per_species=40, planes="random", seed=1, folds=-1)


def _scans(specimens: dict[str, int], scans_each: int = 1) -> list[Scan]:
    return [
        Scan(f"{species}{number}-{scan}", Path(f"{species}{number}-{scan}"), species, f"{species}{number}")
        for species, count in specimens.items()
        for number in range(count)
        for scan in range(scans_each)
    ]


@pytest.mark.parametrize("folds", [2, 5])
def test_the_specimens_of_a_species_are_spread_evenly_over_the_folds(folds: int) -> None:
    specimens = {f"s{count}": count for count in range(3, 20)}
    fold_of = assign_folds(_scans(specimens), folds, seed=0)
    totals = Counter(fold_of.values())
    assert max(totals.values()) - min(totals.values()) <= 1
    for species, count in specimens.items():
        sizes = Counter(fold_of[f"{species}{number}"] for number in range(count))
        assert len(sizes) == min(count, folds)
        assert max(sizes.values()) - min(sizes[fold] for fold in range(folds)) <= 1


def test_the_folds_depend_on_the_seed_and_not_on_the_order() -> None:
    scans = _scans({"a": 20, "b": 20})
    assert assign_folds(scans, 5, 0) == assign_folds(scans[::-1], 5, 0)
    assert assign_folds(scans, 5, 0) != assign_folds(scans, 5, 1)


@pytest.mark.parametrize(
    ("specimens", "folds", "expected"),
    [
        ({"a": 75, "b": 75}, -1, 5),
        ({"a": 75, "b": 76}, -1, 0),
        ({"a": 75, "b": 76}, 5, 5),
        ({"a": 75, "b": 75}, 0, 0),
        ({"a": 3, "b": 3}, 6, 6),
    ],
)
def test_folds_are_used_up_to_150_specimens_or_if_asked(specimens: dict[str, int], folds: int, expected: int) -> None:
    assert count_folds(_scans(specimens, scans_each=2), folds) == expected


def test_specimens_of_unseen_species_do_not_count() -> None:
    unseen_scans = [replace(scan, split=UNSEEN) for scan in _scans({"c": 200})]
    assignment = assign_specimens([*_scans({"a": 9, "b": 9}), *unseen_scans], CONFIG)
    assert assignment.folds == 5
    assert {assignment.fold_of[scan.specimen] for scan in unseen_scans} == {NO_FOLD}


def test_more_folds_than_specimens_are_refused() -> None:
    with pytest.raises(BadManifestError, match="folds = 7 for 6 specimens"):
        count_folds(_scans({"a": 3, "b": 3}), 7)


def test_a_test_split_of_the_manifest_replaces_the_folds() -> None:
    scans = _scans({"a": 10, "b": 10})
    scans = [replace(scan, split="test") if number % 5 == 0 else scan for number, scan in enumerate(scans)]
    assignment = assign_specimens(scans, CONFIG)
    assert (assignment.folds, assignment.fold_of) == (0, {})
    assert Counter(assignment.splits.values()) == {"train": 12, "validation": 4, "test": 4}
    with pytest.raises(BadManifestError, match="folds = 5, and a0-0 is in the test split"):
        assign_specimens(scans, CONFIG.model_copy(update={"folds": 5}))


def test_with_folds_every_specimen_is_trained_on_or_validates() -> None:
    assignment = assign_specimens(_scans({"a": 3, "b": 4, "c": 20}), CONFIG)
    assert Counter(assignment.splits.values()) == {"train": 21, "validation": 6}
    assert {assignment.splits[f"a{number}"] for number in range(3)} == {"train", "validation"}


def test_splits_of_a_manifest_without_test_specimens_are_kept() -> None:
    scans = _scans({"a": 10, "b": 10})
    splits = ["validation" if scan.specimen.endswith("3") else "train" for scan in scans]
    given_scans = [replace(scan, split=split) for scan, split in zip(scans, splits, strict=True)]
    assignment = assign_specimens(given_scans, CONFIG)
    assert [assignment.splits[scan.specimen] for scan in scans] == splits
    assert Counter(assignment.fold_of.values()) == dict.fromkeys(range(5), 4)
    with pytest.raises(BadManifestError, match="FOLDS=5"):
        assign_specimens(given_scans, CONFIG.model_copy(update={"folds": 0}))


def test_training_specimens_validate_if_the_manifest_gives_no_others() -> None:
    scans = [replace(scan, split="train") for scan in _scans({"a": 10, "b": 10})]
    assert Counter(assign_specimens(scans, CONFIG).splits.values()) == {"train": 16, "validation": 4}
    with pytest.raises(BadManifestError, match="FOLDS=5"):
        assign_specimens(scans, CONFIG.model_copy(update={"folds": 0}))


def test_contradictory_and_rare_specimens_are_trained_in_every_fold() -> None:
    scans = [replace(scan, split="train") if scan.species == "c" else scan for scan in _scans({"a": 9, "b": 9, "c": 2})]
    config = CONFIG.model_copy(update={"rare_species": "train"})
    assignment = assign_specimens(scans, config, contradictory={"a1", "b1"})
    excluded_specimens = {specimen for specimen, fold in assignment.fold_of.items() if fold == NO_FOLD}
    assert excluded_specimens == {"a1", "b1", "c0", "c1"}


def test_one_fold_is_refused() -> None:
    with pytest.raises(BadConfigError, match="1 fold has nothing to train on"):
        IngestConfig.checked(image_size=32, slices_per_species=40, planes="random", seed=1, folds=1)


def test_a_small_data_set_has_a_column_of_folds_and_no_test_split(phantoms: Path, tmp_path: Path) -> None:
    result = make_dataset(phantoms, tmp_path / "raw", CONFIG)
    segment_dataset(tmp_path / "raw", tmp_path / "segmented", workers=1)
    for folder in (tmp_path / "raw", tmp_path / "segmented"):
        info, index = read_info(folder), read_index(folder)
        assert (info.folds, held_out_split(info)) == (5, "validation")
        assert Counter(index.drop_duplicates("specimen")["split"]) == {"train": 12, "validation": 3}
        assert str(index["fold"].dtype) == "int8"
        specimens = index.groupby(["fold", "species"])["specimen"].nunique()
        assert specimens.tolist() == [1] * 15
    assert "0.0" in str(result.info.preprocessing["ingest"]["test_share"])
    again = make_dataset(_with_manifest(phantoms, tmp_path), tmp_path / "again", CONFIG)
    assert again.info == result.info.model_copy(update={"refused": again.info.refused})


def _with_manifest(phantoms: Path, folder: Path) -> Path:
    """Return the manifest of the first data set, beside its volumes."""
    manifest = phantoms / "split.csv"
    manifest.write_text((folder / "raw" / "split.csv").read_text())
    return manifest
