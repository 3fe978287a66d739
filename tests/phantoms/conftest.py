"""One small set of phantoms for all tests of this folder."""

from pathlib import Path

import pytest

from components.phantoms.generate import PhantomConfig, generate_phantoms


@pytest.fixture(scope="session")
def small() -> PhantomConfig:
    return PhantomConfig(specimens_per_species=2, unseen_per_species=1, size=32, seed=3)


@pytest.fixture(scope="session")
def phantom_folder(tmp_path_factory: pytest.TempPathFactory, small: PhantomConfig) -> Path:
    folder = tmp_path_factory.mktemp("phantoms") / "set"
    generate_phantoms(folder, small, workers=1)
    return folder
