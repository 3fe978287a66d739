"""A set of synthetic photographs: bytes, numbers of each species, second views, copies, formats."""

from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from components.phantoms.fishes.dataset import PhotoConfig, generate_photographs
from components.phantoms.fishes.forms import ALL_FISHES, FISHES
from components.shared.errors import BadConfigError

SMALL = PhotoConfig(specimens_per_species=11, imbalance=11, unseen_per_species=1, size=64)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos") / "set"
    generate_photographs(folder, SMALL, workers=1)
    return folder


def test_the_bytes_depend_only_on_the_settings(photos: Path, tmp_path: Path) -> None:
    generate_photographs(tmp_path / "again", SMALL, workers=2)
    files = [file.relative_to(photos) for file in sorted(photos.rglob("*.*"))]
    assert all((tmp_path / "again" / file).read_bytes() == (photos / file).read_bytes() for file in files)
    generate_photographs(tmp_path / "other", SMALL.model_copy(update={"seed": 1}), workers=1)
    other = {file.read_bytes() for file in (tmp_path / "other" / "photographs").rglob("*.*")}
    assert other.isdisjoint((photos / file).read_bytes() for file in files)


def test_only_an_older_set_is_replaced(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("my own")
    with pytest.raises(BadConfigError, match="contains other files"):
        generate_photographs(tmp_path, SMALL, workers=1)
    assert (tmp_path / "manifest.csv").read_text() == "my own"
    (tmp_path / "photographs").mkdir()
    generate_photographs(tmp_path, SMALL, workers=1)
    assert (tmp_path / "manifest.csv").read_bytes() == (photos / "manifest.csv").read_bytes()


def test_species_are_imbalanced_as_configured(photos: Path) -> None:
    table = pd.read_csv(photos / "manifest.csv", keep_default_na=False)
    specimens = table[(table["split"] == "") & ~table["specimen"].str.endswith("-again")]
    counts = specimens.groupby("species")["specimen"].nunique()
    assert len(counts) == 12
    assert counts.max() / counts.min() == 11
    assert set(table.loc[table["split"] == "unseen", "species"]) == set(ALL_FISHES) - set(FISHES)


def test_some_specimens_have_two_views_and_some_have_copies(photos: Path) -> None:
    table = pd.read_csv(photos / "manifest.csv")
    assert Counter(table["specimen"]).most_common(1)[0][1] == 2
    assert table["specimen"].str.endswith("-again").any()


def test_photographs_have_several_formats_sizes_and_orientations(photos: Path) -> None:
    pictures = [Image.open(file) for file in sorted((photos / "photographs").rglob("*.*"))]
    assert {picture.format for picture in pictures} == {"JPEG", "PNG", "WEBP", "BMP"}
    assert len({picture.size for picture in pictures}) > 20
    assert {picture.getexif().get(0x0112, 1) for picture in pictures} == {1, 6}
