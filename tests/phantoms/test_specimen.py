"""One specimen: truth, sizes, and nothing but anatomy to tell species apart."""

from functools import cache

import numpy as np
import pytest
from scipy import ndimage
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_score

from components.phantoms.anatomy.body import ALL_FORMS, draw_body
from components.phantoms.anatomy.fields import Anatomy, Points, crust
from components.phantoms.anatomy.forms import FORMS
from components.phantoms.anatomy.growth import GROWTH_RULES
from components.phantoms.scanner import CLEAN, Artefacts
from components.phantoms.specimen import DIAMETER_MM, Specimen, make_specimen, specimen_rng

USUAL = Artefacts()


@cache
def clean_specimen(species: str, index: int = 0, size: int = 48) -> Specimen:
    return make_specimen(species, index, size, 1, CLEAN)


@pytest.mark.parametrize("species", list(ALL_FORMS))
def test_material_is_brighter_than_what_is_around_it(species):
    specimen = make_specimen(species, 0, 48, 1, USUAL)
    grey, mask = specimen.volume.astype(float), specimen.mask
    away = ~ndimage.binary_dilation(mask, iterations=3)
    assert grey[mask].mean() > grey[away].mean() + 60
    assert 0.005 < mask.mean() < 0.4


@pytest.mark.parametrize("species", list(ALL_FORMS))
def test_the_mask_is_where_the_clean_scan_is_more_than_half_material(species):
    specimen = clean_specimen(species)
    grey = specimen.volume.astype(float)
    air, material = np.percentile(grey, 5), np.percentile(grey[specimen.mask], 90)
    agreement = ((grey > (air + material) / 2) == specimen.mask).mean()
    assert agreement > 0.97


@pytest.mark.parametrize("species", list(ALL_FORMS))
def test_the_body_lies_whole_within_the_field_and_nearly_fills_it(species):
    body = draw_body(species, 48, np.eye(3), specimen_rng(0, species, 0))
    inside = np.argwhere(body.outline > 0)
    assert inside.min() > 0
    assert inside.max() < 47
    assert 0.8 * 48 < np.ptp(inside, axis=0).max() + 1 < 0.98 * 48


def test_a_specimen_is_the_same_every_time_it_is_made():
    first, second = (make_specimen("Fallotia", 5, 32, 9, USUAL) for _ in range(2))
    np.testing.assert_array_equal(first.volume, second.volume)
    np.testing.assert_array_equal(first.mask, second.mask)
    assert first.zooms == second.zooms


def test_individuals_of_a_species_differ():
    first, second = clean_specimen("Coskinolina", 0), clean_specimen("Coskinolina", 1)
    assert first.zooms != second.zooms
    assert first.volume.shape != second.volume.shape or (first.mask != second.mask).mean() > 0.02


def test_thicker_slices_change_neither_place_nor_physical_size():
    cube = make_specimen("Orbitoides", 0, 48, 1, CLEAN)
    thick = next(
        made
        for made in (make_specimen("Orbitoides", 0, 48, 1, CLEAN.model_copy(update={"anisotropy": s})) for s in (1, 2))
        if made.zooms[2] > made.zooms[0]
    )
    assert thick.volume.shape[2] < cube.volume.shape[2]
    np.testing.assert_allclose(np.diag(thick.affine)[:3], thick.zooms)
    places = [np.argwhere(made.mask) @ made.affine[:3, :3].T + made.affine[:3, 3] for made in (cube, thick)]
    for statistic in (np.mean, np.min, np.max):
        np.testing.assert_allclose(*(statistic(place, axis=0) for place in places), atol=1.5 * thick.zooms[2])
    volumes = [made.mask.sum() * np.prod(made.zooms) for made in (cube, thick)]
    assert volumes[0] == pytest.approx(volumes[1], rel=0.05)


def test_the_affine_puts_the_middle_of_the_field_at_the_origin():
    specimen = clean_specimen("Alveolina")
    middle = (np.array(specimen.volume.shape) - 1) / 2
    np.testing.assert_allclose(specimen.affine[:3, :3] @ middle + specimen.affine[:3, 3], 0, atol=1e-9)
    assert DIAMETER_MM[0] * 0.5 < specimen.zooms[0] * 48 < DIAMETER_MM[1] * 3


def test_grey_level_and_size_do_not_give_the_species_away():
    made = [make_specimen(species, i, 32, 2, USUAL) for species in FORMS for i in range(10)]
    grey = [specimen.volume[specimen.mask].mean() for specimen in made]
    size = [specimen.mask.sum() * np.prod(specimen.zooms) for specimen in made]
    species = [specimen.species for specimen in made]
    forest = RandomForestClassifier(100, random_state=0)
    accuracy = cross_val_score(forest, np.stack([grey, size], axis=1), species, cv=5).mean()
    assert accuracy < 2.5 / len(FORMS)


def _hollow_ball(points: Points, wall: float, _rng: np.random.Generator) -> Anatomy:
    outline = 1 - np.sqrt(points.x**2 + points.y**2 + points.z**2)
    return Anatomy(crust(outline, wall), outline)


@pytest.mark.parametrize(("size", "thinnest", "thickest"), [(32, 1.9, 2.2), (64, 1.9, 2.6), (96, 3.0, 3.8)])
def test_walls_are_two_voxels_or_a_fixed_share_of_the_field(monkeypatch, size, thinnest, thickest):
    monkeypatch.setitem(ALL_FORMS, "Ball", _hollow_ball)
    for seed in range(4):
        body = draw_body("Ball", size, np.eye(3), specimen_rng(seed, "Ball", 0))
        surface = 4 * np.pi * (3 * (body.outline > 0).sum() / (4 * np.pi)) ** (2 / 3)
        middle = surface * (1 - 2.5 / size) ** 2
        assert thinnest * 0.9 < (body.shell > 0).sum() / middle < thickest * 1.1


def test_growth_forms_are_hollow():
    for species in GROWTH_RULES:
        body = draw_body(species, 48, np.eye(3), specimen_rng(0, species, 0))
        assert 0.1 < (body.shell > 0).sum() / (body.outline > 0).sum() < 0.8
