"""Segmentation of a data set changes nothing but the background."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from kfp import dsl

from components.segment.component import segment
from components.segment.dataset import segment_dataset
from components.shared.contracts import SlicesInfo
from components.shared.errors import BadConfigError, BadInputError, ContractError
from components.shared.images.decoding import decode_image, encode_png
from components.shared.images.descriptors import DESCRIPTORS, describe
from components.shared.images.segmentation import segment_slice
from components.shared.slices import SPLITS, Slice, SlicesWriter, iterate_split, read_index, read_info

KEPT_COLUMNS = ["id", "species", "specimen", "split", "plane", "spacing_mm"]


@pytest.fixture(scope="module")
def segmented_slices(raw_slices: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("segmented") / "slices"
    segment_dataset(raw_slices, folder, workers=1)
    return folder


def _rewrite(source: Path, folder: Path, blank: set[str]) -> None:
    """Copy a data set and make some slices blank."""
    folder.mkdir()
    images = {id_: png for split in SPLITS for id_, _, png in iterate_split(source, split)}
    info = read_info(source)
    black = encode_png(np.full((64, 64), 30, np.uint8))
    with SlicesWriter(folder, info.classes) as writer:
        for row in read_index(source).to_dict("records"):
            png = black if row["id"] in blank else images[row["id"]]
            fields = {name: row[name] for name in KEPT_COLUMNS}
            writer.add(Slice(**fields, foreground_ratio=0.5, descriptors=describe(decode_image(png, 1)), png=png))
        writer.finish(info)


def test_ids_order_and_splits_are_kept(raw_slices: Path, segmented_slices: Path) -> None:
    pd.testing.assert_frame_equal(read_index(segmented_slices)[KEPT_COLUMNS], read_index(raw_slices)[KEPT_COLUMNS])
    for split in SPLITS:
        raw = [(id_, label) for id_, label, _ in iterate_split(raw_slices, split)]
        assert [(id_, label) for id_, label, _ in iterate_split(segmented_slices, split)] == raw


def test_every_slice_is_segmented_as_serving_segments_it(raw_slices: Path, segmented_slices: Path) -> None:
    raw = {id_: png for split in SPLITS for id_, _, png in iterate_split(raw_slices, split)}
    index = read_index(segmented_slices).set_index("id")
    for split in SPLITS:
        for id_, _, png in iterate_split(segmented_slices, split):
            image = decode_image(png, 1)
            np.testing.assert_array_equal(image, segment_slice(decode_image(raw[id_], 1)))
            assert index.loc[id_, "foreground_ratio"] == (image > 0).mean()
            assert index.loc[id_, "entropy"] == describe(image)["entropy"]


def test_the_description_of_ingest_is_kept(raw_slices: Path, segmented_slices: Path) -> None:
    before, after = read_info(raw_slices), read_info(segmented_slices)
    assert after.preprocessing["ingest"] == before.preprocessing["ingest"]
    assert after.preprocessing["segment"]["dropped"] == 0
    assert after.model_copy(update={"preprocessing": before.preprocessing}) == before


def test_segmenting_twice_changes_no_image(segmented_slices: Path, tmp_path: Path) -> None:
    segment_dataset(segmented_slices, tmp_path / "twice", workers=1)
    for split in SPLITS:
        assert list(iterate_split(tmp_path / "twice", split)) == list(iterate_split(segmented_slices, split))


def test_the_bytes_do_not_depend_on_the_number_of_workers(
    raw_slices: Path, segmented_slices: Path, tmp_path: Path
) -> None:
    segment_dataset(raw_slices, tmp_path / "slices", workers=3)
    for file in segmented_slices.iterdir():
        assert (tmp_path / "slices" / file.name).read_bytes() == file.read_bytes()


def test_slices_without_a_specimen_are_dropped_and_counted(raw_slices: Path, tmp_path: Path) -> None:
    blank = set(read_index(raw_slices)["id"][[3, 10]])
    _rewrite(raw_slices, tmp_path / "raw", blank)
    result = segment_dataset(tmp_path / "raw", tmp_path / "slices", workers=1)
    assert result.metrics() == {"slices": 70, "specimens": 9, "classes": 3, "dropped": 2}
    assert blank.isdisjoint(read_index(tmp_path / "slices")["id"])
    assert read_info(tmp_path / "slices").preprocessing["segment"]["dropped"] == 2
    assert "dropped" in result.html()


def test_a_species_without_any_specimen_in_a_split_is_bad_input(raw_slices: Path, tmp_path: Path) -> None:
    index = read_index(raw_slices)
    blank = set(index.loc[(index["species"] == "Orbitoides") & (index["split"] == "test"), "id"])
    _rewrite(raw_slices, tmp_path / "raw", blank)
    with pytest.raises(BadInputError, match="8 test slices of 'Orbitoides'"):
        segment_dataset(tmp_path / "raw", tmp_path / "slices", workers=1)
    assert not (tmp_path / "slices").exists()


def test_without_segmentation_every_slice_is_unchanged(raw_slices: Path, tmp_path: Path) -> None:
    result = segment_dataset(raw_slices, tmp_path / "slices", workers=1, method="none")
    for split in SPLITS:
        assert list(iterate_split(tmp_path / "slices", split)) == list(iterate_split(raw_slices, split))
    before, after = read_index(raw_slices), read_index(tmp_path / "slices")
    columns = [name for name in before.columns if name != "foreground_ratio"]
    pd.testing.assert_frame_equal(after[columns], before[columns])
    assert set(after.columns) >= set(DESCRIPTORS)
    assert result.info.preprocessing["segment"]["method"] == "none"


def _in_colour(folder: Path) -> Path:
    folder.mkdir()
    image = np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8)
    fields = {"species": "Alba", "plane": "photograph", "spacing_mm": 0.0, "foreground_ratio": 1.0}
    with SlicesWriter(folder, ("Alba",)) as writer:
        for split in SPLITS:
            item = {"id": split, "specimen": split, "split": split, "png": encode_png(image)}
            writer.add(Slice(**fields, **item, descriptors=describe(image)))
        details = {"image_size": 16, "channels": 3, "counts": writer.counts(), "seed": 0, "preprocessing": {}}
        writer.finish(SlicesInfo(classes=("Alba",), sources_hash="", **details))
    return folder


def test_photographs_keep_their_colour_and_get_its_descriptors(tmp_path: Path) -> None:
    photographs = _in_colour(tmp_path / "raw")
    segment_dataset(photographs, tmp_path / "slices", workers=1, method="none")
    pd.testing.assert_frame_equal(read_index(tmp_path / "slices"), read_index(photographs))
    assert "saturation" in read_index(tmp_path / "slices")


def test_photographs_cannot_be_segmented(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="PHOTOS"):
        segment_dataset(_in_colour(tmp_path / "raw"), tmp_path / "slices", workers=1)


def test_an_unknown_segmentation_is_refused(raw_slices: Path, tmp_path: Path) -> None:
    with pytest.raises(BadConfigError, match="one of specimen, none"):
        segment_dataset(raw_slices, tmp_path / "slices", workers=1, method="magic")


def test_records_that_differ_from_the_index_are_refused(raw_slices: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(raw_slices, tmp_path / "damaged"))
    (folder / "slices-test-00000.tfrecord").write_bytes((folder / "slices-train-00000.tfrecord").read_bytes())
    with pytest.raises(ContractError, match="as in the index"):
        segment_dataset(folder, tmp_path / "slices", workers=1)


def test_the_step_writes_slices_metrics_and_a_page(raw_slices: Path, tmp_path: Path) -> None:
    metrics = dsl.Metrics(uri=str(tmp_path / "metrics"))
    segment.python_func(
        slices=dsl.Dataset(uri=str(raw_slices)),
        segmented=dsl.Dataset(uri=str(tmp_path / "slices")),
        metrics=metrics,
        contact_sheet=dsl.HTML(uri=str(tmp_path / "sheet.html")),
    )
    assert metrics.metadata == {"slices": 72, "specimens": 9, "classes": 3, "dropped": 0}
    assert (tmp_path / "sheet.html").read_text().count("data:image/png;base64,") == 18


def test_a_folder_without_a_data_set_ends_the_step_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        segment.python_func(
            slices=dsl.Dataset(uri=str(tmp_path / "nothing")),
            segmented=dsl.Dataset(uri=str(tmp_path / "slices")),
            metrics=dsl.Metrics(uri=str(tmp_path / "metrics")),
            contact_sheet=dsl.HTML(uri=str(tmp_path / "sheet.html")),
        )
    assert stop.value.code == 1
    assert "[segment] failed: " in capsys.readouterr().out
