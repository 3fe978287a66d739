"""Contact sheet of the twelve forms: of each an outside view, and oblique sections of four individuals."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps
from scipy import ndimage
from scipy.spatial.transform import Rotation

from components.phantoms.anatomy.body import Solid, coverage, draw_body
from components.phantoms.anatomy.forms import FORMS
from components.phantoms.scanner import CLEAN, Artefacts
from components.phantoms.specimen import make_specimen, specimen_rng
from components.shared.pages import page, picture

Picture = NDArray[np.uint8]

VIEW = 176
SECTION = 110
SECTIONS = 4
COLUMNS = 3
GAP = 8
TITLE = 22
BACKGROUND, TEXT = 255, 24
VIEWING_TILT_DEGREES = 62.0
_LIGHT = np.array([-0.45, -0.75, 0.5])
_GREY_LEVELS = 40
_SAMPLES_PER_AXIS = 96
_PAGE_WIDTH = 1100


def contact_sheet(seed: int, size: int = 96, artefacts: Artefacts = CLEAN) -> bytes:
    """Draw the twelve forms.

    Args:
        seed: Seed of the individuals.
        size: Edge of their scanned cubes in voxels.
        artefacts: Strengths of the artefacts in the sections.

    Returns:
        A grey PNG, below 400 kB.
    """
    tiles = [_tile(species, seed, size, artefacts) for species in FORMS]
    height, width = tiles[0].shape
    rows = -(-len(tiles) // COLUMNS)
    sheet = np.full((rows * (height + GAP) + GAP, COLUMNS * (width + GAP) + GAP), BACKGROUND, np.uint8)
    for i, tile in enumerate(tiles):
        y0, x0 = GAP + i // COLUMNS * (height + GAP), GAP + i % COLUMNS * (width + GAP)
        sheet[y0 : y0 + height, x0 : x0 + width] = tile
    return _png(sheet)


def contact_sheet_html(png: bytes) -> str:
    """Return a self-contained page with the PNG."""
    return page("Synthetic specimens", [picture(png, "The twelve forms from outside and in sections.", _PAGE_WIDTH)])


def _tile(species: str, seed: int, size: int, artefacts: Artefacts) -> Picture:
    """Return the tile of a species: its name, an outside view, and sections of four individuals."""
    view = _fit_into_square(outside_view(species, seed, size * 4 // 3), VIEW)
    sections = [_fit_into_square(oblique_section(species, i, seed, size, artefacts), SECTION) for i in range(SECTIONS)]
    half = SECTIONS // 2
    side = np.vstack([np.hstack(sections[:half]), np.hstack(sections[half:])])
    height = max(VIEW, side.shape[0])
    body = np.zeros((height, VIEW + side.shape[1]), np.uint8)
    y0 = (height - VIEW) // 2
    body[y0 : y0 + VIEW, :VIEW] = view
    body[: side.shape[0], VIEW:] = side
    return np.vstack([_title(species, body.shape[1]), body])


def _title(text: str, width: int) -> Picture:
    banner = Image.new("L", (width, TITLE), BACKGROUND)
    font = ImageFont.load_default(size=17)
    ImageDraw.Draw(banner).text((2, 0), text, fill=TEXT, font=font)
    return np.asarray(banner)


def _fit_into_square(picture: Picture, edge: int) -> Picture:
    """Return the picture scaled and centred in a black square of `edge` pixels."""
    image = ImageOps.contain(Image.fromarray(picture), (edge - GAP, edge - GAP), Image.Resampling.LANCZOS)
    frame = Image.new("L", (edge, edge), 0)
    frame.paste(image, ((edge - image.width) // 2, (edge - image.height) // 2))
    return np.asarray(frame)


def outside_view(species: str, seed: int, size: int) -> Picture:
    """Return a shaded view of an individual without wear from obliquely above, uint8 [size, size]."""
    tilt = Rotation.from_euler("zx", [25.0, VIEWING_TILT_DEGREES], degrees=True).as_matrix()
    body = draw_body(species, size, tilt, specimen_rng(seed, species, 0))
    return render_surface(coverage(body.shell), 0.5)


def render_surface(solid: Solid, level: float) -> Picture:
    """Render a volume viewed along its third axis, with light from the upper left and darker creases.

    Args:
        solid: Volume, float32 [X, Y, Z]; X runs to the right, Y downwards.
        level: Value of the surface.

    Returns:
        uint8 [Y, X].
    """
    hit = solid > level
    first = np.argmax(hit, axis=2)
    is_visible = hit.any(axis=2)
    soft = ndimage.gaussian_filter(solid, 1.2)
    normal = -_slope(soft, first)
    normal = normal / np.maximum(np.linalg.norm(normal, axis=0), 1e-6)
    light = np.clip(np.tensordot(_LIGHT * [1, 1, -1] / np.linalg.norm(_LIGHT), normal, 1), 0, 1)
    depth = np.where(is_visible, first, solid.shape[2]).astype(np.float32)
    crease = np.clip((depth - ndimage.gaussian_filter(depth, 3.0)) / 8.0, 0, 0.5)
    near = 1.0 - 0.45 * depth / solid.shape[2]
    shade = np.where(is_visible, (0.25 + 0.85 * light) * near * (1.0 - crease), 0)
    return np.clip(255 * shade, 0, 255).astype(np.uint8).T


def _slope(soft: Solid, depth: NDArray[np.intp]) -> Solid:
    """Return the central gradient of a volume at one depth in each of its columns, float32 [3, X, Y]."""
    volume = np.pad(soft, 1, mode="edge")
    index = np.stack([*np.indices(depth.shape), depth]) + 1
    units = np.eye(3, dtype=np.intp)[:, :, None, None]
    return np.stack([volume[tuple(index + unit)] - volume[tuple(index - unit)] for unit in units])


def oblique_section(species: str, index: int, seed: int, size: int, artefacts: Artefacts) -> Picture:
    """Return a random oblique section of an individual, cropped to the specimen, uint8."""
    specimen = make_specimen(species, index, size, seed, artefacts)
    rng = np.random.default_rng([seed, index])
    frame = Rotation.random(rng=rng).as_matrix()
    voxels = np.argwhere(specimen.mask)
    zooms = np.array(specimen.zooms) / specimen.zooms[0]
    middle = voxels.mean(axis=0) * zooms + frame[2] * rng.uniform(-0.15, 0.15) * size
    steps = np.linspace(-0.62 * size, 0.62 * size, int(2 * 0.62 * _SAMPLES_PER_AXIS))
    plane = middle[:, None, None] + frame[0][:, None, None] * steps[:, None] + frame[1][:, None, None] * steps
    section = ndimage.map_coordinates(specimen.volume.astype(np.float32), plane / zooms[:, None, None], order=1)
    mask = ndimage.map_coordinates(specimen.mask.astype(np.float32), plane / zooms[:, None, None], order=1) > 0.5
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    crop = section[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    dark, bright = np.percentile(specimen.volume, 10), np.percentile(crop, 98)
    return np.clip((crop - dark) * (250.0 / (bright - dark)), 0, 255).astype(np.uint8)


def _png(picture: Picture) -> bytes:
    """Return an optimized PNG of few grey levels."""
    coarse = np.round(picture / 255.0 * (_GREY_LEVELS - 1)).astype(np.uint8)
    image = Image.fromarray(coarse, mode="P")
    ramp = np.repeat(np.round(np.linspace(0, 255, _GREY_LEVELS)).astype(np.uint8), 3)
    image.putpalette(ramp.tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
