"""Classified slices of specimens that are in neither training nor reference, by the defect of their scans.

Each slice is cut, segmented and classified once; windows are then drawn from these pools.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage

from components.phantoms.anatomy.forms import FORMS
from components.phantoms.anatomy.growth import UNSEEN_FORMS
from components.phantoms.scanner import Artefacts
from components.phantoms.specimen import Phantom, make_specimen
from components.shared.images.decoding import Pixels, decode_image, encode_png
from components.shared.images.descriptors import describe
from components.shared.images.segmentation import segment_slice
from components.shared.workers import map_in_order
from pipelines.local.demo_traffic import cut_specimen

FIRST_INDEX = 200_000
"""Index of the first specimen: those of the training start at 0, those of the demonstration at 100,000."""
SLICES, EDGE, SEED = 10, 64, 0
CLEAN_OF_SPECIES, OTHERS_OF_SPECIES, UNSEEN_OF_SPECIES = 25, 5, 12
SEVERITIES: dict[str, tuple[float, float, float]] = {
    "noise": (2, 3, 6),
    "blur": (2, 3, 5),
    "rings": (2, 3, 6),
    "coarser": (1.5, 2, 3),
    "contrast": (0.8, 0.6, 0.4),
    "offset": (10, 20, 40),
}
"""Artefacts and voxel size relative to usual scans (3 is a bad one), contrast factor, offset in grey levels."""


@dataclass(frozen=True)
class Scan:
    """A specimen and the defect of its scan.

    Attributes:
        species: Species of the specimen, a key of `components.phantoms.anatomy.body.ALL_FORMS`.
        index: Index of the specimen.
        kind: Kind of the defect, a key of SEVERITIES, or `clean`.
        severity: Severity of the defect.
    """

    species: str
    index: int
    kind: str = "clean"
    severity: float = 0.0


def scans() -> Iterator[Scan]:
    """Yield the specimens of all pools; each specimen is in one pool."""
    index = FIRST_INDEX
    for kind, severity, of_species in _conditions():
        for species in UNSEEN_FORMS if kind == "unseen" else FORMS:
            for _ in range(of_species):
                yield Scan(species, index, kind, severity)
                index += 1


def _conditions() -> Iterator[tuple[str, float, int]]:
    yield "clean", 0.0, CLEAN_OF_SPECIES
    yield "unseen", 0.0, UNSEEN_OF_SPECIES
    for kind, severities in SEVERITIES.items():
        for severity in severities:
            yield kind, severity, OTHERS_OF_SPECIES


def slice_rows(scan: Scan) -> list[dict[str, object]]:
    """Return a row for each slice of a scan: truth, specimen, defect, descriptors, and the predictor's input `png`."""
    rows = []
    for raw in cut_specimen(_scan(scan), SLICES, "random", EDGE, SEED):
        image = segment_slice(_change_grey_values(decode_image(raw, 1), scan))
        labels = {"truth": scan.species, "specimen": f"{scan.species}-{scan.index}"}
        rows.append(
            {**labels, "kind": scan.kind, "severity": scan.severity, **describe(image), "png": encode_png(image)}
        )
    return rows


def _scan(scan: Scan) -> Phantom:
    strengths = {scan.kind: scan.severity} if scan.kind in Artefacts.model_fields else {}
    specimen = make_specimen(scan.species, scan.index, EDGE, SEED, Artefacts(**strengths))
    return _coarser(specimen, scan.severity) if scan.kind == "coarser" else specimen


def _coarser(specimen: Phantom, factor: float) -> Phantom:
    """Return the specimen scanned with voxels wider by a factor, each the mean of the voxels that it covers."""
    means = ndimage.uniform_filter(specimen.volume.astype(np.float32), round(factor), mode="nearest")
    volume = np.round(ndimage.zoom(means, 1 / factor, order=1, grid_mode=True, mode="nearest")).astype(np.uint8)
    affine = specimen.affine @ np.diag([factor, factor, factor, 1.0])
    return dataclasses.replace(specimen, volume=volume, mask=volume > 0, affine=affine)


def _change_grey_values(image: Pixels, scan: Scan) -> Pixels:
    """Change the grey values of a raw slice like a different export from the scanner."""
    if scan.kind == "contrast":
        return np.round(image.mean() + scan.severity * (image - image.mean())).astype(np.uint8)
    if scan.kind == "offset":
        return np.clip(image.astype(np.int16) + int(scan.severity), 0, 255).astype(np.uint8)
    return image


def classified_pools(model: Path) -> pd.DataFrame:
    """Generate the pools and classify every slice with a served model.

    Args:
        model: Folder of the SavedModel, `<repository>/<name>/<version>`.

    Returns:
        A row for each slice: `kind`, `severity`, `truth`, and the fields of a drift event.
    """
    slices = pd.DataFrame([row for _, rows in map_in_order(slice_rows, scans()) for row in rows])
    return slices.drop(columns="png").join(_predict(model, slices["png"].to_list()))


def _predict(model: Path, images: list[bytes]) -> pd.DataFrame:
    import tensorflow as tf

    signature = tf.saved_model.load(str(model)).signatures["serving_default"]
    batches = []
    for start in range(0, len(images), 256):
        outputs = signature(image_bytes=tf.constant(images[start : start + 256]))
        batches.append({name: value.numpy() for name, value in outputs.items()})
    columns = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    return pd.DataFrame(
        {
            "species": [name.decode() for name in columns["species"]],
            "confidence": columns["confidence"].astype(np.float64),
            "unknown": columns["unknown"].astype(bool),
            "embedding": list(columns["embedding"].astype(np.float64)),
        }
    )
