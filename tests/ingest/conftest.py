"""Synthetic specimens as source files for ingest."""

import shutil
from pathlib import Path

import pytest

from components.phantoms.generate import PhantomConfig, generate_phantoms


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write fifteen phantoms of three species, 40 voxels wide: a folder with manifest.csv and masks."""
    folder = tmp_path_factory.mktemp("phantoms") / "set"
    config = PhantomConfig(
        specimens_per_species=5,
        unseen_per_species=0,
        size=40,
        seed=3,
        species=("Elphidiella", "Orbitoides", "Lockhartia"),
    )
    generate_phantoms(folder, config, workers=1)
    return folder


@pytest.fixture
def own_phantoms(phantoms: Path, tmp_path: Path) -> Path:
    """Copy the phantoms, so that a test may change them."""
    return Path(shutil.copytree(phantoms, tmp_path / "volumes"))
