"""The slice of one photograph, made in a worker process. This module must not import TensorFlow."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from components.ingest.near_copies.fingerprints import encode_fingerprint, near_pairs
from components.ingest.slice_files import SliceJob, SliceResult, write_slice_file
from components.shared.errors import BadImageError, BadSourceFileError
from components.shared.images.decoding import Pixels, encode_png
from components.shared.images.photographs import MAX_FILE_BYTES, MAX_PIXELS, read_photograph

PLANE = "photograph"
LARGEST_DISTANCE = 0.2
"""Largest distance of two photographs that count as near-copies.

Measured on 57 real photographs of bones and rocks. Copies at 0.4 of the size in JPEG quality 40 have a distance of 0.05
(median; 95 % of them below 0.08), with 2 % cropped at each side 0.11 (0.19), brighter by a quarter 0.07 (0.21), with
noise 0.01 (0.02). Different photographs are never nearer than 0.39. Copies that are mirrored or have lost more than 2 %
at a side are not detected.
"""
_SIDE, _BLUR = 32, 2.0
_BYTES_PER_PIXEL = 15
"""Measured: 14 for photographs with transparency or 16 bits, 10 for others; much less for JPEG."""


def photograph_memory(file: Path) -> int:
    """Return the largest number of bytes that a photograph can occupy while it is decoded.

    Only the file's size is checked here; the content is checked once, when it is decoded.

    Raises:
        BadSourceFileError: The file is missing, empty or too large.
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


def scale_photograph(job: SliceJob) -> SliceResult:
    """Read a photograph, scale it to the size of a slice, and write it to the slice file.

    No exception is raised for a bad photograph: the result contains the reason for its refusal.
    """
    try:
        content = job.file.read_bytes()
        photograph = read_photograph(content, job.image_size)
    except BadImageError as error:
        return SliceResult(refusal=str(error))
    except OSError as error:
        return SliceResult(refusal=f"the file cannot be read ({error.strerror})")
    except MemoryError:
        return SliceResult(refusal="it does not fit into memory. Use a larger machine or scale it down")
    row = {
        "plane": PLANE,
        "foreground_ratio": _nonblack_ratio(photograph.framed),
        "spacing_mm": 0.0,
        "png": encode_png(photograph.framed),
    }
    slices = write_slice_file(job.slice_file, [row])
    digest = hashlib.sha256(content).hexdigest()
    return SliceResult(slices, digest, fingerprint=fingerprint_photograph(photograph.content), size=photograph.size)


def _nonblack_ratio(image: Pixels) -> float:
    return cv2.countNonZero(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)) / (image.shape[0] * image.shape[1])


def fingerprint_photograph(image: Pixels) -> str:
    """Return the fingerprint of a photograph, by which copies in other sizes and qualities are detected.

    It consists of the grey values in 32 x 32 blocks without the low frequencies, which depend on light and vignetting;
    about 1.4 kB.

    Args:
        image: Photograph, uint8 [H, W, 3].
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    blocks = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    detail = blocks - cv2.GaussianBlur(blocks, (0, 0), _BLUR)
    return encode_fingerprint(detail.reshape(1, -1).astype(np.float64))


def near_photographs(fingerprints: Sequence[str]) -> Iterator[tuple[int, int, float]]:
    """Yield (first, second, distance) of all pairs of photographs within LARGEST_DISTANCE."""
    return near_pairs(fingerprints, 1, LARGEST_DISTANCE)
