"""Predictions: a split is read once for all members, and little of each slice stays in memory."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.evaluate.predictions import (
    iterate_rows,
    load_member,
    predict_split,
    read_split,
)
from components.shared.errors import ContractError
from components.shared.files.matrix import FileMatrix
from components.shared.slices import iterate_split, read_info, spread_rows


def test_rows_of_a_file_matrix_are_those_of_the_matrix(tmp_path: Path) -> None:
    matrix = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32)
    (tmp_path / "rows").write_bytes(matrix.tobytes())
    on_disk = FileMatrix(tmp_path / "rows", matrix.shape)
    assert np.array_equal(on_disk[np.array([3, 49, 0])], matrix[[3, 49, 0]])
    assert np.array_equal(on_disk[10:20], matrix[10:20])
    assert np.array_equal(np.asarray(on_disk), matrix)


def test_selected_rows_are_read_in_their_order(segmented_slices: Path) -> None:
    pngs = [png for _, _, png in iterate_split(segmented_slices, "test")]
    assert list(iterate_rows(segmented_slices, "test", {5, 0, 17})) == [(row, pngs[row]) for row in (0, 5, 17)]
    assert list(iterate_rows(segmented_slices, "test", [])) == []


def test_many_slices_are_thinned_within_each_specimen() -> None:
    specimens = np.array(["a"] * 600 + ["b"] * 300 + ["c"] * 3)
    assert np.array_equal(spread_rows(specimens, 1000), np.arange(903))
    rows = spread_rows(specimens, 100)
    counts = dict(zip(*np.unique(specimens[rows], return_counts=True), strict=True))
    assert len(rows) <= 100
    assert counts["c"] == 1
    assert counts["a"] == pytest.approx(2 * counts["b"], abs=1)
    assert np.diff(rows[specimens[rows] == "a"]).min() == np.diff(rows[specimens[rows] == "a"]).max()


def test_every_specimen_keeps_a_row_if_there_are_enough() -> None:
    specimens = np.array([f"large-{n}" for n in range(10) for _ in range(100)] + [f"small-{n}" for n in range(80)])
    rows = spread_rows(specimens, 100)
    assert len(rows) <= 100
    assert set(specimens[rows]) == set(specimens)


def test_rows_are_spread_if_there_are_more_specimens_than_rows() -> None:
    rows = spread_rows(np.array([f"specimen-{number}" for number in range(500)]), 50)
    assert len(rows) == 50
    assert rows[0] == 0
    assert rows[-1] == 499


def test_members_predict_the_same_together_and_alone(
    segmented_slices: Path, trained_backbones: tuple[Path, ...], tmp_path: Path
) -> None:
    info = read_info(segmented_slices)
    members = {path.name: load_member(path, info) for path in trained_backbones}
    count = len(read_split(segmented_slices, info, "test").ids)
    together = predict_split(segmented_slices, "test", members, count, tmp_path)
    (tmp_path / "alone").mkdir()
    alone = predict_split(segmented_slices, "test", dict([*members.items()][1:]), count, tmp_path / "alone")
    assert np.array_equal(together["resnet_small"].logits, alone["resnet_small"].logits)
    assert np.array_equal(together["resnet_small"].embedding[:], alone["resnet_small"].embedding[:])
    assert together["cnn_small"].seconds > 0


def test_an_index_that_does_not_fit_the_records_is_rejected(
    segmented_slices: Path, trained_backbones: tuple[Path, ...], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(segmented_slices, tmp_path / "slices"))
    info = read_info(folder)
    members = {"cnn_small": load_member(trained_backbones[0], info)}
    count = len(read_split(folder, info, "test").ids)
    for wrong in (count - 1, count + 1):
        with pytest.raises(ContractError, match="records"):
            predict_split(folder, "test", members, wrong, tmp_path)


def test_only_the_rows_of_the_split_are_read(segmented_slices: Path) -> None:
    index = pd.read_parquet(segmented_slices / "index.parquet")
    slices = read_split(segmented_slices, read_info(segmented_slices), "validation")
    assert slices.ids.tolist() == index.loc[index["split"] == "validation", "id"].tolist()
