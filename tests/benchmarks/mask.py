"""Quality of the specimen mask of a volume: Dice coefficient with the phantoms' truth."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from components.phantoms.anatomy.forms import FORMS
from components.phantoms.scanner import Artefacts
from components.phantoms.specimen import make_specimen
from components.shared.volumes.formats.base import Volume
from components.shared.volumes.specimen import find_specimen
from tests.benchmarks.measurement import Measurement

SPECIMENS, EDGE = 3, 64


def dice(species: str, number: int, edge: int) -> float:
    """Return the Dice coefficient of a phantom's mask and the truth, with CT artefacts of default strength, 0..1."""
    specimen = make_specimen(species, number, edge, 0, Artefacts())
    grey, truth = np.ascontiguousarray(specimen.volume.T), specimen.mask.T
    mask = find_specimen(Volume(grey, np.array(specimen.zooms[::-1]), float(grey.min()), float(grey.max()), "")).mask
    return 2 * int((mask & truth).sum()) / int(mask.sum() + truth.sum())


def _overlap_with_truth(_scratch: Path) -> Iterator[Measurement]:
    overlaps = {species: [dice(species, number, EDGE) for number in range(SPECIMENS)] for species in FORMS}
    every = [value for values in overlaps.values() for value in values]
    yield Measurement("mask", float(np.mean(every)), "mean Dice of the twelve forms", bar=">= 0.95")
    yield Measurement(
        "mask of the worst form", min(float(np.mean(values)) for values in overlaps.values()), "mean Dice"
    )


BENCHMARKS = {"mask": _overlap_with_truth}
