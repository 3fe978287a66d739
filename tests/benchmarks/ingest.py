"""Speed of cutting volumes into slices, compared with a script that rotates the volumes.

Each side runs in a process of its own. `ingest-published-schedule` includes the start of the workers; in the
comparison with the rotating reference both sides have cut a volume before, so that imports are not measured.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from components.ingest.config import IngestConfig
from components.ingest.dataset import make_dataset
from components.ingest.slice_files import SliceJob
from components.ingest.volume_slices import cut_volume
from components.phantoms.generate import PhantomConfig, generate_phantoms
from components.shared.workers import map_in_order
from tests.benchmarks.large_phantoms import write_large_phantom
from tests.benchmarks.measurement import Measurement
from tests.benchmarks.rotating_reference import ORIENTATIONS, RotatingJob, cut_by_rotating

PUBLISHED_SLICES_PER_SECOND = 2.4
"""Speed of the published script with the same volumes and quota on two cores."""
SPECIES, SPECIMENS, QUOTA = ("Fallotia", "Coskinolina", "Baculogypsina"), 6, 300
REPEATS = 3


def step_seconds(volumes: Path, scratch: Path) -> list[float]:
    """Return the seconds of several runs of the whole ingest step; the first one starts the workers."""
    config = IngestConfig.checked(image_size=224, slices_per_species=QUOTA, planes="published", seed=0)
    seconds = []
    for number in range(REPEATS):
        start = time.perf_counter()
        dataset = make_dataset(volumes, scratch / str(number), config)
        seconds.append(time.perf_counter() - start)
        assert dataset.metrics()["slices"] == QUOTA * len(SPECIES)
    return seconds


def cutting_seconds(volumes: Path, scratch: Path, quota: int) -> list[float]:
    """Return the seconds of cutting each volume of a folder, for several repetitions."""
    scratch.mkdir()
    files = sorted(volumes.rglob("*.nii*"))
    jobs = [SliceJob(file.name, file, scratch / file.stem, quota, "published", 224, 0) for file in files]
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        results = map_in_order(cut_volume, jobs, min(2, len(jobs)), "components.ingest.preload")
        assert [result.slices for _, result in results] == [quota] * len(jobs)
        seconds.append(time.perf_counter() - start)
    return seconds


def rotating_seconds(volumes: Path, scratch: Path, quota: int, orientations: int) -> list[float]:
    """Return the seconds of cutting each volume of a folder by rotating it, with the same number of processes."""
    files = sorted(volumes.rglob("*.nii*"))
    jobs = [RotatingJob(file, scratch / file.stem, quota, orientations) for file in files]
    workers = min(2, len(jobs))
    if orientations < len(ORIENTATIONS):
        return [sum(seconds_of_job for _, seconds_of_job in map_in_order(cut_by_rotating, jobs, workers)) / workers]
    list(map_in_order(cut_by_rotating, [RotatingJob(files[0], scratch / "before", quota, 1)] * 1, workers))
    start = time.perf_counter()
    list(map_in_order(cut_by_rotating, jobs, workers))
    return [time.perf_counter() - start]


def in_own_process(work: Callable[..., list[float]], *arguments: object) -> list[float]:
    """Call a function of this module in a process of its own."""
    call = ", ".join(repr(str(value) if isinstance(value, Path) else value) for value in arguments)
    program = f"import json, tests.benchmarks.ingest as it; print(json.dumps(it.call('{work.__name__}', {call})))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return list(json.loads(run.stdout.splitlines()[-1]))


def call(name: str, *arguments: object) -> list[float]:
    """Call a function of this module by name; strings are paths."""
    return list(globals()[name](*(Path(value) if isinstance(value, str) else value for value in arguments)))


def _published_schedule(scratch: Path) -> Iterator[Measurement]:
    volumes = scratch / "phantoms"
    config = PhantomConfig(specimens_per_species=SPECIMENS, unseen_per_species=0, size=96, species=SPECIES)
    generate_phantoms(volumes, config)
    before = in_own_process(step_seconds, volumes, scratch / "before")
    rotation = in_own_process(
        rotating_seconds, volumes / "volumes", scratch / "rotated", QUOTA // SPECIMENS, len(ORIENTATIONS)
    )
    after = in_own_process(step_seconds, volumes, scratch / "after")
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
    ours = in_own_process(cutting_seconds, volumes, scratch / "cut", quota)
    rotation = in_own_process(rotating_seconds, volumes, scratch / "rotated", quota, 3)
    ours += in_own_process(cutting_seconds, volumes, scratch / "cut-after", quota)
    rate, reference = count * quota / min(ours), count * quota / rotation[0]
    yield Measurement(f"ingest-rotating-{edge}", rate, "slices/s", reference, rate / reference, bar)


BENCHMARKS = {
    "ingest-published-schedule": _published_schedule,
    "ingest-rotating-256": partial(_large_volumes, edge=256, count=2, quota=1000, bar="ratio >= 8"),
    "ingest-rotating-512": partial(_large_volumes, edge=512, count=1, quota=1400, bar="ratio >= 20"),
}
