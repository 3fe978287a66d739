"""The kinds of synthetic specimens, by name."""

from collections.abc import Callable
from pathlib import Path

from components.phantoms.contact_sheet import contact_sheet, contact_sheet_html
from components.phantoms.fishes.dataset import PhotoConfig, generate_photographs
from components.phantoms.fishes.drawing import draw_individual, paint
from components.phantoms.fishes.forms import ALL_FISHES, UNSEEN_FISHES
from components.phantoms.fishes.scene import photograph
from components.phantoms.generate import PhantomConfig, generate_phantoms
from components.phantoms.specimen import specimen_rng
from components.shared.errors import BadConfigError
from components.shared.images.decoding import encode_png
from components.shared.pages import heading, page, paragraph, picture

_SHEET_VOXELS, _SHOWN, _SHOWN_PIXELS = 96, 6, 160


def make_phantoms(kind: str, folder: Path, specimens: int, size: int, seed: int, imbalance: float) -> str:
    """Makes a set of synthetic specimens and returns a page that shows it.

    Args:
        kind: a key of KINDS.
        folder: where to write.
        specimens: of each species, where imbalanced of the most frequent one.
        size: of a volume in voxels, or of a photograph in pixels.
        seed: the same seed gives the same bytes.
        imbalance: how many times more specimens the most frequent species has than the rarest.

    Raises:
        BadConfigError: no such kind, or numbers that cannot work.
    """
    if kind not in KINDS:
        raise BadConfigError(f"phantoms of the kind {kind!r}", f"one of {', '.join(KINDS)}", "Mend the parameter.")
    return KINDS[kind](folder, specimens, size, seed, imbalance)


def _volumes(folder: Path, specimens: int, size: int, seed: int, imbalance: float) -> str:
    config = PhantomConfig(specimens_per_species=specimens, size=size, seed=seed, imbalance=imbalance)
    generate_phantoms(folder, config)
    return contact_sheet_html(contact_sheet(seed, min(size, _SHEET_VOXELS)))


def _photographs(folder: Path, specimens: int, size: int, seed: int, imbalance: float) -> str:
    config = PhotoConfig(specimens_per_species=specimens, size=size, seed=seed, imbalance=imbalance)
    generate_photographs(folder, config)
    return photographs_html(seed)


def photographs_html(seed: int) -> str:
    """Returns a page with some photographs of each species."""
    parts = [paragraph("Synthetic fishes in synthetic scenes; they are of no real species.")]
    for species in ALL_FISHES:
        role = "outside the model" if species in UNSEEN_FISHES else "in the model"
        parts += [heading(f"{species}, {role}"), *(_shown(species, seed, index) for index in range(_SHOWN))]
    return page("Synthetic photographs", parts)


def _shown(species: str, seed: int, index: int) -> str:
    rng = specimen_rng(seed, species, index)
    canvas = paint(draw_individual(ALL_FISHES[species], rng))
    return picture(encode_png(photograph(canvas, _SHOWN_PIXELS, rng)), f"{species.lower()}-{index:03d}", _SHOWN_PIXELS)


KINDS: dict[str, Callable[[Path, int, int, int, float], str]] = {"volumes": _volumes, "photographs": _photographs}
