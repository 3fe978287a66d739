"""Volumes to ingest: seeded phantoms, and small files written by hand."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from components.phantoms.generate import PhantomConfig, generate_phantoms


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fifteen phantoms of three species, 40 voxels wide: a folder with manifest.csv and masks."""
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
    """A copy of the phantoms that a test may damage."""
    return Path(shutil.copytree(phantoms, tmp_path / "volumes"))


@pytest.fixture
def ball() -> np.ndarray:
    """float32 [24, 28, 32]: a bright ball with a dark core on a noisy background."""
    grid = np.indices((24, 28, 32)) - np.array([12, 14, 16])[:, None, None, None]
    radius = np.sqrt((grid**2).sum(axis=0))
    noise = np.random.default_rng(0).normal(size=radius.shape)
    return (20 + 100 * ((radius < 9) & (radius > 4)) + 3 * noise).astype(np.float32)


@pytest.fixture
def write_nifti(tmp_path: Path) -> Callable[..., Path]:
    """Writes an array as NIfTI and returns the file; further keywords overwrite header fields unchecked."""

    def write(
        array: np.ndarray, name: str = "volume.nii.gz", zooms: tuple[float, ...] = (0.1, 0.1, 0.1), **fields: Any
    ) -> Path:
        image = nib.Nifti1Image(array, np.eye(4))
        image.header.set_zooms((zooms + (1.0,) * 4)[: array.ndim])
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        nib.save(image, file)
        if fields:
            _overwrite_fields(file, fields)
        return file

    return write


def _overwrite_fields(file: Path, fields: dict[str, Any]) -> None:
    import gzip

    content = file.read_bytes()
    zipped = content[:2] == b"\x1f\x8b"
    content = gzip.decompress(content) if zipped else content
    block = np.frombuffer(content[:348], dtype=nib.Nifti1Header.template_dtype).copy()
    for name, value in fields.items():
        block[name] = value
    content = block.tobytes() + content[348:]
    file.write_bytes(gzip.compress(content) if zipped else content)
