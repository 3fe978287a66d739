"""The contact sheet of the twelve forms."""

import io

import numpy as np
from PIL import Image

from components.phantoms.contact_sheet import contact_sheet, contact_sheet_html, render_surface


def test_the_sheet_is_a_small_png_with_every_species():
    png = contact_sheet(0, size=32)
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG"
    assert len(png) < 400_000
    pixels = np.asarray(image.convert("L"))
    rows, columns = 4, 3
    for row in np.array_split(pixels, rows):
        assert len(row) > 200
        for tile in np.array_split(row, columns, axis=1):
            assert 0.1 < ((tile > 60) & (tile < 255)).mean() < 0.9


def test_the_page_embeds_the_picture():
    page = contact_sheet_html(b"\x89PNG")
    assert "data:image/png;base64,iVBORw==" in page
    assert "http" not in page


def test_a_ball_is_brightest_towards_the_light_on_black():
    axis = np.arange(40) - 19.5
    radius = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)
    picture = render_surface(np.clip(15 - radius, 0, 1).astype(np.float32), 0.5)
    assert picture[0, 0] == 0
    assert picture[12, 14] > picture[28, 26] > 0
