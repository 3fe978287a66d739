"""Makes a whole set of synthetic photographs in parallel, with copies and second views of some specimens among them."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from components.phantoms.abundance import abundances
from components.phantoms.fishes.drawing import draw_individual, paint
from components.phantoms.fishes.forms import ALL_FISHES, FISHES, UNSEEN_FISHES
from components.phantoms.fishes.scene import photograph
from components.phantoms.specimen import specimen_rng
from components.phantoms.writer import MANIFEST, MANIFEST_COLUMNS, SPLIT_COLUMN, UNSEEN, check_folder, write_manifest
from components.shared.config import Frozen
from components.shared.errors import BadConfigError
from components.shared.files import atomic_folder
from components.shared.images.decoding import FORMATS
from components.shared.progress import Progress
from components.shared.workers import affordable_workers, map_in_order

PHOTOGRAPHS = "photographs"
SECOND_VIEW_EVERY, COPY_EVERY = 6, 40
_SIDES = (0.5, 1.6)
_BYTES_PER_PIXEL = 125
_CHOICE = ("JPEG",) * 7 + ("PNG", "WEBP", "BMP")
_ORIENTATION, _TURNED_RIGHT = 0x0112, 6

Pixels = NDArray[np.uint8]


class PhotoConfig(Frozen):
    """What to make.

    Attributes:
        specimens_per_species: individuals of the most frequent species.
        imbalance: how many times more of them there are than of the rarest species.
        unseen_per_species: individuals of each of the species that the classifier never sees.
        size: typical long side of a photograph in pixels; theirs are from half to one and a half of it.
        seed: the same seed gives the same bytes.
    """

    specimens_per_species: int = 200
    imbalance: float = 11.0
    unseen_per_species: int = 12
    size: int = 192
    seed: int = 0


@dataclass(frozen=True)
class PhotoTask:
    """One specimen to photograph."""

    folder: Path
    config: PhotoConfig
    species: str
    index: int


Row = tuple[str, str, str]


def generate_photographs(folder: Path, config: PhotoConfig, workers: int = 0) -> Path:
    """Writes photographs below `folder` and their list ``manifest.csv``; the bytes depend on `config` alone.

    Args:
        folder: where to write; it appears only when it is complete.
        config: what to make.
        workers: processes; 0 for one on each core.

    Returns:
        The path of ``manifest.csv``, with columns path (relative), species, specimen, split (``unseen`` or empty).

    Raises:
        BadConfigError: a size or number that cannot work, or a folder that holds something else.
    """
    _check(config)
    check_folder(folder, (MANIFEST, PHOTOGRAPHS))
    with atomic_folder(folder) as unfinished:
        tasks = _tasks(unfinished, config)
        processes = affordable_workers(workers, len(tasks), _BYTES_PER_PIXEL * round(_SIDES[1] * config.size) ** 2)
        progress = Progress("phantoms", len(tasks), "specimens")
        rows: list[Row] = []
        for _, written in map_in_order(write_photographs, tasks, processes):
            rows += written
            progress.advance()
        splits = ((*row, UNSEEN if row[1] in UNSEEN_FISHES else "") for row in rows)
        write_manifest(unfinished / MANIFEST, splits, (*MANIFEST_COLUMNS, SPLIT_COLUMN))
    return folder / MANIFEST


def write_photographs(task: PhotoTask) -> list[Row]:
    """Photographs one specimen, some of them twice; some photographs are there again, smaller, as another specimen."""
    config, species = task.config, task.species
    rng = specimen_rng(config.seed, species, task.index)
    canvas = paint(draw_individual(ALL_FISHES[species], rng))
    name = f"{species.lower()}-{task.index:03d}"
    (task.folder / PHOTOGRAPHS / species).mkdir(parents=True, exist_ok=True)
    rows = []
    for view in range(1, 3 if task.index % SECOND_VIEW_EVERY == 1 else 2):
        picture = photograph(canvas, round(config.size * rng.uniform(*_SIDES)), rng)
        format_ = _CHOICE[int(rng.integers(len(_CHOICE)))]
        rows.append(_written(task, picture, f"{name}_view{view}", name, format_, rng))
    if task.index % COPY_EVERY == 2:
        smaller = Image.fromarray(picture).resize((picture.shape[1] * 3 // 4, picture.shape[0] * 3 // 4))
        rows.append(_written(task, np.asarray(smaller), f"{name}-again", f"{name}-again", "JPEG", rng))
    return rows


def _check(config: PhotoConfig) -> None:
    if not 32 <= config.size <= 4096:
        raise BadConfigError(f"photographs of {config.size} pixels", "32 to 4096", "Choose another size.")
    if config.seed < 0:
        raise BadConfigError(f"seed {config.seed}", "0 or more", "Choose another seed.")


def _tasks(folder: Path, config: PhotoConfig) -> list[PhotoTask]:
    counts = abundances(tuple(FISHES), config.specimens_per_species, config.imbalance)
    counts |= dict.fromkeys(UNSEEN_FISHES, config.unseen_per_species)
    return [PhotoTask(folder, config, species, index) for species, count in counts.items() for index in range(count)]


def _written(task: PhotoTask, picture: Pixels, file: str, specimen: str, format_: str, rng: np.random.Generator) -> Row:
    path = f"{PHOTOGRAPHS}/{task.species}/{file}{FORMATS[format_][0]}"
    (task.folder / path).write_bytes(_encoded(picture, format_, rng))
    return path, task.species, specimen


def _encoded(picture: Pixels, format_: str, rng: np.random.Generator) -> bytes:
    """Encodes as a camera would: in some quality, and some JPEG files on their side with a note of how to hold them."""
    sink, exif = io.BytesIO(), Image.Exif()
    turned = format_ == "JPEG" and rng.random() < 0.1
    exif[_ORIENTATION] = _TURNED_RIGHT if turned else 1
    image = Image.fromarray(np.ascontiguousarray(np.rot90(picture)) if turned else picture)
    quality = int(rng.integers(60, 96))
    image.save(sink, format_, **({"quality": quality, "exif": exif} if format_ == "JPEG" else {}))
    return sink.getvalue()
