"""All volumes are cut, those that cannot be used are refused, until the quotas of the rest are met."""

import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.ingest.config import IngestConfig
from components.ingest.cut import CutJob, CutResult, cut_volume
from components.ingest.manifest import Manifest, Scan
from components.ingest.split import check_enough, scans_of_the_model
from components.ingest.volume import read_header
from components.shared.contracts import Refusal
from components.shared.errors import BadVolumeError
from components.shared.progress import Progress
from components.shared.workers import affordable_workers, in_order

MEMORY_PER_VOLUME = 3
"""Peak bytes of a worker for each byte of a volume."""


@dataclass
class Cutting:
    """The usable scans, what came of each, and the others.

    Attributes:
        scans: usable, in the manifest's order.
        refused: files left out, with reasons.
        quotas: slices wanted of each scan, by path.
        results: what a worker reported, by path.
        part_of: the file of each scan's slices, by path.
        largest: bytes of the largest usable volume.
    """

    scans: list[Scan]
    refused: list[Refusal]
    quotas: dict[str, int] = field(default_factory=dict)
    results: dict[str, CutResult] = field(default_factory=dict)
    part_of: dict[str, Path] = field(default_factory=dict)
    largest: int = 0

    def refuse(self, scan: Scan, reason: str) -> None:
        """Takes a scan out and says so."""
        self.scans.remove(scan)
        self.results.pop(scan.path, None)
        self.refused.append(Refusal(path=scan.path, reason=reason))
        _say(self.refused[-1])

    def grey_counts(self) -> dict[str, NDArray[np.int64]]:
        """Returns the windowed volumes' histogram for each species, int64 [256]."""
        counts: defaultdict[str, NDArray[np.int64]] = defaultdict(lambda: np.zeros(256, np.int64))
        for scan in self.scans:
            counts[scan.species] += np.array(self.results[scan.path].grey_counts, dtype=np.int64)
        return dict(counts)


def cut_all(manifest: Manifest, parts: Path, config: IngestConfig) -> Cutting:
    """Cuts every usable volume into a part of its own.

    A refused volume's share of the quota goes to the other specimens of its species, which are then cut again.

    Args:
        manifest: the scans to try.
        parts: an empty folder.
        config: quota, planes, size, seed, workers.

    Raises:
        BadManifestError: a species is left with too few specimens.
    """
    cutting = Cutting(list(manifest.scans), list(manifest.refused))
    for refusal in manifest.refused:
        _say(refusal)
    _refuse_by_header(cutting)
    cutting.part_of = {scan.path: parts / f"{number:06d}.arrow" for number, scan in enumerate(cutting.scans)}
    while True:
        check_enough(cutting.scans)
        wanted = spread_quota(cutting.scans, config.slices_per_species)
        stale = [scan for scan in cutting.scans if cutting.quotas.get(scan.path) != wanted[scan.path]]
        if not stale:
            return cutting
        cutting.quotas = wanted
        _cut(cutting, stale, config)
        _refuse_copies(cutting)


def spread_quota(scans: Sequence[Scan], per_species: int) -> dict[str, int]:
    """Spreads each species' quota evenly over its specimens, at least one slice each, and theirs over their scans.

    A specimen of a species outside the model gets no more than one of the model's richest species does.
    """
    known = {(scan.species, scan.specimen) for scan in scans_of_the_model(scans)}
    richest = max(Counter(species for species, _ in known).values(), default=1)
    tree: defaultdict[str, defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for scan in scans:
        tree[scan.species][scan.specimen].append(scan.path)
    quotas: dict[str, int] = {}
    for species, specimens in tree.items():
        for number, specimen in enumerate(sorted(specimens)):
            among = len(specimens) if (species, specimen) in known else max(richest, len(specimens))
            share = max(1, _even_share(per_species, among, number))
            paths = specimens[specimen]
            quotas.update({path: _even_share(share, len(paths), place) for place, path in enumerate(paths)})
    return quotas


def _even_share(total: int, among: int, number: int) -> int:
    return total // among + (number < total % among)


def _refuse_by_header(cutting: Cutting) -> None:
    for scan in list(cutting.scans):
        try:
            cutting.largest = max(cutting.largest, read_header(scan.file).size)
        except BadVolumeError as error:
            cutting.refuse(scan, str(error))


def _cut(cutting: Cutting, scans: Sequence[Scan], config: IngestConfig) -> None:
    jobs = [
        CutJob(
            path=scan.path,
            file=scan.file,
            part=cutting.part_of[scan.path],
            quota=cutting.quotas[scan.path],
            schedule=config.planes,
            image_size=config.image_size,
            seed=config.seed,
        )
        for scan in scans
    ]
    progress = Progress("ingest", len(jobs), "specimens")
    workers = affordable_workers(config.workers, len(jobs), MEMORY_PER_VOLUME * cutting.largest)
    for scan, (_, result) in zip(scans, in_order(cut_volume, jobs, workers), strict=True):
        cutting.results[scan.path] = result
        if result.refused:
            cutting.refuse(scan, result.refused)
        progress.advance(remark=scan.specimen)


def _refuse_copies(cutting: Cutting) -> None:
    """Refuses volumes with the same bytes as another; where the copies name different species, all of them."""
    copies: defaultdict[str, list[Scan]] = defaultdict(list)
    for scan in cutting.scans:
        copies[cutting.results[scan.path].digest].append(scan)
    for first, *others in copies.values():
        contradictory = len({scan.species for scan in (first, *others)}) > 1
        for scan in (first, *others) if contradictory else others:
            other = next(twin for twin in (first, *others) if twin is not scan)
            reason = f"the same file as {other.path}"
            cutting.refuse(scan, f"{reason}, which is of another species" if contradictory else reason)


def _say(refusal: Refusal) -> None:
    sys.stdout.write(f"[ingest] refused {refusal.path}: {refusal.reason}\n")
    sys.stdout.flush()
