"""Speed of converting photographs to slices, compared with a plain Pillow loop, and the growth of time and memory.

The photographs are coarse noise, 64 to 5184 pixels wide: peak have a few hundred pixels, as on the Internet, and one
in twenty the size of a camera's.
"""

import io
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from components.ingest.config import IngestConfig
from components.ingest.dataset import make_dataset
from components.shared.workers import map_in_order
from tests.benchmarks.measurement import Measurement

PHOTOGRAPHS, SPECIES, EDGE = 13_312, 31, 224
SMALLEST, LARGEST, TYPICAL = 64, 5184, 1024
SHARE_OF_LARGE = 0.05
MEMORY_BOUND_MB, SAMPLE_INTERVAL_S = 1024, 0.2


def write_photograph(file: Path, seed: int = 0) -> None:
    """Write one photograph; its name is the seed."""
    rng = np.random.default_rng([seed, int(file.stem)])
    low, high = (TYPICAL, LARGEST) if rng.random() < SHARE_OF_LARGE else (SMALLEST, TYPICAL)
    width = round(np.exp(rng.uniform(np.log(low), np.log(high))))
    coarse = rng.integers(0, 256, (24, 32, 3), np.uint8)
    image = cv2.resize(coarse, (width, max(1, round(width * 0.75))), interpolation=cv2.INTER_LINEAR)
    cv2.imwrite(str(file), image, (cv2.IMWRITE_JPEG_QUALITY, 85))


def write_photographs(folder: Path, count: int) -> Path:
    """Write photographs of all species."""
    files = [folder / f"species-{number % SPECIES:02d}" / f"{number:06d}.jpg" for number in range(count)]
    for parent in {file.parent for file in files}:
        parent.mkdir(parents=True)
    for _ in map_in_order(write_photograph, files):
        pass
    return folder


def plain_loop(files: Sequence[Path]) -> None:
    """Decode, convert, scale and encode files one after the other with Pillow's defaults, like a script."""
    for file in files:
        with Image.open(file) as image:
            small = image.convert("RGB")
            small.thumbnail((EDGE, EDGE))
            small.save(io.BytesIO(), "PNG")


def tuned_loop(files: Sequence[Path]) -> None:
    """Do the same with Pillow's fastest filter and compression."""
    for file in files:
        with Image.open(file) as image:
            small = image.convert("RGB")
            small.thumbnail((EDGE, EDGE), Image.Resampling.BOX, reducing_gap=None)
            small.save(io.BytesIO(), "PNG", compress_level=1)


def _rate(loop: Callable[[Sequence[Path]], None], files: Sequence[Path]) -> float:
    start = time.perf_counter()
    loop(files)
    return len(files) / (time.perf_counter() - start)


def ingest(folder: Path, slices: Path) -> None:
    """Ingest a folder and print the seconds."""
    config = IngestConfig.checked(image_size=EDGE, slices_per_species=10_000, planes="published", seed=0, workers=2)
    start = time.perf_counter()
    make_dataset(folder, slices, config)
    print(f"\n{time.perf_counter() - start}")


def _measure_session(folder: Path, slices: Path) -> tuple[float, float]:
    """Ingest in a session of its own; return the seconds, and the MB of all its processes together."""
    program = "import sys, tests.benchmarks.photos as module; module.ingest(*map(module.Path, sys.argv[1:]))"
    log, peak = slices.with_suffix(".log"), 0.0
    with log.open("w") as log_file:
        command = [sys.executable, "-c", program, str(folder), str(slices)]
        process = subprocess.Popen(command, stdout=log_file, stderr=subprocess.DEVNULL, start_new_session=True)
        while process.poll() is None:
            peak = max(peak, _megabytes_of_session(process.pid))
            time.sleep(SAMPLE_INTERVAL_S)
    assert process.returncode == 0, log.read_text()[-500:]
    return float(log.read_text().splitlines()[-1]), peak


def _megabytes_of_session(session: int) -> float:
    """Return the memory of a session's processes in MB; shared pages are counted in proportion."""
    kilobytes = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if int((process / "stat").read_text().rpartition(")")[2].split()[3]) == session:
                rollup = (process / "smaps_rollup").read_text()
                kilobytes += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
        except (OSError, StopIteration):
            continue  # the process has ended
    return kilobytes / 1024


def _photos(scratch: Path, count: int) -> Iterator[Measurement]:
    quarter, whole = (write_photographs(scratch / str(number), number) for number in (count // 4, count))
    files = sorted(quarter.rglob("*.jpg"))
    plain, tuned_rate = _rate(plain_loop, files), _rate(tuned_loop, files)
    few_seconds, _ = _measure_session(quarter, scratch / "few")
    seconds, megabytes = _measure_session(whole, scratch / "all")
    rate = count / seconds
    yield Measurement("photos", rate, "photographs/s", plain, rate / plain, "ratio >= 1.8")
    yield Measurement("photos-tuned-loop", rate, "photographs/s", tuned_rate, rate / tuned_rate, "for information")
    yield Measurement("photos-seconds", seconds, "s", 4 * few_seconds, seconds / (4 * few_seconds), "about 1")
    yield Measurement(
        "photos-memory", megabytes, "MB", MEMORY_BOUND_MB, megabytes / MEMORY_BOUND_MB, "< 1 of the bound"
    )


BENCHMARKS = {"photos": partial(_photos, count=PHOTOGRAPHS)}
