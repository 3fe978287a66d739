"""Speed and quality of the segmentation of slices, compared with the published recipe and the phantoms' truth."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from components.phantoms.anatomy.forms import FORMS
from components.shared.images.segmentation import segment_slice, specimen_mask
from tests.benchmarks.measurement import Measurement, fastest_seconds
from tests.benchmarks.published_segmentation import KnownSlice, known_slices, overlap, published_mask, published_shape

EDGE = 224  # edge of the volumes: a voxel of the specimen is about a pixel of its slices
SLICES = 8


def _speed_and_quality(_scratch: Path) -> Iterator[Measurement]:
    slices = [item for species in FORMS for item in known_slices(species, 0, EDGE, SLICES)]
    images = [item.image for item in slices]
    ours = fastest_seconds(lambda: [segment_slice(image) for image in images])
    recipe = fastest_seconds(lambda: [published_mask(image) for image in images])
    rate, reference = len(images) / ours, len(images) / recipe
    yield Measurement("segment", rate, "slices/s on a core", reference, rate / reference, "ratio >= 5")
    yield from _quality(slices)


def _quality(slices: list[KnownSlice]) -> Iterator[Measurement]:
    masks = [specimen_mask(item.image) for item in slices]
    recipe_masks = [published_mask(item.image) for item in slices]
    plain = [item.truth for item in slices]
    recipe_shapes = [published_shape(truth) for truth in plain]
    for name, ours, references, bar in (
        ("segment IoU with the recipe", masks, recipe_masks, ">= 0.99"),
        ("segment IoU with the truth in the recipe's shape", masks, recipe_shapes, ">= 0.95"),
        ("segment IoU with the bare truth", masks, plain, "none: the recipe fills holes and keeps one object"),
        ("segment IoU of the recipe with the bare truth", recipe_masks, plain, "none"),
    ):
        value = float(np.mean([overlap(one, other) for one, other in zip(ours, references, strict=True)]))
        yield Measurement(name, value, "IoU", bar=bar)


BENCHMARKS = {"segment": _speed_and_quality}
