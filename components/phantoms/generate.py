"""Makes a whole set of synthetic specimens in parallel."""

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

SMALLEST_EDGE, LARGEST_EDGE = 32, 512
_BYTES_PER_VOXEL = 120
UNSEEN_MANIFEST = "unseen.csv"


class PhantomConfig(Frozen):
    """What to make.

    Attributes:
        specimens_per_species: individuals of each species that the classifier learns.
        unseen_per_species: individuals of each of the seven grown species that it never sees; 0 for none.
        size: edge of the scanned cube in voxels, 32 to 512.
        seed: the same seed gives the same bytes.
        artefacts: strengths of the scanner's artefacts.
        species: which of the twelve forms.
        imbalance: how many times more specimens the first of them has than the last.
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
    """Writes ``volumes``, ``masks``, ``unseen``, their lists ``manifest.csv`` and ``unseen.csv`` into `folder`.

    The folder appears only when it is complete; what it held before is replaced. The bytes depend on `config` alone.

    Args:
        folder: where to write.
        config: what to make.
        workers: processes; 0 for one on each core, 1 stays in this process.

    Returns:
        The path of ``manifest.csv``, with columns path (relative), species, specimen, and where there are unseen
        species also split, which is ``unseen`` for them.

    Raises:
        BadConfigError: an unknown species, a size or count that cannot work, or a folder that holds something else.
    """
    check_config(config)
    check_folder(folder, (MANIFEST, UNSEEN_MANIFEST))
    with atomic_folder(folder) as unfinished:
        tasks = _tasks(unfinished, config)
        processes = affordable_workers(workers, len(tasks), _BYTES_PER_VOXEL * config.size**3)
        progress = Progress("phantoms", len(tasks), "specimens")
        rows: dict[str, list[tuple[str, str, str]]] = {"volumes": [], "unseen": []}
        for _, (root, species, name) in map_in_order(_write_one, tasks, processes):
            rows[root].append((volume_path(name, species, root), species, name))
            progress.advance()
        _write_manifests(unfinished, rows["volumes"], rows["unseen"])
    return folder / MANIFEST


def check_config(config: PhantomConfig) -> None:
    """Refuses what cannot be made.

    Raises:
        BadConfigError: names the value, the limits and the remedy.
    """
    unknown = [species for species in config.species if species not in FORMS]
    if unknown or not config.species:
        found = f"species {', '.join(unknown)}" if unknown else "no species"
        raise BadConfigError(found, f"some of {', '.join(FORMS)}", "Correct the list of species.")
    if len(set(config.species)) < len(config.species):
        raise BadConfigError("a species twice in the list", "each species once", "Remove the repetition.")
    if not SMALLEST_EDGE <= config.size <= LARGEST_EDGE:
        expected = f"{SMALLEST_EDGE} to {LARGEST_EDGE} voxels"
        raise BadConfigError(f"size {config.size}", expected, "Choose an edge at which walls can be seen.")
    if not 1 <= config.specimens_per_species <= 999:
        found = f"{config.specimens_per_species} specimens per species"
        raise BadConfigError(found, "1 to 999", "Ask for another number.")
    if not 0 <= config.unseen_per_species <= 999:
        raise BadConfigError(f"{config.unseen_per_species} unseen specimens per species", "0 to 999", "Ask for fewer.")
    abundances(config.species, config.specimens_per_species, config.imbalance)
    if config.seed < 0:
        raise BadConfigError(f"seed {config.seed}", "0 or more", "Choose another seed.")


def _tasks(folder: Path, config: PhantomConfig) -> list[Task]:
    """Returns one task for each specimen, known species first."""
    counts = [*abundances(config.species, config.specimens_per_species, config.imbalance).items()]
    counts += [(species, config.unseen_per_species) for species in GROWTH_RULES]
    return [(folder, config, species, index) for species, count in counts for index in range(count)]


def _write_manifests(
    folder: Path, known: Sequence[tuple[str, str, str]], unseen: Sequence[tuple[str, str, str]]
) -> None:
    columns = (*MANIFEST_COLUMNS, SPLIT_COLUMN) if unseen else MANIFEST_COLUMNS
    rows = [(*row, "") if unseen else row for row in known]
    write_manifest(folder / MANIFEST, [*rows, *((*row, UNSEEN) for row in unseen)], columns)
    write_manifest(folder / UNSEEN_MANIFEST, unseen)


def _write_one(task: Task) -> tuple[str, str, str]:
    folder, config, species, index = task
    specimen = make_specimen(species, index, config.size, config.seed, config.artefacts)
    root = "volumes" if species in FORMS else "unseen"
    write_specimen(folder, specimen, root)
    return root, species, specimen.name
