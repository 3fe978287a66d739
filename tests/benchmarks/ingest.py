"""Speed of cutting volumes into slices, compared with a script that rotates the volumes.

Each side runs in a separate process. `ingest-published-schedule` includes the start of the workers; in the
comparison with the rotating reference, both sides cut a volume before the measurement, which excludes the imports.
"""

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from components.ingest.config import IngestConfig
from components.ingest.dataset import make_dataset
from components.ingest.slice_files import SliceJob
from components.ingest.volume_slices import cut_volume
from components.phantoms.generate import PhantomConfig, generate_phantoms
from components.shared.workers import map_in_order
from tests.benchmarks.large_phantoms import write_large_phantom
from tests.benchmarks.measurement import Measurement, run_in_subprocess
from tests.benchmarks.rotating_reference import ORIENTATIONS, RotatingJob, cut_by_rotating

PUBLISHED_SLICES_PER_SECOND = 2.4
"""Speed of the published script with the same volumes and quota on two cores."""
SPECIES, SPECIMENS, QUOTA = ("Fallotia", "Coskinolina", "Baculogypsina"), 6, 300
REPEATS = 3


def step_seconds(volumes: str, scratch: str) -> list[float]:
    """Return the seconds of several runs of the whole ingest step; the first one starts the workers."""
    config = IngestConfig.checked(image_size=224, slices_per_species=QUOTA, planes="published", seed=0)
    seconds = []
    for number in range(REPEATS):
        start = time.perf_counter()
        dataset = make_dataset(Path(volumes), Path(scratch) / str(number), config)
        seconds.append(time.perf_counter() - start)
        assert dataset.metrics()["slices"] == QUOTA * len(SPECIES)
    return seconds


def cutting_seconds(volumes: str, scratch: str, quota: int) -> list[float]:
    """Return the seconds of cutting each volume of a folder, for several repetitions."""
    folder = Path(scratch)
    folder.mkdir()
    files = sorted(Path(volumes).rglob("*.nii*"))
    jobs = [SliceJob(file.name, file, folder / file.stem, quota, "published", 224, 0) for file in files]
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        results = map_in_order(cut_volume, jobs, min(2, len(jobs)), "components.ingest.preload")
        assert [result.slices for _, result in results] == [quota] * len(jobs)
        seconds.append(time.perf_counter() - start)
    return seconds


def rotating_seconds(volumes: str, scratch: str, quota: int, orientations: int) -> list[float]:
    """Return the seconds of cutting each volume of a folder by rotating it, with the same number of processes."""
    folder, files = Path(scratch), sorted(Path(volumes).rglob("*.nii*"))
    jobs = [RotatingJob(file, folder / file.stem, quota, orientations) for file in files]
    workers = min(2, len(jobs))
    if orientations < len(ORIENTATIONS):
        return [sum(job_seconds for _, job_seconds in map_in_order(cut_by_rotating, jobs, workers)) / workers]
    list(map_in_order(cut_by_rotating, [RotatingJob(files[0], folder / "before", quota, 1)], workers))
    start = time.perf_counter()
    list(map_in_order(cut_by_rotating, jobs, workers))
    return [time.perf_counter() - start]


def _published_schedule(scratch: Path) -> Iterator[Measurement]:
    volumes = scratch / "phantoms"
    config = PhantomConfig(specimens_per_species=SPECIMENS, unseen_per_species=0, size=96, species=SPECIES)
    generate_phantoms(volumes, config)
    before = run_in_subprocess(step_seconds, volumes, scratch / "before")
    rotation = run_in_subprocess(
        rotating_seconds, volumes / "volumes", scratch / "rotated", QUOTA // SPECIMENS, len(ORIENTATIONS)
    )
    after = run_in_subprocess(step_seconds, volumes, scratch / "after")
    slices, name = QUOTA * len(SPECIES), "ingest-published-schedule"
    rate = slices / min(before[0], after[0])
    published_rate = PUBLISHED_SLICES_PER_SECOND
    yield Measurement(name, rate, "slices/s", published_rate, rate / published_rate, ">= 240 slices/s")
    rate, reference = slices / min(*before[1:], *after[1:]), slices / rotation[0]
    yield Measurement("ingest-rotating-96", rate, "slices/s", reference, rate / reference, "ratio >= 12")


def _large_volumes(scratch: Path, edge: int, count: int, quota: int, bar: str) -> Iterator[Measurement]:
    volumes = scratch / "volumes"
    for number in range(count):
        write_large_phantom(volumes / f"{number}.nii", edge, "uint8", number)
    ours = run_in_subprocess(cutting_seconds, volumes, scratch / "cut", quota)
    rotation = run_in_subprocess(rotating_seconds, volumes, scratch / "rotated", quota, 3)
    ours += run_in_subprocess(cutting_seconds, volumes, scratch / "cut-after", quota)
    rate, reference = count * quota / min(ours), count * quota / rotation[0]
    yield Measurement(f"ingest-rotating-{edge}", rate, "slices/s", reference, rate / reference, bar)


BENCHMARKS = {
    "ingest-published-schedule": _published_schedule,
    "ingest-rotating-256": partial(_large_volumes, edge=256, count=2, quota=1000, bar="ratio >= 8"),
    "ingest-rotating-512": partial(_large_volumes, edge=512, count=1, quota=1400, bar="ratio >= 20"),
}
