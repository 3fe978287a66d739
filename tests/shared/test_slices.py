"""The data set of slices is read as it was written, and its bytes depend on the slices alone."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.shared import slices as slices_module
from components.shared.contracts import Refusal, SlicesInfo
from components.shared.errors import ContractError
from components.shared.images.decoding import encode_png
from components.shared.images.descriptors import DESCRIPTORS, describe
from components.shared.slices import (
    NO_FOLD,
    SPLITS,
    Slice,
    SlicesWriter,
    count_tested,
    held_out_split,
    index_columns,
    index_rows,
    iterate_split,
    parse_example,
    read_index,
    read_info,
    shards_of,
)

CLASSES = ("Alba", "N\u00f6gra \u6709")


def _slice(number: int) -> Slice:
    image = np.random.default_rng(number).integers(0, 256, (16, 16), dtype=np.uint8)
    species = CLASSES[number % 2]
    return Slice(
        id=f"{species}-{number}",
        species=species,
        specimen=f"{species} {number % 6}",
        split=SPLITS[number % 6 // 2],
        plane=f"plane {number}",
        foreground_ratio=number / 100,
        spacing_mm=0.25,
        descriptors=describe(image),
        png=encode_png(image),
    )


def _write(folder: Path, count: int = 30) -> Path:
    folder.mkdir()
    with SlicesWriter(folder, CLASSES) as writer:
        for number in range(count):
            writer.add(_slice(number))
        info = SlicesInfo(
            classes=CLASSES,
            image_size=16,
            channels=1,
            counts=writer.counts(),
            seed=1,
            preprocessing={"ingest": {"planes": "random"}},
            sources_hash="0" * 64,
            refused=(Refusal(path="b\u00e4d.nii", reason="empty"),),
        )
        writer.finish(info)
    return folder


def test_a_data_set_is_read_as_it_was_written(tmp_path: Path) -> None:
    folder = _write(tmp_path / "slices")
    read = {id_: (label, png) for split in SPLITS for id_, label, png in iterate_split(folder, split)}
    assert read == {item.id: (CLASSES.index(item.species), item.png) for item in map(_slice, range(30))}
    index = read_index(folder)
    assert list(index["id"]) == [_slice(number).id for number in range(30)]
    assert set(DESCRIPTORS) <= set(index.columns)
    assert index["foreground_ratio"].tolist() == [number / 100 for number in range(30)]
    assert read_info(folder).refused[0].path == "b\u00e4d.nii"


def test_counts_are_specimens_and_slices(tmp_path: Path) -> None:
    counts = read_info(_write(tmp_path / "slices")).counts
    assert {(count.species, count.split) for count in counts} == {(c, s) for c in CLASSES for s in SPLITS}
    assert all((count.specimens, count.slices) == (1, 5) for count in counts)


def test_equal_slices_give_equal_bytes(tmp_path: Path) -> None:
    one, two = _write(tmp_path / "one"), _write(tmp_path / "two")
    for file in one.iterdir():
        assert (two / file.name).read_bytes() == file.read_bytes()


def test_the_index_locates_each_record(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(slices_module, "SHARD_SLICES", 4)
    monkeypatch.setattr(slices_module, "ROW_GROUP_SIZE", 7)
    folder = _write(tmp_path / "slices")
    assert [len(shards_of(folder, split)) for split in SPLITS] == [3, 3, 3]
    for shard, rows in read_index(folder).groupby("shard"):
        records = list(tf.data.TFRecordDataset(str(folder / str(shard))).map(parse_example).as_numpy_iterator())
        for row in rows.itertuples():
            assert records[row.position]["id"].decode() == row.id


def test_a_missing_split_is_a_contract_error(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="no test shards"):
        shards_of(_write(tmp_path / "slices", count=4), "test")


def test_a_missing_or_damaged_index_is_a_contract_error(tmp_path: Path) -> None:
    file = _write(tmp_path / "slices", count=4) / "index.parquet"
    readers = (read_index, index_columns, lambda folder: list(index_rows(folder)))
    for content in (file.read_bytes()[:-20], b"junk", None):
        file.unlink() if content is None else file.write_bytes(content)
        for read in readers:
            with pytest.raises(ContractError, match=r"index.parquet cannot be read"):
                read(file.parent)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "taxonflow.slices/2"}, "schema 'taxonflow.slices/2'"),
        ({"image_size": "wide"}, "image_size"),
        ({"x": 1}, "x"),
    ],
)
def test_another_version_or_type_of_the_document_is_rejected(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    document = _write(tmp_path / "slices") / "dataset.json"
    document.write_text(json.dumps({**json.loads(document.read_text()), **change}))
    with pytest.raises(ContractError, match=message):
        read_info(tmp_path / "slices")


def test_an_incomplete_folder_has_no_document(tmp_path: Path) -> None:
    (tmp_path / "slices").mkdir()
    with SlicesWriter(tmp_path / "slices", CLASSES) as writer:
        writer.add(_slice(0))
    with pytest.raises(ContractError, match="does not exist"):
        read_info(tmp_path / "slices")


def test_the_tested_specimens_are_those_of_the_test_split_or_of_the_folds(tmp_path: Path) -> None:
    assert count_tested(_write(tmp_path / "split")) == {"Alba": 1, "N\u00f6gra \u6709": 1}
    info = read_info(tmp_path / "split")
    (tmp_path / "folds").mkdir()
    with SlicesWriter(tmp_path / "folds", CLASSES) as writer:
        for number in range(12):
            split = ("train", "validation")[number % 6 // 3]
            writer.add(replace(_slice(number), split=split, fold=NO_FOLD if number % 6 == 0 else number % 6 // 2 % 2))
        writer.finish(info.model_copy(update={"folds": 2, "counts": writer.counts()}))
    assert read_index(tmp_path / "folds")["fold"].tolist()[:3] == [-1, 0, 1]
    assert count_tested(tmp_path / "folds") == {"Alba": 2, "N\u00f6gra \u6709": 3}
    assert [held_out_split(read_info(tmp_path / name)) for name in ("split", "folds")] == ["test", "validation"]


def test_a_species_of_one_fold_has_no_tested_specimens(tmp_path: Path) -> None:
    info = read_info(_write(tmp_path / "split"))
    (tmp_path / "folds").mkdir()
    with SlicesWriter(tmp_path / "folds", CLASSES) as writer:
        for number in range(12):
            item = replace(_slice(number), split=("train", "validation")[number % 2])
            writer.add(replace(item, fold=number % 3 if item.species == CLASSES[0] else 1))
        writer.finish(info.model_copy(update={"folds": 3, "counts": writer.counts()}))
    assert set(count_tested(tmp_path / "folds")) == {CLASSES[0]}
