"""A small data set with folds."""

from pathlib import Path

import pytest

from components.ingest.config import IngestConfig
from components.ingest.dataset import make_dataset
from components.segment.dataset import segment_dataset
from components.shared.slices import INFO_FILE, read_info


@pytest.fixture(scope="session")
def folded_slices(volumes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cut 54 slices at 32 px from eighteen specimens in two folds and segment them; a third fold has no specimens."""
    folder = tmp_path_factory.mktemp("folded")
    config = IngestConfig.checked(image_size=32, slices_per_species=18, planes="random", seed=1, folds=2)
    make_dataset(volumes, folder / "raw", config)
    segment_dataset(folder / "raw", folder / "segmented", workers=1)
    info = read_info(folder / "segmented")
    info.model_copy(update={"folds": 3}).write(folder / "segmented" / INFO_FILE)
    return folder / "segmented"
