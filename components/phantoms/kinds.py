"""The kinds of synthetic data, volumes and photographs, with a function that makes a set of each."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from components.phantoms.contact_sheet import contact_sheet, contact_sheet_html
from components.phantoms.fishes.dataset import PhotoConfig, generate_photographs
from components.phantoms.fishes.drawing import paint, sample_individual
from components.phantoms.fishes.forms import ALL_FISHES, UNSEEN_FISHES
from components.phantoms.fishes.scene import photograph
from components.phantoms.generate import PhantomConfig, generate_phantoms
from components.phantoms.specimen import specimen_rng
from components.shared.errors import BadConfigError
from components.shared.images.decoding import encode_png
from components.shared.pages import heading, page, paragraph, picture

_MAX_SHEET_VOXELS, _PHOTOGRAPHS_PER_SPECIES, _PHOTOGRAPH_PIXELS = 96, 6, 160


@dataclass(frozen=True)
class PhantomRequest:
    """The parameters that all kinds of synthetic data share.

    Attributes:
        specimens_per_species: Specimens of each species, or of the most frequent one if imbalanced.
        size: Edge of a volume in voxels, or typical long side of a photograph in pixels.
        seed: Seed; the same seed gives the same bytes.
        imbalance: Ratio of the specimens of the most frequent species to those of the rarest.
    """

    specimens_per_species: int
    size: int
    seed: int
    imbalance: float


def make_phantoms(kind: str, request: PhantomRequest, folder: Path) -> str:
    """Write a set of synthetic specimens and return a page that shows it.

    Args:
        kind: Key of KINDS.
        request: Number, size, seed and imbalance of the specimens.
        folder: Folder to write.

    Raises:
        BadConfigError: The kind is unknown, or a number is out of range.
    """
    if kind not in KINDS:
        kinds = ", ".join(KINDS)
        raise BadConfigError(f"phantoms of kind {kind!r}", f"one of {kinds}", f"Set kind to one of {kinds}.")
    return KINDS[kind](request, folder)


def _make_volumes(request: PhantomRequest, folder: Path) -> str:
    generate_phantoms(folder, PhantomConfig(**asdict(request)))
    return contact_sheet_html(contact_sheet(request.seed, min(request.size, _MAX_SHEET_VOXELS)))


def _make_photographs(request: PhantomRequest, folder: Path) -> str:
    generate_photographs(folder, PhotoConfig(**asdict(request)))
    return photographs_html(request.seed)


def photographs_html(seed: int) -> str:
    """Return a page with some photographs of each species."""
    parts = [paragraph("Synthetic fishes in synthetic scenes. They do not represent real species.")]
    for species in ALL_FISHES:
        role = "unseen species" if species in UNSEEN_FISHES else "species of the model"
        pictures = (_photograph_figure(species, seed, index) for index in range(_PHOTOGRAPHS_PER_SPECIES))
        parts += [heading(f"{species}, {role}"), *pictures]
    return page("Synthetic photographs", parts)


def _photograph_figure(species: str, seed: int, index: int) -> str:
    rng = specimen_rng(seed, species, index)
    png = encode_png(photograph(paint(sample_individual(ALL_FISHES[species], rng)), _PHOTOGRAPH_PIXELS, rng))
    return picture(png, f"{species.lower()}-{index:03d}", _PHOTOGRAPH_PIXELS)


KINDS: dict[str, Callable[[PhantomRequest, Path], str]] = {"volumes": _make_volumes, "photographs": _make_photographs}
