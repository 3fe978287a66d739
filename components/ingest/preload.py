"""Module that loads the compiled functions of ingest when it is imported, by calling each once on a tiny specimen.

The server process from which workers are forked imports it, so that no worker has to load them, which takes half a
second.
"""

import numpy as np

from components.ingest.near_copies.volume_fingerprint import fingerprint_volume
from components.shared.volumes.formats.base import Volume
from components.shared.volumes.plane_sampling import mask_coverage, sample_plane
from components.shared.volumes.plane_schedules import CUTS, frame_of
from components.shared.volumes.specimen import find_specimen


def call_compiled_functions() -> None:
    """Find a specimen, a bright cube of eight-bit voxels, and cut one plane through it."""
    grey = np.zeros((12, 12, 12), np.uint8)
    grey[3:9, 3:9, 3:9] = np.arange(150, 156, dtype=np.uint8)
    specimen = find_specimen(Volume(grey, np.ones(3), 0.0, 155.0, ""))
    frame = frame_of(next(CUTS["random"](specimen, np.random.default_rng(0))), specimen, 16)
    pixels = (frame.corner, frame.down, frame.across, 16)
    mask_coverage(specimen.mask, *pixels)
    sample_plane(specimen.grey, *pixels, float(specimen.background))
    fingerprint_volume(specimen)


call_compiled_functions()
