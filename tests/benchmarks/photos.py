"""How fast photographs become slices, beside a plain Pillow loop, and whether time and memory grow as they should.

The photographs are coarse noise, 64 to 5184 pixels wide: most of them a few hundred pixels, as on the Internet, one in
twenty as large as a camera's.
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
SMALLEST, LARGEST, USUAL = 64, 5184, 1024
SHARE_OF_LARGE = 0.05
MEMORY_BOUND_MB, SAMPLED_EVERY_S = 1024, 0.2


def write_photograph(file: Path, seed: int = 0) -> None:
    """Writes one photograph; its name seeds it."""
    rng = np.random.default_rng([seed, int(file.stem)])
    low, high = (USUAL, LARGEST) if rng.random() < SHARE_OF_LARGE else (SMALLEST, USUAL)
    width = round(np.exp(rng.uniform(np.log(low), np.log(high))))
    coarse = rng.integers(0, 256, (24, 32, 3), np.uint8)
    image = cv2.resize(coarse, (width, max(1, round(width * 0.75))), interpolation=cv2.INTER_LINEAR)
    cv2.imwrite(str(file), image, (cv2.IMWRITE_JPEG_QUALITY, 85))


def write_photographs(folder: Path, count: int) -> Path:
    """Writes photographs of all species."""
    files = [folder / f"species-{number % SPECIES:02d}" / f"{number:06d}.jpg" for number in range(count)]
    for parent in {file.parent for file in files}:
        parent.mkdir(parents=True)
    for _ in map_in_order(write_photograph, files):
        pass
    return folder


def plain_loop(files: Sequence[Path]) -> None:
    """What a script would do with Pillow's defaults: decode, colour, scale, encode, one after the other."""
    for file in files:
        with Image.open(file) as image:
            scaled = image.convert("RGB")
            scaled.thumbnail((EDGE, EDGE))
            scaled.save(io.BytesIO(), "PNG")


def tuned_loop(files: Sequence[Path]) -> None:
    """The same with the fastest filter and compression that Pillow has."""
    for file in files:
        with Image.open(file) as image:
            scaled = image.convert("RGB")
            scaled.thumbnail((EDGE, EDGE), Image.Resampling.BOX, reducing_gap=None)
            scaled.save(io.BytesIO(), "PNG", compress_level=1)


def _rate(loop: Callable[[Sequence[Path]], None], files: Sequence[Path]) -> float:
    began = time.perf_counter()
    loop(files)
    return len(files) / (time.perf_counter() - began)


def ingest(folder: Path, slices: Path) -> None:
    """Ingests a folder and prints the seconds."""
    config = IngestConfig.checked(image_size=EDGE, slices_per_species=10_000, planes="published", seed=0, workers=2)
    began = time.perf_counter()
    make_dataset(folder, slices, config)
    print(f"\n{time.perf_counter() - began}")


def _apart(folder: Path, slices: Path) -> tuple[float, float]:
    """Ingests in a session of its own, so that its memory can be told: seconds, MB of all its processes together."""
    program = "import sys, tests.benchmarks.photos as it; it.ingest(it.Path(sys.argv[1]), it.Path(sys.argv[2]))"
    log, most = slices.with_suffix(".log"), 0.0
    with log.open("w") as said:
        command = [sys.executable, "-c", program, str(folder), str(slices)]
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.DEVNULL, start_new_session=True)
        while process.poll() is None:
            most = max(most, _megabytes_of_session(process.pid))
            time.sleep(SAMPLED_EVERY_S)
    assert process.returncode == 0, log.read_text()[-500:]
    return float(log.read_text().splitlines()[-1]), most


def _megabytes_of_session(session: int) -> float:
    """Adds up what the processes of a session hold in memory, pages that several share in parts."""
    kilobytes = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if int((process / "stat").read_text().rpartition(")")[2].split()[3]) == session:
                held = (process / "smaps_rollup").read_text()
                kilobytes += next(int(line.split()[1]) for line in held.splitlines() if line.startswith("Pss:"))
        except (OSError, StopIteration):
            continue  # it has ended meanwhile
    return kilobytes / 1024


def _photos(scratch: Path, count: int) -> Iterator[Measurement]:
    quarter, whole = (write_photographs(scratch / str(number), number) for number in (count // 4, count))
    files = sorted(quarter.rglob("*.jpg"))
    plain, tuned = _rate(plain_loop, files), _rate(tuned_loop, files)
    few_seconds, _ = _apart(quarter, scratch / "few")
    seconds, megabytes = _apart(whole, scratch / "all")
    rate = count / seconds
    yield Measurement("photos", rate, "photographs/s", plain, rate / plain, "ratio >= 1.8")
    yield Measurement("photos-tuned-loop", rate, "photographs/s", tuned, rate / tuned, "as told")
    yield Measurement("photos-seconds", seconds, "s", 4 * few_seconds, seconds / (4 * few_seconds), "about 1")
    yield Measurement(
        "photos-memory", megabytes, "MB", MEMORY_BOUND_MB, megabytes / MEMORY_BOUND_MB, "< 1 of the bound"
    )


BENCHMARKS = {"photos": partial(_photos, count=PHOTOGRAPHS)}
