"""The slice of one photograph, made in a worker process. This module must not import TensorFlow."""

import hashlib
from pathlib import Path

import cv2

from components.ingest.near_copies.photograph_fingerprint import fingerprint_photograph
from components.ingest.slice_files import SliceJob, SliceResult, write_slice_file
from components.shared.errors import BadImageError, BadSourceFileError
from components.shared.images.decoding import MAX_FILE_BYTES, MAX_PIXELS, Pixels, encode_png
from components.shared.images.photographs import read_photograph

PLANE = "photograph"
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
