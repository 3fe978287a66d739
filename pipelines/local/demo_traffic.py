"""Traffic of the demonstration: slices of new synthetic specimens, phase by phase."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from components.ingest.slice_files import SliceJob, interleave
from components.ingest.volume_slices import cut_volume
from components.phantoms.scanner import Artefacts
from components.phantoms.specimen import Phantom, make_specimen
from components.phantoms.writer import volume_path, write_specimen
from components.shared.config import Frozen
from components.shared.errors import BadSourceFileError
from components.shared.volumes.plane_schedules import Schedule
from components.shared.workers import map_in_order

FIRST_INDEX = 100_000
"""Index of the first specimen. Training specimens are numbered from 0, so none of these is among them."""
UNSEEN_SPECIES = "Bulloides"
USUAL, NOISY = Artefacts(), Artefacts(noise=6.0)


@dataclass(frozen=True)
class Phase:
    """A phase of the demonstration.

    Attributes:
        name: Name on the console.
        text: Description of the traffic.
        species: Species of the specimens, in turn; empty for all species of the model.
        artefacts: Artefacts of the scanner.
        windows: Number of traffic windows.
        alert: True if the alert must fire by the end of the phase.
    """

    name: str
    text: str
    species: tuple[str, ...]
    artefacts: Artefacts
    windows: int
    alert: bool


PHASES = (
    Phase("clean", "new specimens, scanned as usual", (), USUAL, 2, alert=False),
    Phase("artefact", "the same species, scanned by a noisy detector", (), NOISY, 2, alert=True),
    Phase("repaired", "the detector is repaired", (), USUAL, 1, alert=False),
    Phase("unseen species", f"{UNSEEN_SPECIES}, not in the training data", (UNSEEN_SPECIES,), USUAL, 2, alert=True),
)


class TrafficConfig(Frozen):
    """Amount of traffic, and slicing options as in the model's training.

    Attributes:
        species: Species of the model.
        specimens: Number of specimens in a window.
        slices: Number of slices of a specimen.
        phantom_size: Edge of a synthetic volume in voxels.
        image_size: Edge of a slice in pixels.
        planes: Schedule of the cutting planes.
        seed: Seed of the specimens.
    """

    species: tuple[str, ...]
    specimens: int
    slices: int
    phantom_size: int
    image_size: int
    planes: Schedule
    seed: int


@dataclass(frozen=True)
class SpecimenJob:
    """One specimen to generate and cut.

    Attributes:
        species: Species of the specimen.
        index: Index of the specimen.
        artefacts: Artefacts of the scanner.
        config: Sizes, planes and seed.
    """

    species: str
    index: int
    artefacts: Artefacts
    config: TrafficConfig


def traffic(config: TrafficConfig) -> Iterator[tuple[Phase, int, list[tuple[str, list[bytes]]]]]:
    """Yield (phase, number of the window in it, raw slices as PNG by specimen); all cores generate specimens ahead."""
    windows = [(phase, number) for phase in PHASES for number in range(1, phase.windows + 1)]
    results = map_in_order(specimen_slices, _jobs(config))
    for phase, number in windows:
        yield phase, number, [next(results)[1] for _ in range(config.specimens)]


def specimen_slices(job: SpecimenJob) -> tuple[str, list[bytes]]:
    """Generate a specimen and return its name and its raw slices as PNG."""
    config = job.config
    specimen = make_specimen(job.species, job.index, config.phantom_size, config.seed, job.artefacts)
    return specimen.name, cut_specimen(specimen, config.slices, config.planes, config.image_size, config.seed)


def cut_specimen(specimen: Phantom, slices: int, planes: Schedule, image_size: int, seed: int) -> list[bytes]:
    """Cut a synthetic specimen with the function of the ingest step; return its raw slices as PNG.

    Args:
        specimen: Specimen with its volume.
        slices: Number of slices.
        planes: Schedule of the cutting planes.
        image_size: Edge of a slice in pixels.
        seed: Seed of the planes.

    Raises:
        BadSourceFileError: The ingest step rejects the volume.
    """
    with tempfile.TemporaryDirectory() as folder:
        write_specimen(Path(folder), specimen, "volumes")
        path, part = volume_path(specimen.name, specimen.species, "volumes"), Path(folder) / "part"
        result = cut_volume(SliceJob(path, Path(folder) / path, part, slices, planes, image_size, seed))
        if result.refusal:
            raise BadSourceFileError(f"{specimen.name}: {result.refusal}")
        return [row["png"] for _, _, row in interleave([part])]


def _jobs(config: TrafficConfig) -> Iterator[SpecimenJob]:
    index = FIRST_INDEX
    for phase in PHASES:
        for _ in range(phase.windows * config.specimens):
            species = phase.species or config.species
            yield SpecimenJob(species[index % len(species)], index, phase.artefacts, config)
            index += 1
