"""Generation of a set of synthetic photographs in parallel, with copies and second views of some specimens."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from components.phantoms.abundance import abundances
from components.phantoms.fishes.drawing import paint, sample_individual
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
_SIDE_RANGE = (0.5, 1.6)
_BYTES_PER_PIXEL = 125
_FORMAT_CHOICES = ("JPEG",) * 7 + ("PNG", "WEBP", "BMP")
_ORIENTATION, _ROTATED_RIGHT = 0x0112, 6

Pixels = NDArray[np.uint8]


class PhotoConfig(Frozen):
    """The settings of a set of synthetic photographs.

    Attributes:
        specimens_per_species: Individuals of the most frequent species.
        imbalance: Ratio of the individuals of the most frequent species to those of the rarest.
        unseen_per_species: Individuals of each unseen species.
        size: Typical long side of a photograph in pixels; actual ones are from 0.5 to 1.6 times as long.
        seed: Seed; the same seed gives the same bytes.
    """

    specimens_per_species: int = 200
    imbalance: float = 11.0
    unseen_per_species: int = 12
    size: int = 192
    seed: int = 0


@dataclass(frozen=True)
class PhotoTask:
    """One specimen to photograph.

    Attributes:
        folder: Folder of the set.
        config: Settings of the set.
        species: Key of ALL_FISHES.
        index: Number of the individual within the species.
    """

    folder: Path
    config: PhotoConfig
    species: str
    index: int


Row = tuple[str, str, str]


def generate_photographs(folder: Path, config: PhotoConfig, workers: int = 0) -> Path:
    """Write photographs into `folder` with their list ``manifest.csv``; the bytes depend only on `config`.

    Args:
        folder: Folder to write; it appears only when it is complete.
        config: Settings of the set.
        workers: Number of processes; 0 for one on each core.

    Returns:
        The path of ``manifest.csv``, with columns path (relative), species, specimen, split (``unseen`` or empty).

    Raises:
        BadConfigError: A number is out of range, or the folder contains other files.
    """
    check_config(config)
    check_folder(folder, (MANIFEST, PHOTOGRAPHS))
    with atomic_folder(folder) as new_folder:
        tasks = _tasks(new_folder, config)
        processes = affordable_workers(workers, len(tasks), _BYTES_PER_PIXEL * round(_SIDE_RANGE[1] * config.size) ** 2)
        progress = Progress("phantoms", len(tasks), "specimens")
        rows: list[Row] = []
        for _, specimen_rows in map_in_order(write_photographs, tasks, processes):
            rows += specimen_rows
            progress.advance()
        splits = ((*row, UNSEEN if row[1] in UNSEEN_FISHES else "") for row in rows)
        write_manifest(new_folder / MANIFEST, splits, (*MANIFEST_COLUMNS, SPLIT_COLUMN))
    return folder / MANIFEST


def write_photographs(task: PhotoTask) -> list[Row]:
    """Write the photographs of one specimen: of some a second view, and of some a smaller copy under another name."""
    config, species = task.config, task.species
    rng = specimen_rng(config.seed, species, task.index)
    canvas = paint(sample_individual(ALL_FISHES[species], rng))
    name = f"{species.lower()}-{task.index:03d}"
    (task.folder / PHOTOGRAPHS / species).mkdir(parents=True, exist_ok=True)
    rows = []
    for view in range(1, 3 if task.index % SECOND_VIEW_EVERY == 1 else 2):
        picture = photograph(canvas, round(config.size * rng.uniform(*_SIDE_RANGE)), rng)
        image_format = _FORMAT_CHOICES[int(rng.integers(len(_FORMAT_CHOICES)))]
        rows.append(_write_photograph(task, picture, f"{name}_view{view}", name, image_format, rng))
    if task.index % COPY_EVERY == 2:
        smaller = Image.fromarray(picture).resize((picture.shape[1] * 3 // 4, picture.shape[0] * 3 // 4))
        rows.append(_write_photograph(task, np.asarray(smaller), f"{name}-again", f"{name}-again", "JPEG", rng))
    return rows


def check_config(config: PhotoConfig) -> None:
    """Check size and seed.

    Raises:
        BadConfigError: A number is out of range.
    """
    if not 32 <= config.size <= 4096:
        raise BadConfigError(
            f"photographs of {config.size} pixels", "32 to 4096", "Set size to a number of pixels from 32 to 4096."
        )
    if config.seed < 0:
        raise BadConfigError(f"seed {config.seed}", "0 or more", "Set the seed to a whole number of 0 or more.")


def _tasks(folder: Path, config: PhotoConfig) -> list[PhotoTask]:
    counts = abundances(tuple(FISHES), config.specimens_per_species, config.imbalance)
    counts |= dict.fromkeys(UNSEEN_FISHES, config.unseen_per_species)
    return [PhotoTask(folder, config, species, index) for species, count in counts.items() for index in range(count)]


def _write_photograph(
    task: PhotoTask, picture: Pixels, file: str, specimen: str, image_format: str, rng: np.random.Generator
) -> Row:
    path = f"{PHOTOGRAPHS}/{task.species}/{file}{FORMATS[image_format][0]}"
    (task.folder / path).write_bytes(_encode(picture, image_format, rng))
    return path, task.species, specimen


def _encode(picture: Pixels, image_format: str, rng: np.random.Generator) -> bytes:
    """Encode a photograph with random quality; some JPEG files are rotated and have an EXIF orientation tag."""
    sink, exif = io.BytesIO(), Image.Exif()
    is_rotated = image_format == "JPEG" and rng.random() < 0.1
    exif[_ORIENTATION] = _ROTATED_RIGHT if is_rotated else 1
    image = Image.fromarray(np.ascontiguousarray(np.rot90(picture)) if is_rotated else picture)
    quality = int(rng.integers(60, 96))
    image.save(sink, image_format, **({"quality": quality, "exif": exif} if image_format == "JPEG" else {}))
    return sink.getvalue()
