"""Synthetic photographs: the same bytes for a seed, unevenly spread over species, as cameras and people leave them."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from components.phantoms.abundance import abundances
from components.phantoms.fishes.dataset import PhotoConfig, generate_photographs
from components.phantoms.fishes.drawing import draw_individual, paint
from components.phantoms.fishes.forms import ALL_FISHES, FISHES
from components.phantoms.kinds import make_phantoms
from components.shared.errors import BadConfigError

SMALL = PhotoConfig(specimens_per_species=11, imbalance=11, unseen_per_species=1, size=64)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos") / "set"
    generate_photographs(folder, SMALL, workers=1)
    return folder


def test_the_bytes_depend_on_the_seed_alone(photos: Path, tmp_path: Path) -> None:
    generate_photographs(tmp_path / "again", SMALL, workers=2)
    files = [file.relative_to(photos) for file in sorted(photos.rglob("*.*"))]
    assert all((tmp_path / "again" / file).read_bytes() == (photos / file).read_bytes() for file in files)
    generate_photographs(tmp_path / "other", SMALL.model_copy(update={"seed": 1}), workers=1)
    other = {file.read_bytes() for file in (tmp_path / "other" / "photographs").rglob("*.*")}
    assert other.isdisjoint((photos / file).read_bytes() for file in files)


def test_an_older_set_is_replaced_and_a_folder_with_other_files_is_kept(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("my own")
    with pytest.raises(BadConfigError, match="holds other files"):
        generate_photographs(tmp_path, SMALL, workers=1)
    assert (tmp_path / "manifest.csv").read_text() == "my own"
    (tmp_path / "photographs").mkdir()
    generate_photographs(tmp_path, SMALL, workers=1)
    assert (tmp_path / "manifest.csv").read_bytes() == (photos / "manifest.csv").read_bytes()


def test_the_most_frequent_species_has_eleven_times_the_specimens_of_the_rarest(photos: Path) -> None:
    table = pd.read_csv(photos / "manifest.csv", keep_default_na=False)
    specimens = table[(table["split"] == "") & ~table["specimen"].str.endswith("-again")]
    known = specimens.groupby("species")["specimen"].nunique()
    assert len(known) == 12
    assert known.max() / known.min() == 11
    assert set(table.loc[table["split"] == "unseen", "species"]) == set(ALL_FISHES) - set(FISHES)


def test_some_specimens_have_two_views_and_some_photographs_are_there_twice(photos: Path) -> None:
    table = pd.read_csv(photos / "manifest.csv")
    assert Counter(table["specimen"]).most_common(1)[0][1] == 2
    assert table["specimen"].str.endswith("-again").any()


def test_photographs_come_in_several_formats_sizes_and_orientations(photos: Path) -> None:
    pictures = [Image.open(file) for file in sorted((photos / "photographs").rglob("*.*"))]
    assert {picture.format for picture in pictures} == {"JPEG", "PNG", "WEBP", "BMP"}
    assert len({picture.size for picture in pictures}) > 20
    assert {picture.getexif().get(0x0112, 1) for picture in pictures} == {1, 6}


@pytest.mark.parametrize("species", ALL_FISHES)
def test_every_fish_is_inside_its_canvas(species: str) -> None:
    for seed in range(3):
        covered = paint(draw_individual(ALL_FISHES[species], np.random.default_rng(seed)))[..., 3] > 0
        rows, columns = np.flatnonzero(covered.any(axis=1)), np.flatnonzero(covered.any(axis=0))
        assert 0 < rows[0] < rows[-1] < covered.shape[0] - 1
        assert 0 < columns[0] < columns[-1] < covered.shape[1] - 1


def test_numbers_fall_by_the_same_factor() -> None:
    assert abundances("abc", 100, 4) == {"a": 100, "b": 50, "c": 25}
    assert abundances("abc", 7, 1) == {"a": 7, "b": 7, "c": 7}
    for most, imbalance in ((0, 1), (5, 6), (5, 0.5), (10**5, 1)):
        with pytest.raises(BadConfigError):
            abundances("abc", most, imbalance)


def test_a_kind_that_is_not_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadConfigError, match="one of volumes, photographs"):
        make_phantoms("holograms", tmp_path, 3, 64, 0, 1.0)
