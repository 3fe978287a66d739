"""Speed of sampling a plane of a volume, compared with scipy, and the difference of both."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from components.phantoms.scanner import Artefacts
from components.phantoms.specimen import make_specimen
from components.shared.volumes.formats.base import Volume
from components.shared.volumes.plane_sampling import sample_plane
from components.shared.volumes.plane_schedules import CUTS, frame_of
from components.shared.volumes.specimen import find_specimen
from tests.benchmarks.measurement import Measurement, fastest_seconds

EDGE, PLANES = 224, 50

Place = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], int]


def scipy_plane(volume: NDArray[np.uint8], place: Place, outside: float) -> NDArray[np.float32]:
    """Interpolate a plane with `scipy.ndimage.map_coordinates`."""
    corner, down, across, edge = place
    rows, columns = np.arange(edge)[None, :, None], np.arange(edge)[None, None, :]
    grid = corner[:, None, None] + rows * down[:, None, None] + columns * across[:, None, None]
    return np.asarray(map_coordinates(volume, grid, np.float32, order=1, cval=outside))


def _speed_and_difference(_scratch: Path) -> Iterator[Measurement]:
    grey = np.ascontiguousarray(make_specimen("Fallotia", 0, 96, 0, Artefacts(anisotropy=0)).volume.T)
    specimen = find_specimen(Volume(grey, np.full(3, 0.01), float(grey.min()), float(grey.max()), ""))
    cuts = CUTS["random"](specimen, np.random.default_rng(0))
    frames = [frame_of(next(cuts), specimen, EDGE) for _ in range(PLANES)]
    places = [(frame.corner, frame.down, frame.across, EDGE) for frame in frames]
    pairs = [(sample_plane(specimen.grey, *place, 9.0), scipy_plane(specimen.grey, place, 9.0)) for place in places]
    ours = fastest_seconds(lambda: [sample_plane(specimen.grey, *place, 9.0) for place in places], 9)
    theirs = fastest_seconds(lambda: [scipy_plane(specimen.grey, place, 9.0) for place in places], 5)
    rate, reference = PLANES / ours, PLANES / theirs
    yield Measurement("plane", rate, "planes/s on a core", reference, rate / reference, "ratio >= 3")
    difference = max(float(np.abs(one - other).max()) for one, other in pairs) / 255
    yield Measurement("plane difference", difference, "of the grey range", 1e-5, difference / 1e-5, "<= 1e-5")


BENCHMARKS = {"plane": _speed_and_difference}
