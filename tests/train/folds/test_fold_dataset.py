"""The data set of a fold: its specimens are tested, a share of the others validates, and the rest is trained on."""

from collections import Counter
from pathlib import Path

import pytest

from components.shared.errors import ContractError
from components.shared.slices import NO_FOLD, SPLITS, iterate_slices, read_index, read_info
from components.train.folds.dataset import fold_splits, write_fold


def test_each_fold_tests_its_specimens_and_uses_all_others(folded_slices: Path, tmp_path: Path) -> None:
    index = read_index(folded_slices)
    images = {row["id"]: png for row, png in iterate_slices(folded_slices, SPLITS)}
    tested_ids: list[str] = []
    for fold in range(2):
        info = write_fold(folded_slices, fold, tmp_path / "fold")
        assert info == read_info(tmp_path / "fold")
        assert info.folds == 0
        fold_index = read_index(tmp_path / "fold")
        tested_ids += fold_index.loc[fold_index["split"] == "test", "id"].tolist()
        assert sorted(fold_index["id"]) == sorted(index["id"])
        assert set(fold_index.loc[fold_index["split"] == "test", "id"]) == set(index.loc[index["fold"] == fold, "id"])
        assert fold_index.groupby("specimen")["split"].nunique().eq(1).all()
        specimens = Counter(fold_index.drop_duplicates("specimen")["split"])
        assert specimens == {"train": 6, "validation": 3, "test": 9}
        records = {row["id"]: png for row, png in iterate_slices(tmp_path / "fold", SPLITS)}
        assert records == images
        descriptors = [name for name in index.columns if name not in ("split", "fold", "shard", "position")]
        one, two = (table.set_index("id").sort_index()[descriptors[1:]] for table in (index, fold_index))
        assert one.equals(two)
    assert sorted(tested_ids) == sorted(index["id"])


def test_a_fold_that_the_data_set_does_not_have_is_refused(
    folded_slices: Path, segmented_slices: Path, tmp_path: Path
) -> None:
    for slices, fold in ((folded_slices, 3), (segmented_slices, 0)):
        with pytest.raises(ContractError, match=f"no fold {fold}"):
            write_fold(slices, fold, tmp_path / "fold")


def test_three_other_specimens_of_a_species_give_one_for_validation() -> None:
    specimens = {"a": dict.fromkeys("abc", 1) | {"d": 0}, "b": {"e": 0, "f": 1, "g": 1}}
    splits = fold_splits(specimens, 0, seed=0)
    assert Counter(splits[name] for name in "abc") == {"train": 2, "validation": 1}
    assert [splits[name] for name in "defg"] == ["test", "test", "train", "train"]


def test_two_other_specimens_validate_only_if_no_species_has_three() -> None:
    splits = fold_splits({"a": {"d": 0, "e": 1, "f": 2}, "b": {"g": 0, "h": 1, "i": 2}}, 0, seed=0)
    assert Counter(splits.values()) == {"test": 2, "validation": 2, "train": 2}


def test_specimens_without_a_fold_are_always_trained_on() -> None:
    specimens = {"a": {f"a{number}": number % 2 for number in range(8)}, "b": dict.fromkeys("xyz", NO_FOLD)}
    for fold in (0, 1):
        splits = fold_splits(specimens, fold, seed=0)
        assert {splits[name] for name in "xyz"} == {"train"}


def test_a_species_within_one_fold_is_trained_on_and_not_tested() -> None:
    specimens = {"a": {f"a{number}": number % 2 for number in range(8)}, "b": {"x": 0, "y": 0}}
    assert {fold_splits(specimens, 0, seed=0)[name] for name in "xy"} == {"train"}


def test_the_species_of_tested_specimens_do_not_change_the_other_splits() -> None:
    specimens = {
        species: {f"{species}{number}": number % 5 for number in range(count)}
        for species, count in {"a": 9, "b": 7}.items()
    }
    other_specimens = {
        "a": {**specimens["a"], "b0": 0},
        "b": {name: fold for name, fold in specimens["b"].items() if name != "b0"},
    }
    assert fold_splits(specimens, 0, seed=0) == fold_splits(other_specimens, 0, seed=0)
