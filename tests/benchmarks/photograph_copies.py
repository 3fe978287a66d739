"""Different photographs that are joined as near-copies, and true copies that are detected, in sets that are alike."""

import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from components.ingest.near_copies.groups import search_near_copies
from components.ingest.near_copies.photograph_fingerprint import (
    LARGEST_DISTANCE,
    fingerprint_photograph,
    near_photographs,
)
from components.ingest.sources.manifest import Scan
from components.shared.images.decoding import Pixels
from components.shared.images.photographs import read_photograph
from tests.benchmarks.alike_photographs import copy_of, grains, silhouettes
from tests.benchmarks.measurement import Measurement

EDGE = 224
REAL_SETS = {"phytoplankton": "real_organisms/phytoplankton", "bones and rocks": "real_photos"}
COPIES = {"half size, quality 70": (0.5, 70, 0.0), "0.4 size, quality 40": (0.4, 40, 0.0), "cropped": (0.8, 80, 0.02)}
MOST_COPIES = 100
Photographs = Sequence[tuple[str, Pixels]]


def fingerprint(image: Pixels) -> str:
    """Return the fingerprint of a photograph as ingest computes it."""
    _, content = cv2.imencode(".bmp", image[..., ::-1])
    return fingerprint_photograph(read_photograph(content.tobytes(), EDGE).content)


def join(fingerprints: Sequence[str], species: Sequence[str]) -> tuple[int, float]:
    """Return the number of photographs in groups of near-copies, and the distance below which they are joined."""
    scans = [Scan(str(number), Path(str(number)), name, str(number)) for number, name in enumerate(species)]
    search = search_near_copies(scans, fingerprints, near_photographs)
    return sum(len(group.specimens) for group in search.groups), min(search.distance, LARGEST_DISTANCE)


def count_found(photographs: Photographs, originals: Sequence[str], distance: float, copy: str) -> tuple[int, int]:
    """Return the number of copies that are detected, and of all copies of one kind.

    Args:
        photographs: Originals.
        originals: Their fingerprints.
        distance: Distance of near-copies in their set.
        copy: Kind of the copies, a key of COPIES.
    """
    numbers = np.random.default_rng(0).permutation(len(photographs))[:MOST_COPIES]
    pairs = [(originals[number], fingerprint(copy_of(photographs[number][1], *COPIES[copy]))) for number in numbers]
    found = [any(pair[2] <= distance for pair in near_photographs(pair_texts)) for pair_texts in pairs]
    return sum(found), len(found)


def real_photographs(folder: Path) -> Iterator[tuple[str, Pixels]]:
    """Yield (folder's name, photograph) of all JPEG files below a folder."""
    for file in sorted(folder.rglob("*.jpg")):
        yield file.parent.name, cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)


def measure_set(name: str, photographs: Photographs, bar: float) -> Iterator[Measurement]:
    """Yield the joined photographs of a set and the detected copies of it.

    Args:
        name: Name of the set.
        photographs: Species and photograph of each individual.
        bar: Largest number of joined photographs of 1,000.
    """
    fingerprints = [fingerprint(image) for _, image in photographs]
    start = time.process_time()
    count, distance = join(fingerprints, [species for species, _ in photographs])
    seconds = time.process_time() - start
    share = 1000 * count / len(photographs)
    prefix = f"ingest-near-copies {name}"
    yield Measurement(f"{prefix}, joined", share, f"of 1,000; {len(photographs)} photographs", bar, None, f"<= {bar:g}")
    yield Measurement(f"{prefix}, search", seconds, "s of processor time")
    for copy in COPIES:
        found, of = count_found(photographs, fingerprints, distance, copy)
        yield Measurement(f"{prefix}, found {copy}", found, "copies", of, found / of, f"distance {distance:.3f}")


def near_copies_of_photographs(scratch: Path) -> Iterable[Measurement]:
    """Count wrongly joined photographs and detected copies in drawn and real sets."""
    del scratch
    yield from measure_set("silhouettes", list(silhouettes(99, 10)), 0)
    yield from measure_set("dark silhouettes", list(silhouettes(99, 10, dark=True, seed=1)), 0)
    yield from measure_set("like silhouettes", list(silhouettes(99, 10, variation=0.5, seed=3)), 1)
    yield from measure_set("grains", list(grains(20, 400)), 5)
    for name, folder in REAL_SETS.items():
        photographs = list(real_photographs(Path("../shared") / folder))
        if photographs:
            yield from measure_set(name, photographs, 0)


BENCHMARKS = {"ingest-near-copies-photographs": near_copies_of_photographs}
