"""Computation of the features that a cache lacks."""

import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from components.shared.errors import TrainingError
from components.shared.progress import Progress
from components.train.backbones.registry import InputSpec
from components.train.input_pipeline import reading_slices
from components.train.probe.cache import Block, FeatureCache
from components.train.probe.views import SplitRecords, view_batches
from components.train.recipe import Recipe

BATCH = 64
"""Largest number of views in a batch of the stem; all batches of a request have the same size."""


@dataclass(frozen=True)
class ViewSource:
    """The slices whose views are computed.

    Attributes:
        folder: Data set of slices.
        splits: Records of the splits `train` and `validation`.
        spec: Shape of the network's input and output.
        recipe: Number of views and strengths of augmentation.
        seed: Seed of the augmentation, the data set's, so that trainings with other seeds share the features.
    """

    folder: Path
    splits: Mapping[str, SplitRecords]
    spec: InputSpec
    recipe: Recipe
    seed: int

    def blocks(self, split: str, first: int, count: int) -> list[Block]:
        """Return the blocks of some views of a split, in the order of the slices."""
        records = self.splits[split]
        pairs = zip(records.ids, records.digests, strict=True)
        return [Block(id_, digest, first, count) for id_, digest in pairs]


@dataclass(frozen=True)
class Request:
    """Views that are computed in batches of one size.

    Attributes:
        split: Split of the slices.
        first: Number of the first view.
        count: Number of views of each slice.
        rows: Positions of the slices in the split, ascending.
        blocks: Blocks of each of these slices.
    """

    split: str
    first: int
    count: int
    rows: NDArray[np.int64]
    blocks: list[list[Block]]


def view_ranges(views: int) -> tuple[tuple[int, int], ...]:
    """Return first view and number of views of the blocks of a slice: view 0, and all others."""
    return ((0, 1), (1, views - 1)) if views > 1 else ((0, 1),)


def missing_views(source: ViewSource, cache: FeatureCache) -> list[Request]:
    """List the views that a cache lacks: all views of training slices, and view 0 of validation slices."""
    requests = []
    for split, ranges in (("train", view_ranges(source.recipe.probe_views)), ("validation", view_ranges(1))):
        slices = list(zip(*(source.blocks(split, *part) for part in ranges), strict=True))
        gaps = [tuple(block for block in blocks if block not in cache) for blocks in slices]
        for part in sorted({tuple((block.first, block.count) for block in blocks) for blocks in gaps} - {()}):
            rows = [row for row, blocks in enumerate(gaps) if tuple((b.first, b.count) for b in blocks) == part]
            count = sum(length for _, length in part)
            blocks = [list(gaps[row]) for row in rows]
            requests.append(Request(split, part[0][0], count, np.array(rows, np.int64), blocks))
    return requests


def compute_missing(stem: keras.Model, source: ViewSource, cache: FeatureCache, step: str) -> None:
    """Compute the views that a cache lacks and append them after each batch.

    A batch depends only on the data set and on what the cache had before: after an interruption the remaining batches
    are those of an uninterrupted run. They are computed on one device, the first GPU if there are any.

    Args:
        stem: Model from slices to a dictionary of features.
        source: Slices.
        cache: Cache that is extended.
        step: Name of the step in progress lines.

    Raises:
        TrainingError: The disk is too small, a shard is damaged, or a feature is too large for float16.
    """
    requests = missing_views(source, cache)
    total = sum(request.count * len(request.rows) for request in requests)
    if not total:
        return
    cache.repair()
    _check_space(cache, total)
    run = tf.function(lambda slices: stem(slices, training=False))
    progress, start = Progress(step, total, "features"), time.monotonic()
    with reading_slices(source.folder):
        for request in requests:
            for blocks, slices in _batches(source, request):
                _append(cache, blocks, run(slices), step)
                progress.done += sum(block.count for block in blocks)
                seconds_left = (time.monotonic() - start) / progress.done * (total - progress.done)
                progress.advance(0, f"{seconds_left:.0f} s left" if progress.done < total else "")


def _batches(source: ViewSource, request: Request) -> Iterator[tuple[list[Block], tf.Tensor]]:
    """Yield the blocks and the views of each batch, the last batch filled with black slices."""
    slices = max(1, BATCH // request.count)
    views = view_batches(
        source.folder,
        request.split,
        request.rows,
        request.first,
        request.count,
        source.spec,
        source.recipe,
        source.seed,
    )
    shape = (source.spec.image_size, source.spec.image_size, source.spec.channels)
    for number, batch in enumerate(views.batch(slices).prefetch(2)):
        blocks = request.blocks[number * slices : (number + 1) * slices]
        batch = tf.reshape(batch, [-1, *shape])
        padding = [[0, slices * request.count - len(batch)], *[[0, 0]] * 3]
        yield [block for parts in blocks for block in parts], tf.pad(batch, padding)


def _append(cache: FeatureCache, blocks: list[Block], outputs: Mapping[str, tf.Tensor], step: str) -> None:
    count, features = sum(block.count for block in blocks), {}
    for name, output in outputs.items():
        values = output.numpy().reshape(len(output), -1)[:count]
        with np.errstate(over="ignore"):
            features[name] = values.astype(np.float16)
        if not np.isfinite(features[name]).all():
            raise TrainingError(
                f"{step}: a feature is {np.abs(values).max():.3g}",
                "at most 65504, the largest number of float16",
                "Set the recipe's probe_views to 0.",
            )
    cache.append(blocks, features)


def _check_space(cache: FeatureCache, views: int) -> None:
    size, free = views * cache.row_bytes, shutil.disk_usage(cache.folder).free
    if size > free:
        raise TrainingError(
            f"the features of {views:,} views need {size / 2**20:,.1f} MiB",
            f"at most the {free / 2**20:,.1f} MiB that are free in {cache.folder}",
            "Free disk space, or set the recipe's probe_views or unfreeze to a smaller number.",
        )
