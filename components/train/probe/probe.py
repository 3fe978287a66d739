"""The phases of a training on cached features."""

import hashlib
import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from components import __version__
from components.shared.files.locks import exclusive_lock
from components.shared.progress import log
from components.shared.slices import read_info
from components.train.backbones.registry import InputSpec
from components.train.optimization import Phase
from components.train.probe.cache import FeatureCache
from components.train.probe.compute import ViewSource, compute_missing, view_ranges
from components.train.probe.cut import Division, divide
from components.train.probe.table import FeatureTable, held_out_features, training_features
from components.train.probe.views import read_records
from components.train.recipe import Recipe

AUGMENTATION = ("rotation", "zoom", "shift", "shear", "flips", "contrast", "brightness", "greyscale")
"""Recipe keys on which the views of a slice depend."""
_LOCK_FILE, _RETRY_S = "lock", 1.0


@dataclass(frozen=True)
class Probe:
    """The features of one training, computed when a phase first needs them.

    Attributes:
        network: Backbone with its initial weights.
        unfreeze: Number of last layers of the features that phase 2 trains; None for all.
        slices: Folder of the data set.
        spec: Shape of the network's input and output.
        recipe: Settings of the training.
        seed: Seed of the order of slices and views.
        folder: Folder of caches, each in a subfolder for the inputs on which its features depend.
    """

    network: keras.Model
    unfreeze: int | None
    slices: Path
    spec: InputSpec
    recipe: Recipe
    seed: int
    folder: Path

    @cached_property
    def division(self) -> Division:
        """Stem and tails of the network."""
        with self.network.distribute_strategy.scope():
            return divide(self.network, self.unfreeze)

    @cached_property
    def source(self) -> ViewSource:
        """Training and validation slices, whose views are computed."""
        splits = {split: read_records(self.slices, split, self.spec.classes) for split in ("train", "validation")}
        return ViewSource(self.slices, splits, self.spec, self.recipe, read_info(self.slices).seed)

    @cached_property
    def cache(self) -> FeatureCache:
        """Cache with the features of all slices of both splits."""
        folder = self.folder / self._key()
        folder.mkdir(parents=True, exist_ok=True)
        step = f"train {self.network.name}"
        with _exclusive_access(folder, step):
            cache = FeatureCache(folder, {name: math.prod(shape) for name, shape in self._shapes.items()})
            compute_missing(self.division.stem, self.source, cache, step)
        return cache

    def batches(self, phase: Phase, first_epoch: int, batch_size: int) -> tuple[tf.data.Dataset, tf.data.Dataset]:
        """Return the batches of a phase that has a tail, for training and validation.

        Args:
            phase: Phase of the training.
            first_epoch: Number of the first epoch, counted from 0 over all phases.
            batch_size: Size of validation batches.
        """
        tables, classes = self._tables(phase.number), self.spec.classes
        return (
            training_features(tables["train"], classes, self.recipe, self.seed, first_epoch),
            held_out_features(tables["validation"], classes, batch_size),
        )

    def training_embeddings(self) -> FeatureTable:
        """Return the embeddings of all views of the training slices."""
        return self._tables(1)["train"]

    @property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: tuple(output.shape[1:]) for name, output in self.division.stem.output.items()}

    def _tables(self, phase: int) -> dict[str, FeatureTable]:
        """Return the features of a phase by split, in memory if those of both splits fit."""
        name = self.division.tails[phase].feature
        matrix = self.cache.matrix(name)
        rows = {}
        for split, views in (("train", self.recipe.probe_views), ("validation", 1)):
            blocks = [self.cache.rows(self.source.blocks(split, *part)) for part in view_ranges(views)]
            rows[split] = np.concatenate(blocks, axis=1)
        tables = {}
        is_small = sum(map(np.size, rows.values())) * 2 * matrix.shape[1] <= self.recipe.cache_gigabytes * 2**30
        for split, numbers in rows.items():
            labels, shape = self.source.splits[split].labels, self._shapes[name]
            if is_small:
                numbers_in_memory = np.arange(numbers.size).reshape(numbers.shape)
                tables[split] = FeatureTable(matrix[numbers.ravel()], numbers_in_memory, labels, shape)
            else:
                tables[split] = FeatureTable(matrix, numbers, labels, shape)
        return tables

    def _key(self) -> str:
        """Return 16 hexadecimal digits that identify the inputs of the features except for the slices themselves."""
        stem, recipe = self.division.stem, self.recipe.model_dump()
        weights = hashlib.sha256()
        for array in stem.get_weights():
            weights.update(array.tobytes())
        inputs = {
            "backbone": self.network.name,
            "input": list(stem.input_shape[1:]),
            "features": self._shapes,
            "unfreeze": self.unfreeze,
            "weights": weights.hexdigest(),
            "views": self.recipe.probe_views,
            "augmentation": {key: recipe[key] for key in AUGMENTATION},
            "precision": self.recipe.precision,
            "seed": self.source.seed,
            "versions": [__version__, keras.__version__, tf.__version__],
        }
        return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]


@contextmanager
def _exclusive_access(folder: Path, step: str) -> Iterator[None]:
    """Hold the lock of a cache during the block; wait while another training computes features in it."""
    is_logged = False
    while True:
        try:
            with exclusive_lock(folder / _LOCK_FILE):
                yield
                return
        except BlockingIOError:
            if not is_logged:
                log(step, f"waiting for another training that computes features in {folder}")
            is_logged = True
            time.sleep(_RETRY_S)
