"""One photograph becomes one slice: what a worker process does. It must not import TensorFlow."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from components.ingest.near_copies.fingerprints import encode_parts, pairs_within
from components.ingest.slice_files import write_part
from components.ingest.volume_slices import CutJob, CutResult
from components.shared.errors import BadImageError, BadSourceFileError
from components.shared.images.decoding import Pixels, encode_png
from components.shared.images.photographs import MAX_FILE_BYTES, MAX_PIXELS, read_photograph

PLANE = "photograph"
LARGEST_DISTANCE = 0.2
"""Photographs nearer than this show the same.

Measured on 57 real photographs of bones and rocks: the same at 0.4 of the size in JPEG quality 40 lies at 0.05 (median;
95 % of them below 0.08), with 2 % cut off each side at 0.11 (0.19), brighter by a quarter at 0.07 (0.21), with noise at
0.01 (0.02). Different photographs are never nearer than 0.39. More than 2 % cut off, or mirrored, is not found.
"""
_SIDE, _BLUR = 32, 2.0
_BYTES_PER_PIXEL = 15
"""Measured: 14 where a photograph has transparent pixels or 16 bits, 10 otherwise; a JPEG takes much less."""


def memory_of_photograph(file: Path) -> int:
    """Returns how many bytes a photograph takes at most while it is decoded.

    Only the size of the file is looked at: what a photograph holds is seen when it is read, once.

    Raises:
        BadSourceFileError: the file is gone, empty or too large.
    """
    try:
        size = file.stat().st_size
    except OSError as error:
        raise BadSourceFileError(f"the file cannot be read ({error.strerror})") from error
    if size == 0:
        raise BadSourceFileError("the file is empty", "a photograph", "Copy it again.")
    if size > MAX_FILE_BYTES:
        raise BadSourceFileError(f"a photograph of {size} bytes", f"at most {MAX_FILE_BYTES}", "Scale it down.")
    return MAX_PIXELS * _BYTES_PER_PIXEL


def cut_photograph(job: CutJob) -> CutResult:
    """Reads a photograph, scales it to a slice, and writes that into a part.

    Never raises for a bad photograph: the result says why it is refused.
    """
    try:
        encoded = job.file.read_bytes()
        photograph = read_photograph(encoded, job.image_size)
    except BadImageError as error:
        return CutResult(refused=str(error))
    except OSError as error:
        return CutResult(refused=f"the file cannot be read ({error.strerror})")
    except MemoryError:
        return CutResult(refused="it does not fit into memory. Use a larger machine or scale it down")
    row = {
        "plane": PLANE,
        "foreground_ratio": _share_not_black(photograph.framed),
        "spacing_mm": 0.0,
        "png": encode_png(photograph.framed),
    }
    slices = write_part(job.part, [row])
    digest = hashlib.sha256(encoded).hexdigest()
    return CutResult(slices, digest, fingerprint=look_of(photograph.content), size=photograph.size)


def _share_not_black(image: Pixels) -> float:
    return cv2.countNonZero(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)) / (image.shape[0] * image.shape[1])


def look_of(image: Pixels) -> str:
    """Returns the fingerprint of what a photograph shows, by which its copies in other sizes and qualities are known.

    Its grey values in 32 x 32 blocks, without what changes slowly across the photograph, which light and vignettes
    make alike; about 1.4 kB.

    Args:
        image: uint8 [H, W, 3].
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    blocks = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    detail = blocks - cv2.GaussianBlur(blocks, (0, 0), _BLUR)
    return encode_parts(detail.reshape(1, -1).astype(np.float64))


def near_photographs(fingerprints: Sequence[str]) -> Iterator[tuple[int, int, float]]:
    """Yields (first, second, distance) of all pairs of photographs within LARGEST_DISTANCE."""
    return pairs_within(fingerprints, 1, LARGEST_DISTANCE)
