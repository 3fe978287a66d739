"""Phantoms of any size: a small one is enlarged, and noise is added."""

from pathlib import Path

import cv2
import nibabel as nib
import numpy as np
from numpy.typing import DTypeLike, NDArray

from components.phantoms.scanner import Artefacts
from components.phantoms.specimen import make_specimen

_GENERATED_EDGE = 128
_NOISE = 5


def write_large_phantom(file: Path, edge: int, dtype: DTypeLike, seed: int = 0) -> Path:
    """Write a specimen of Fallotia in a cube of `edge` voxels as NIfTI, and return the file."""
    small = make_specimen("Fallotia", seed, _GENERATED_EDGE, seed, Artefacts(anisotropy=0))
    grey = enlarge(small.volume, edge)
    rng = np.random.default_rng(seed)
    for layer in grey:  # layer by layer: the whole volume would need eight times the memory
        noisy = layer + rng.normal(0, _NOISE, layer.shape).astype(np.float32)
        layer[:] = noisy.clip(0, 255).round()
    image = nib.Nifti1Image(grey.astype(dtype, copy=False), np.diag([0.01, 0.01, 0.01, 1.0]))
    file.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, file)
    return file


def enlarge(volume: NDArray[np.uint8], edge: int) -> NDArray[np.uint8]:
    """Interpolate a cube linearly to `edge` voxels on each side."""
    wide = np.stack([cv2.resize(layer, (edge, edge)) for layer in volume])
    deep = [cv2.resize(np.ascontiguousarray(wide[:, row]), (edge, edge)) for row in range(edge)]
    return np.stack(deep, axis=1)
