"""One specimen: mask, size, and species that differ only in anatomy."""

from functools import cache

import numpy as np
import pytest
from scipy import ndimage
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_score

from components.phantoms.anatomy.body import ALL_FORMS
from components.phantoms.anatomy.forms import FORMS
from components.phantoms.scanner import CLEAN, Artefacts
from components.phantoms.specimen import DIAMETER_MM, Phantom, make_specimen

USUAL = Artefacts()


@cache
def clean_specimen(species: str, index: int = 0, size: int = 48) -> Phantom:
    return make_specimen(species, index, size, 1, CLEAN)


@pytest.mark.parametrize("species", list(ALL_FORMS))
def test_material_is_brighter_than_its_surroundings(species):
    specimen = make_specimen(species, 0, 48, 1, USUAL)
    grey, mask = specimen.volume.astype(float), specimen.mask
    away = ~ndimage.binary_dilation(mask, iterations=3)
    assert grey[mask].mean() > grey[away].mean() + 60
    assert 0.005 < mask.mean() < 0.4


@pytest.mark.parametrize("species", list(ALL_FORMS))
def test_the_mask_covers_voxels_of_more_than_half_material(species):
    specimen = clean_specimen(species)
    grey = specimen.volume.astype(float)
    air, material = np.percentile(grey, 5), np.percentile(grey[specimen.mask], 90)
    agreement = ((grey > (air + material) / 2) == specimen.mask).mean()
    assert agreement > 0.97


def test_a_specimen_is_reproducible():
    first, second = (make_specimen("Fallotia", 5, 32, 9, USUAL) for _ in range(2))
    np.testing.assert_array_equal(first.volume, second.volume)
    np.testing.assert_array_equal(first.mask, second.mask)
    assert first.zooms == second.zooms


def test_individuals_of_a_species_differ():
    first, second = clean_specimen("Coskinolina", 0), clean_specimen("Coskinolina", 1)
    assert first.zooms != second.zooms
    assert first.volume.shape != second.volume.shape or (first.mask != second.mask).mean() > 0.02


def test_thicker_slices_keep_position_and_physical_size():
    cube = make_specimen("Orbitoides", 0, 48, 1, CLEAN)
    strengths = [CLEAN.model_copy(update={"anisotropy": strength}) for strength in (1, 2)]
    specimens = [make_specimen("Orbitoides", 0, 48, 1, artefacts) for artefacts in strengths]
    thick = next(specimen for specimen in specimens if specimen.zooms[2] > specimen.zooms[0])
    assert thick.volume.shape[2] < cube.volume.shape[2]
    np.testing.assert_allclose(np.diag(thick.affine)[:3], thick.zooms)
    both = (cube, thick)
    places = [np.argwhere(one.mask) @ one.affine[:3, :3].T + one.affine[:3, 3] for one in both]
    for statistic in (np.mean, np.min, np.max):
        np.testing.assert_allclose(*(statistic(place, axis=0) for place in places), atol=1.5 * thick.zooms[2])
    volumes = [one.mask.sum() * np.prod(one.zooms) for one in both]
    assert volumes[0] == pytest.approx(volumes[1], rel=0.05)


def test_the_origin_of_the_affine_is_the_centre_of_the_field():
    specimen = clean_specimen("Alveolina")
    middle = (np.array(specimen.volume.shape) - 1) / 2
    np.testing.assert_allclose(specimen.affine[:3, :3] @ middle + specimen.affine[:3, 3], 0, atol=1e-9)
    assert DIAMETER_MM[0] * 0.5 < specimen.zooms[0] * 48 < DIAMETER_MM[1] * 3


def test_grey_level_and_size_do_not_identify_the_species():
    specimens = [make_specimen(species, i, 32, 2, USUAL) for species in FORMS for i in range(10)]
    grey = [specimen.volume[specimen.mask].mean() for specimen in specimens]
    size = [specimen.mask.sum() * np.prod(specimen.zooms) for specimen in specimens]
    species = [specimen.species for specimen in specimens]
    forest = RandomForestClassifier(100, random_state=0)
    accuracy = cross_val_score(forest, np.stack([grey, size], axis=1), species, cv=5).mean()
    assert accuracy < 2.5 / len(FORMS)
