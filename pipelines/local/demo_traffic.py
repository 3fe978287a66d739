"""What the demonstration sends: slices of new synthetic specimens, act by act."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from components.ingest.slice_files import SliceJob, interleave
from components.ingest.volume_slices import cut_volume
from components.phantoms.scanner import Artefacts
from components.phantoms.specimen import make_specimen
from components.phantoms.writer import volume_path, write_specimen
from components.shared.config import Frozen
from components.shared.volumes.planes import Schedule
from components.shared.workers import map_in_order

FIRST_INDEX = 100_000
"""Training counts its specimens from 0, so that these are individuals which it has not seen."""
UNSEEN_SPECIES = "Bulloides"
USUAL, NOISY = Artefacts(), Artefacts(noise=6.0)


@dataclass(frozen=True)
class Act:
    """A part of the demonstration.

    Attributes:
        name: on the screen.
        text: what is sent.
        species: taken in turn; none stands for all that the model knows.
        artefacts: of the scanner.
        windows: how many windows of traffic.
        alert: whether the alert has to fire by the end of it.
    """

    name: str
    text: str
    species: tuple[str, ...]
    artefacts: Artefacts
    windows: int
    alert: bool


ACTS = (
    Act("clean", "new specimens, scanned as usual", (), USUAL, 2, alert=False),
    Act("artefact", "the same species by a noisy detector", (), NOISY, 2, alert=True),
    Act("mended", "the detector is mended", (), USUAL, 1, alert=False),
    Act("unseen species", f"{UNSEEN_SPECIES}, which the model never saw", (UNSEEN_SPECIES,), USUAL, 2, alert=True),
)


class TrafficConfig(Frozen):
    """How much is sent, and how it is cut: as the model's training did.

    Attributes:
        species: that the model knows.
        specimens: of a window.
        slices: of a specimen.
        phantom_size: edge of a synthetic volume in voxels.
        image_size: edge of a slice in pixels.
        planes: cutting planes.
        seed: of the specimens.
    """

    species: tuple[str, ...]
    specimens: int
    slices: int
    phantom_size: int
    image_size: int
    planes: Schedule
    seed: int


@dataclass(frozen=True)
class Order:
    """One specimen to make and cut."""

    species: str
    index: int
    artefacts: Artefacts
    config: TrafficConfig


def traffic(config: TrafficConfig) -> Iterator[tuple[Act, int, list[tuple[str, list[bytes]]]]]:
    """Yields (act, number of the window in it, raw slices as PNG by specimen), made by all cores ahead of time."""
    windows = [(act, number) for act in ACTS for number in range(1, act.windows + 1)]
    made = map_in_order(sliced_specimen, _orders(config))
    for act, number in windows:
        yield act, number, [next(made)[1] for _ in range(config.specimens)]


def sliced_specimen(order: Order) -> tuple[str, list[bytes]]:
    """Makes a specimen and cuts it by the ingest step's own work; returns its name and its raw slices as PNG."""
    config = order.config
    specimen = make_specimen(order.species, order.index, config.phantom_size, config.seed, order.artefacts)
    with tempfile.TemporaryDirectory() as folder:
        write_specimen(Path(folder), specimen, "volumes")
        path, part = volume_path(specimen.name, specimen.species, "volumes"), Path(folder) / "part"
        job = SliceJob(path, Path(folder) / path, part, config.slices, config.planes, config.image_size, config.seed)
        cut_volume(job)
        return specimen.name, [row["png"] for _, _, row in interleave([part])]


def _orders(config: TrafficConfig) -> Iterator[Order]:
    index = FIRST_INDEX
    for act in ACTS:
        for _ in range(act.windows * config.specimens):
            species = act.species or config.species
            yield Order(species[index % len(species)], index, act.artefacts, config)
            index += 1
