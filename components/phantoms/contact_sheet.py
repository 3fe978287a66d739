"""One picture of all twelve forms: from outside, and in oblique sections of four individuals each."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps
from scipy import ndimage
from scipy.spatial.transform import Rotation

from components.phantoms.anatomy.body import coverage, draw_body
from components.phantoms.anatomy.forms import FORMS
from components.phantoms.scanner import CLEAN, Artefacts
from components.phantoms.specimen import make_specimen, specimen_rng
from components.shared.pages import page, picture

Picture = NDArray[np.uint8]
Solid = NDArray[np.float32]

VIEW = 176
SECTION = 110
SECTIONS = 4
COLUMNS = 3
GAP = 8
TITLE = 22
PAPER, INK = 255, 24
VIEWING_TILT_DEGREES = 62.0
_LIGHT = np.array([-0.45, -0.75, 0.5])
_GREYS = 40
_SAMPLES_PER_AXIS = 96
_SHOWN = 1100


def contact_sheet(seed: int, size: int = 96, artefacts: Artefacts = CLEAN) -> bytes:
    """Draws the twelve forms.

    Args:
        seed: the seed of the individuals that are shown.
        size: edge of their scanned cubes, voxels.
        artefacts: of the sections.

    Returns:
        A grey PNG, below 400 kB.
    """
    tiles = [_tile(species, seed, size, artefacts) for species in FORMS]
    height, width = tiles[0].shape
    rows = -(-len(tiles) // COLUMNS)
    sheet = np.full((rows * (height + GAP) + GAP, COLUMNS * (width + GAP) + GAP), PAPER, np.uint8)
    for i, tile in enumerate(tiles):
        top, left = GAP + i // COLUMNS * (height + GAP), GAP + i % COLUMNS * (width + GAP)
        sheet[top : top + height, left : left + width] = tile
    return _png(sheet)


def contact_sheet_html(png: bytes) -> str:
    """Returns a self-contained page that shows the PNG."""
    return page("Synthetic specimens", [picture(png, "The twelve forms from outside and in oblique sections.", _SHOWN)])


def _tile(species: str, seed: int, size: int, artefacts: Artefacts) -> Picture:
    """Returns a species' part of the sheet: its name, a view from outside, sections of four individuals."""
    view = _framed(outside_view(species, seed, size * 4 // 3), VIEW)
    sections = [_framed(oblique_section(species, i, seed, size, artefacts), SECTION) for i in range(SECTIONS)]
    half = SECTIONS // 2
    side = np.vstack([np.hstack(sections[:half]), np.hstack(sections[half:])])
    height = max(VIEW, side.shape[0])
    body = np.zeros((height, VIEW + side.shape[1]), np.uint8)
    top = (height - VIEW) // 2
    body[top : top + VIEW, :VIEW] = view
    body[: side.shape[0], VIEW:] = side
    return np.vstack([_title(species, body.shape[1]), body])


def _title(text: str, width: int) -> Picture:
    banner = Image.new("L", (width, TITLE), PAPER)
    font = ImageFont.load_default(size=17)
    ImageDraw.Draw(banner).text((2, 0), text, fill=INK, font=font)
    return np.asarray(banner)


def _framed(picture: Picture, edge: int) -> Picture:
    """Returns the picture centred on black, `edge` pixels square, scaled to fill it."""
    image = ImageOps.contain(Image.fromarray(picture), (edge - GAP, edge - GAP), Image.Resampling.LANCZOS)
    frame = Image.new("L", (edge, edge), 0)
    frame.paste(image, ((edge - image.width) // 2, (edge - image.height) // 2))
    return np.asarray(frame)


def outside_view(species: str, seed: int, size: int) -> Picture:
    """Returns a shaded view of an unworn individual from obliquely above, uint8 [size, size]."""
    tilt = Rotation.from_euler("zx", [25.0, VIEWING_TILT_DEGREES], degrees=True).as_matrix()
    body = draw_body(species, size, tilt, specimen_rng(seed, species, 0))
    return shaded(coverage(body.shell), 0.5)


def shaded(solid: Solid, level: float) -> Picture:
    """Renders a volume seen along its third axis: light from the upper left, creases darker.

    Args:
        solid: float32 [X, Y, Z]; X runs to the right, Y downwards.
        level: where the surface lies.

    Returns:
        uint8 [Y, X].
    """
    hit = solid > level
    first = np.argmax(hit, axis=2)
    seen = hit.any(axis=2)
    soft = ndimage.gaussian_filter(solid, 1.2)
    normal = -_slope(soft, first)
    normal = normal / np.maximum(np.linalg.norm(normal, axis=0), 1e-6)
    light = np.clip(np.tensordot(_LIGHT * [1, 1, -1] / np.linalg.norm(_LIGHT), normal, 1), 0, 1)
    depth = np.where(seen, first, solid.shape[2]).astype(np.float32)
    crease = np.clip((depth - ndimage.gaussian_filter(depth, 3.0)) / 8.0, 0, 0.5)
    near = 1.0 - 0.45 * depth / solid.shape[2]
    shade = np.where(seen, (0.25 + 0.85 * light) * near * (1.0 - crease), 0)
    return np.clip(255 * shade, 0, 255).astype(np.uint8).T


def _slope(soft: Solid, depth: NDArray[np.intp]) -> Solid:
    """Returns the gradient, float32 [3, X, Y], of a volume at one depth in each of its columns (central)."""
    padded = np.pad(soft, 1, mode="edge")
    here = np.stack([*np.indices(depth.shape), depth]) + 1
    ways = np.eye(3, dtype=np.intp)[:, :, None, None]
    return np.stack([padded[tuple(here + way)] - padded[tuple(here - way)] for way in ways])


def oblique_section(species: str, index: int, seed: int, size: int, artefacts: Artefacts) -> Picture:
    """Returns a random oblique section of an individual, cropped to it, uint8."""
    specimen = make_specimen(species, index, size, seed, artefacts)
    rng = np.random.default_rng([seed, index])
    frame = Rotation.random(rng=rng).as_matrix()
    where = np.argwhere(specimen.mask)
    zooms = np.array(specimen.zooms) / specimen.zooms[0]
    middle = where.mean(axis=0) * zooms + frame[2] * rng.uniform(-0.15, 0.15) * size
    steps = np.linspace(-0.62 * size, 0.62 * size, int(2 * 0.62 * _SAMPLES_PER_AXIS))
    plane = middle[:, None, None] + frame[0][:, None, None] * steps[:, None] + frame[1][:, None, None] * steps
    section = ndimage.map_coordinates(specimen.volume.astype(np.float32), plane / zooms[:, None, None], order=1)
    kept = ndimage.map_coordinates(specimen.mask.astype(np.float32), plane / zooms[:, None, None], order=1) > 0.5
    rows, columns = np.flatnonzero(kept.any(axis=1)), np.flatnonzero(kept.any(axis=0))
    cropped = section[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    dark, bright = np.percentile(specimen.volume, 10), np.percentile(cropped, 98)
    return np.clip((cropped - dark) * (250.0 / (bright - dark)), 0, 255).astype(np.uint8)


def _png(picture: Picture) -> bytes:
    """Returns an optimised PNG of few grey levels."""
    coarse = np.round(picture / 255.0 * (_GREYS - 1)).astype(np.uint8)
    image = Image.fromarray(coarse, mode="P")
    ramp = np.repeat(np.round(np.linspace(0, 255, _GREYS)).astype(np.uint8), 3)
    image.putpalette(ramp.tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
