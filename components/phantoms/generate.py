"""Generation of a set of synthetic volumes in parallel, with masks and manifests."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from components.phantoms.abundance import abundances
from components.phantoms.anatomy.forms import FORMS
from components.phantoms.anatomy.growth import GROWTH_RULES
from components.phantoms.scanner import Artefacts
from components.phantoms.specimen import make_specimen
from components.phantoms.writer import (
    MANIFEST,
    MANIFEST_COLUMNS,
    SPLIT_COLUMN,
    UNSEEN,
    check_folder,
    volume_path,
    write_manifest,
    write_specimen,
)
from components.shared.config import Frozen
from components.shared.errors import BadConfigError
from components.shared.files import atomic_folder
from components.shared.progress import Progress
from components.shared.workers import affordable_workers, map_in_order

MIN_EDGE, MAX_EDGE, MAX_SPECIMENS = 32, 512, 999
_BYTES_PER_VOXEL = 120
UNSEEN_MANIFEST = "unseen.csv"


class PhantomConfig(Frozen):
    """The settings of a set of synthetic specimens.

    Attributes:
        specimens_per_species: Individuals of each species of the classifier.
        unseen_per_species: Individuals of each of the seven unseen species; 0 for none.
        size: Edge of the scanned cube in voxels, 32 to 512.
        seed: Seed; the same seed gives the same bytes.
        artefacts: Strengths of the scanner's artefacts.
        species: Names of some of the twelve forms.
        imbalance: Ratio of the specimens of the first species to those of the last.
    """

    specimens_per_species: int = 20
    unseen_per_species: int = 4
    size: int = 64
    seed: int = 0
    artefacts: Artefacts = Artefacts()
    species: tuple[str, ...] = Field(default=tuple(FORMS))
    imbalance: float = 1.0


Task = tuple[Path, PhantomConfig, str, int]


def generate_phantoms(folder: Path, config: PhantomConfig, workers: int = 0) -> Path:
    """Write ``volumes``, ``masks``, ``unseen``, and their lists ``manifest.csv`` and ``unseen.csv`` into `folder`.

    The folder appears only when it is complete and replaces an older set. The bytes depend only on `config`.

    Args:
        folder: Folder to write.
        config: Settings of the set.
        workers: Number of processes; 0 for one on each core, 1 for this process only.

    Returns:
        The path of ``manifest.csv``, with columns path (relative), species, specimen, and if there are unseen species
        also split, which is ``unseen`` for them.

    Raises:
        BadConfigError: A species is unknown, a number is out of range, or the folder contains other files.
    """
    check_config(config)
    check_folder(folder, (MANIFEST, UNSEEN_MANIFEST))
    with atomic_folder(folder) as new_folder:
        tasks = _tasks(new_folder, config)
        processes = affordable_workers(workers, len(tasks), _BYTES_PER_VOXEL * config.size**3)
        progress = Progress("phantoms", len(tasks), "specimens")
        rows: dict[str, list[tuple[str, str, str]]] = {"volumes": [], "unseen": []}
        for _, (root, species, name) in map_in_order(_write_task, tasks, processes):
            rows[root].append((volume_path(name, species, root), species, name))
            progress.advance()
        _write_manifests(new_folder, rows["volumes"], rows["unseen"])
    return folder / MANIFEST


def check_config(config: PhantomConfig) -> None:
    """Check the settings of a set.

    Raises:
        BadConfigError: A species is unknown or listed twice, or a number is out of range.
    """
    unknown = [species for species in config.species if species not in FORMS]
    if unknown or not config.species:
        names = f"species {', '.join(unknown)}" if unknown else "no species"
        raise BadConfigError(names, f"some of {', '.join(FORMS)}", "Correct the list of species.")
    if len(set(config.species)) < len(config.species):
        raise BadConfigError("a species twice in the list", "each species once", "Remove the repetition.")
    _check_range("size", config.size, MIN_EDGE, MAX_EDGE, "voxels")
    _check_range("specimens_per_species", config.specimens_per_species, 1, MAX_SPECIMENS, "specimens")
    _check_range("unseen_per_species", config.unseen_per_species, 0, MAX_SPECIMENS, "specimens")
    abundances(config.species, config.specimens_per_species, config.imbalance)
    if config.seed < 0:
        raise BadConfigError(f"seed {config.seed}", "0 or more", "Set the seed to a whole number of 0 or more.")


def _check_range(name: str, value: int, low: int, high: int, unit: str) -> None:
    """Check one number.

    Raises:
        BadConfigError: The value is less than `low` or greater than `high`.
    """
    if not low <= value <= high:
        limits = f"{low} to {high} {unit}"
        raise BadConfigError(f"{name} {value}", limits, f"Set {name} to {limits}.")


def _tasks(folder: Path, config: PhantomConfig) -> list[Task]:
    """Return one task for each specimen, known species first."""
    counts = [*abundances(config.species, config.specimens_per_species, config.imbalance).items()]
    counts += [(species, config.unseen_per_species) for species in GROWTH_RULES]
    return [(folder, config, species, index) for species, count in counts for index in range(count)]


def _write_manifests(
    folder: Path, seen_rows: Sequence[tuple[str, str, str]], unseen_rows: Sequence[tuple[str, str, str]]
) -> None:
    columns = (*MANIFEST_COLUMNS, SPLIT_COLUMN) if unseen_rows else MANIFEST_COLUMNS
    rows = [(*row, "") if unseen_rows else row for row in seen_rows]
    write_manifest(folder / MANIFEST, [*rows, *((*row, UNSEEN) for row in unseen_rows)], columns)
    write_manifest(folder / UNSEEN_MANIFEST, unseen_rows)


def _write_task(task: Task) -> tuple[str, str, str]:
    folder, config, species, index = task
    specimen = make_specimen(species, index, config.size, config.seed, config.artefacts)
    root = "volumes" if species in FORMS else "unseen"
    write_specimen(folder, specimen, root)
    return root, species, specimen.name
