"""Features are computed only for views that the cache lacks, and those that float16 cannot hold are rejected."""

from pathlib import Path

import keras
import numpy as np
import pytest

from components.shared.errors import TrainingError
from components.train.backbones.registry import InputSpec
from components.train.probe.cache import FeatureCache
from components.train.probe.compute import ViewSource, compute_missing, missing_views
from components.train.probe.views import read_records
from components.train.recipe import Recipe

SPEC, WIDTHS = InputSpec(16, 1, 3), {"embedding": 1}
RECIPE = Recipe(weights="a file.h5", frozen_epochs=1, probe_views=3)


def source_of(folder: Path) -> ViewSource:
    return ViewSource(
        folder, {split: read_records(folder, split, 3) for split in ("train", "validation")}, SPEC, RECIPE, 0
    )


def stem(factor: float) -> keras.Model:
    slices = keras.Input((16, 16, 1))
    embedding = keras.layers.Rescaling(factor)(keras.layers.GlobalAveragePooling2D()(slices))
    return keras.Model(slices, {"embedding": embedding})


def test_a_slice_that_validated_before_lacks_only_its_other_views(segmented_slices: Path, tmp_path: Path) -> None:
    source, cache = source_of(segmented_slices), FeatureCache(tmp_path, WIDTHS)
    blocks = source.blocks("train", 0, 1)
    cache.append(blocks, {"embedding": np.zeros((len(blocks), 1), np.float16)})
    requests = {
        (request.split, request.first, request.count, len(request.rows)) for request in missing_views(source, cache)
    }
    assert requests == {("train", 1, 2, len(blocks)), ("validation", 0, 1, len(source.splits["validation"].ids))}


def test_every_view_is_computed_once(
    segmented_slices: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = source_of(segmented_slices)
    count = 3 * len(source.splits["train"].ids) + len(source.splits["validation"].ids)
    cache = FeatureCache(tmp_path, WIDTHS)
    compute_missing(stem(1.0), source, cache, "train cnn_small")
    assert f"[train cnn_small] {count}/{count} features" in capsys.readouterr().out
    assert len(FeatureCache(tmp_path, WIDTHS)) == count
    compute_missing(stem(1.0), source, cache, "train cnn_small")
    assert capsys.readouterr().out == ""
    with pytest.raises(TrainingError, match=r"a feature is .* expected at most 65504"):
        compute_missing(stem(1e4), source, FeatureCache(tmp_path / "other", WIDTHS), "train cnn_small")


def test_features_larger_than_the_disk_are_rejected(segmented_slices: Path, tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, {"embedding": 10**13})
    with pytest.raises(TrainingError, match=r"views need [\d,]+\.0 MiB: .* MiB that are free.*Free disk space"):
        compute_missing(stem(1.0), source_of(segmented_slices), cache, "train cnn_small")
