"""Writing of specimens as NIfTI files and of manifests; equal specimens give equal bytes."""

import csv
import gzip
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from components.phantoms.specimen import Phantom
from components.shared.errors import BadConfigError

MANIFEST = "manifest.csv"
MANIFEST_COLUMNS = ("path", "species", "specimen")
SPLIT_COLUMN, UNSEEN = "split", "unseen"
_FASTEST = 1


def check_folder(folder: Path, names: Sequence[str]) -> None:
    """Check that a folder is missing, empty, or contains an older set of phantoms with files of these names.

    Raises:
        BadConfigError: The path is a file, or the folder contains other files.
    """
    older_set = all((folder / name).exists() for name in names)
    if folder.is_dir() and any(folder.iterdir()) and not older_set:
        raise BadConfigError(
            f"{folder} contains other files", "an empty or new folder", "Choose an empty or new folder."
        )
    if folder.exists() and not folder.is_dir():
        raise BadConfigError(f"{folder} is a file", "a folder", "Choose another path.")


def volume_path(specimen: str, species: str, root: str) -> str:
    """Return the path of a specimen's file, relative to the folder of the set."""
    return f"{root}/{species}/{specimen}.nii.gz"


def write_specimen(folder: Path, specimen: Phantom, root: str) -> None:
    """Write a specimen's volume under `root` and its mask, uint8 0 and 1, under ``masks``.

    Masks have a separate folder, so that they are not read as scans.
    """
    for tree, array in ((root, specimen.volume), ("masks", specimen.mask.astype(np.uint8))):
        path = folder / volume_path(specimen.name, specimen.species, tree)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(nifti_bytes(array, specimen.affine))


def nifti_bytes(array: NDArray[np.uint8], affine: NDArray[np.float64]) -> bytes:
    """Return a gzipped NIfTI-1 file in millimetres, without a time stamp.

    Args:
        array: Volume or mask, uint8 [X, Y, Z].
        affine: Map from voxel index to mm, float64 (4, 4), which determines the zooms.
    """
    image = nib.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=_FASTEST, fileobj=buffer, mtime=0) as file:
        file.write(image.to_bytes())
    return buffer.getvalue()


def write_manifest(path: Path, rows: Iterable[tuple[str, ...]], columns: Sequence[str] = MANIFEST_COLUMNS) -> None:
    """Write the list of specimens as CSV with these columns; paths are relative to the list's folder."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
