"""A small data set of raw slices, made by ingest from phantoms."""

from pathlib import Path

import pytest

from components.ingest.config import IngestConfig
from components.ingest.dataset import make_dataset
from components.phantoms.generate import PhantomConfig, generate_phantoms


@pytest.fixture(scope="session")
def raw_slices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make 72 slices of 64 px, of nine specimens of three species."""
    folder = tmp_path_factory.mktemp("raw")
    species = ("Elphidiella", "Orbitoides", "Lockhartia")
    config = PhantomConfig(specimens_per_species=3, unseen_per_species=0, size=40, seed=5, species=species)
    generate_phantoms(folder / "phantoms", config, workers=1)
    cuts = IngestConfig(image_size=64, slices_per_species=24, planes="random", seed=0, workers=1)
    make_dataset(folder / "phantoms", folder / "slices", cuts)
    return folder / "slices"
