"""The body of an individual in the scanned field."""

import numpy as np
import pytest

from components.phantoms.anatomy.body import ALL_FORMS, draw_body
from components.phantoms.anatomy.fields import Anatomy, Points, crust
from components.phantoms.anatomy.growth import GROWTH_RULES
from components.phantoms.specimen import specimen_rng


@pytest.mark.parametrize("species", list(ALL_FORMS))
def test_the_body_is_inside_the_field_and_nearly_fills_it(species):
    body = draw_body(species, 48, np.eye(3), specimen_rng(0, species, 0))
    inside = np.argwhere(body.outline > 0)
    assert inside.min() > 0
    assert inside.max() < 47
    assert 0.8 * 48 < np.ptp(inside, axis=0).max() + 1 < 0.98 * 48


def hollow_ball(points: Points, wall: float, _rng: np.random.Generator) -> Anatomy:
    outline = 1 - np.sqrt(points.x**2 + points.y**2 + points.z**2)
    return Anatomy(crust(outline, wall), outline)


@pytest.mark.parametrize(("size", "thinnest", "thickest"), [(32, 1.9, 2.2), (64, 1.9, 2.6), (96, 3.0, 3.8)])
def test_walls_are_two_voxels_or_a_fixed_share_of_the_field(monkeypatch, size, thinnest, thickest):
    monkeypatch.setitem(ALL_FORMS, "Ball", hollow_ball)
    for seed in range(4):
        body = draw_body("Ball", size, np.eye(3), specimen_rng(seed, "Ball", 0))
        surface = 4 * np.pi * (3 * (body.outline > 0).sum() / (4 * np.pi)) ** (2 / 3)
        middle = surface * (1 - 2.5 / size) ** 2
        assert thinnest * 0.9 < (body.shell > 0).sum() / middle < thickest * 1.1


def test_growth_forms_are_hollow():
    for species in GROWTH_RULES:
        body = draw_body(species, 48, np.eye(3), specimen_rng(0, species, 0))
        assert 0.1 < (body.shell > 0).sum() / (body.outline > 0).sum() < 0.8
