"""Detection of rescans under other names, and wrongly joined specimens."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform

from components.ingest.near_copies.groups import search_near_copies
from components.ingest.slice_files import SliceJob
from components.ingest.sources.manifest import Scan
from components.ingest.volume_slices import cut_volume
from components.phantoms.anatomy.forms import FORMS
from components.phantoms.scanner import Artefacts, add_noise
from components.phantoms.specimen import Phantom, make_specimen
from components.phantoms.writer import nifti_bytes
from components.shared.workers import map_in_order
from tests.benchmarks.measurement import Measurement

SPECIMENS, RESCANS, SIZE = 96, 24, 56
SHIFT_VOXELS, SCALING, OFFSETS = 4, 0.02, (-15.0, 30.0)


def rescan(specimen: Phantom, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return a second scan of a phantom: shifted by a few voxels, scaled by 2 %, with new noise and grey offset.

    Args:
        specimen: First scan of the specimen.
        rng: Generator of the differences.

    Returns:
        uint8 [X, Y, Z] with a wider margin.
    """
    grey = specimen.volume.astype(np.float32)
    grey = np.pad(grey, SHIFT_VOXELS + 2, constant_values=float(np.percentile(grey, 10)))
    scale = 1 + SCALING * rng.choice([-1, 1])
    middle = (np.array(grey.shape) - 1) / 2
    shift = rng.integers(-SHIFT_VOXELS, SHIFT_VOXELS + 1, 3)
    shifted_grey = affine_transform(grey, np.eye(3) / scale, middle - (middle + shift) / scale, order=1, mode="nearest")
    noisy = add_noise(shifted_grey, 1.0, rng) + np.float32(rng.uniform(*OFFSETS))
    return np.clip(np.round(noisy), 0, 255).astype(np.uint8)


def write_scans(folder: Path, size: int, seed: int = 0) -> Iterator[Scan]:
    """Write SPECIMENS phantoms of all twelve species, and rescans of every fourth one under another name."""
    each = SPECIMENS // len(FORMS)
    for number in range(SPECIMENS):
        species = list(FORMS)[number // each]
        specimen = make_specimen(species, number % each, size, seed, Artefacts())
        yield _write(folder, specimen, specimen.name, specimen.volume)
        if number % (SPECIMENS // RESCANS) == 0:
            second_scan = rescan(specimen, np.random.default_rng([seed, number]))
            yield _write(folder, specimen, f"again-{specimen.name}", second_scan)


def count_groups(folder: Path, size: int, workers: int = 0, seed: int = 0) -> tuple[int, int]:
    """Return the number of rescans joined with their originals, and of groups with other members."""
    scans = list(write_scans(folder, size, seed))
    jobs = [SliceJob(scan.path, scan.file, folder / f"{scan.specimen}.arrow", 0, "random", 32, 0) for scan in scans]
    results = map_in_order(cut_volume, jobs, workers, "components.ingest.preload")
    fingerprints = [result.fingerprint for _, result in results]
    groups = [group.specimens for group in search_near_copies(scans, fingerprints).groups]
    correct = [group for group in groups if len(group) == 2 and group[1] == f"again-{group[0]}"]
    return len(correct), len(groups) - len(correct)


def _write(folder: Path, specimen: Phantom, name: str, volume: NDArray[np.uint8]) -> Scan:
    file = folder / f"{name}.nii.gz"
    file.write_bytes(nifti_bytes(volume, specimen.affine))
    return Scan(file.name, file, specimen.species, name)


def near_copies(scratch: Path) -> Iterable[Measurement]:
    """Count the rescans detected among different specimens."""
    correct, wrong = count_groups(scratch, SIZE)
    yield Measurement("ingest-near-copies found", correct, "rescans", RESCANS, correct / RESCANS, f">= 22 of {RESCANS}")
    yield Measurement("ingest-near-copies wrongly joined", wrong, "groups", 0, None, f"0 among {SPECIMENS} specimens")


BENCHMARKS = {"ingest-near-copies": near_copies}
