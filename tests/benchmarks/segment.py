"""How fast and how well slices are segmented, beside the published recipe and beside the phantoms' truth."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from components.phantoms.anatomy.forms import FORMS
from components.shared.images.segmentation import segment_slice, specimen_mask
from tests.benchmarks.measurement import Measurement, fastest_seconds
from tests.benchmarks.published_segmentation import KnownSlice, known_slices, overlap, published_mask, published_shape

EDGE = 224  # of the volumes: a voxel of the specimen is about a pixel of its slices
SLICES = 8


def _speed_and_quality(_scratch: Path) -> Iterator[Measurement]:
    slices = [known for species in FORMS for known in known_slices(species, 0, EDGE, SLICES)]
    images = [known.image for known in slices]
    ours = fastest_seconds(lambda: [segment_slice(image) for image in images])
    recipe = fastest_seconds(lambda: [published_mask(image) for image in images])
    rate, reference = len(images) / ours, len(images) / recipe
    yield Measurement("segment", rate, "slices/s on a core", reference, rate / reference, "ratio >= 5")
    yield from _quality(slices)


def _quality(slices: list[KnownSlice]) -> Iterator[Measurement]:
    found = [specimen_mask(known.image) for known in slices]
    published = [published_mask(known.image) for known in slices]
    plain = [known.truth for known in slices]
    shaped = [published_shape(truth) for truth in plain]
    for name, ours, expected, bar in (
        ("segment IoU with the recipe", found, published, ">= 0.99"),
        ("segment IoU with the truth in the recipe's shape", found, shaped, ">= 0.95"),
        ("segment IoU with the bare truth", found, plain, "none: the recipe fills holes and keeps one object"),
        ("segment IoU of the recipe with the bare truth", published, plain, "none"),
    ):
        value = float(np.mean([overlap(one, other) for one, other in zip(ours, expected, strict=True)]))
        yield Measurement(name, value, "IoU", bar=bar)


BENCHMARKS = {"segment": _speed_and_quality}
