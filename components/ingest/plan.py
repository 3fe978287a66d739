"""The plan of a data set: every volume with its shard, made once, so that all shards and the merge agree.

Volumes whose headers cannot be used are refused here, before the others' share of the quota is settled.
"""

import hashlib
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import ClassVar

from components.ingest.config import IngestConfig
from components.ingest.source_kinds import READERS
from components.ingest.sources.base import Source
from components.ingest.sources.file_kinds import VOLUMES
from components.ingest.sources.manifest import Scan, list_volumes
from components.ingest.sources.opening import open_source
from components.ingest.split import assign_splits
from components.shared.contracts import Document, Refusal
from components.shared.errors import BadConfigError, BadSourceFileError
from components.shared.progress import Progress

PLAN_FILE = "plan.json"
MOST_SHARDS = 1000
AT_ONCE = 16
"""Headers read at a time: in an object store each is a request."""


class IngestPlan(Document):
    """What is cut, and by which shard.

    Attributes:
        source: address of the volumes.
        config: everything else that decides the data set.
        scans: the volumes to cut, in the manifest's order.
        shards: for each scan the number of its shard; all scans of a specimen have the same.
        refused: files left out so far.
        largest: bytes that the largest volume's voxels or photograph may take.
        kind: of the files, see `components.ingest.sources.file_kinds`.
    """

    SCHEMA: ClassVar[str] = "taxonflow.ingest-plan/1"

    source: str
    config: IngestConfig
    scans: tuple[Scan, ...]
    shards: tuple[int, ...]
    refused: tuple[Refusal, ...]
    largest: int
    kind: str = VOLUMES

    def numbers(self) -> list[int]:
        """Returns the numbers of the shards, 0 to one less than there are."""
        return sorted(set(self.shards))

    def digest(self) -> str:
        """Returns the SHA-256 of the plan: what was cut by another plan is not taken for this one's."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


def make_plan(address: str | Path, config: IngestConfig, shards: int = 1) -> IngestPlan:
    """Lists the volumes, refuses those that their header rules out, and spreads the rest over shards.

    Args:
        address: see `components.ingest.sources.opening`.
        config: of the data set.
        shards: how many; no more than there are specimens are used.

    Raises:
        BadConfigError: an impossible number of shards.
        BadManifestError: no such source, too few usable specimens, or a split column that cannot work.
    """
    if not 1 <= shards <= MOST_SHARDS:
        raise BadConfigError(f"parameter shards = {shards}", f"1 to {MOST_SHARDS}")
    source = open_source(address)
    manifest = list_volumes(source)
    for refusal in manifest.refused:
        say(refusal)
    needed_bytes = READERS[manifest.kind].needed_bytes
    scans, refused, largest = _check_headers(source, manifest.scans, needed_bytes, config.scratch_bytes)
    assign_splits(scans, config.seed)  # what cannot be split is refused before anything is cut
    return IngestPlan(
        source=source.address,
        config=config,
        scans=tuple(scans),
        shards=_spread(scans, shards),
        refused=(*manifest.refused, *refused),
        largest=largest,
        kind=manifest.kind,
    )


def write_plan(folder: Path, plan: IngestPlan) -> None:
    """Writes the plan into a folder."""
    plan.write(folder / PLAN_FILE)


def read_plan(folder: Path) -> IngestPlan:
    """Reads the plan of a folder.

    Raises:
        ContractError: it is not there, or no plan.
    """
    return IngestPlan.read(folder / PLAN_FILE)


def say(refusal: Refusal) -> None:
    """Tells of a refused file as soon as it is known."""
    sys.stdout.write(f"[ingest] refused {refusal.path}: {refusal.reason}\n")
    sys.stdout.flush()


def _check_headers(
    source: Source, scans: Sequence[Scan], needed_bytes: Callable[[Path], int], most_bytes: int
) -> tuple[list[Scan], list[Refusal], int]:
    """Returns the scans that can be tried, the others, and the bytes that the largest one takes."""
    usable, refused, largest = [], [], 0
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(AT_ONCE) as threads:
        progress = Progress("ingest plan", len(scans), "headers")
        check = partial(
            _bytes_or_reason, source=source, scratch=Path(scratch), needed_bytes=needed_bytes, most_bytes=most_bytes
        )
        for scan, found in zip(scans, threads.map(check, scans), strict=True):
            progress.advance()
            if isinstance(found, int):
                largest = max(largest, found)
                usable.append(scan)
            else:
                refused.append(Refusal(path=scan.path, reason=found))
                say(refused[-1])
    return usable, refused, largest


def _bytes_or_reason(
    scan: Scan, source: Source, scratch: Path, needed_bytes: Callable[[Path], int], most_bytes: int
) -> int | str:
    """Returns how many bytes a volume or photograph takes, or why it cannot be used."""
    try:
        if scan.version and scan.size > most_bytes:
            raise BadSourceFileError(
                f"{scan.size} bytes to download", f"at most {most_bytes}", "Crop or bin the volume."
            )
        with source.beginning(scan.place, scratch) as beginning:
            return needed_bytes(beginning)
    except BadSourceFileError as error:
        return str(error)


def _spread(scans: Sequence[Scan], shards: int) -> tuple[int, ...]:
    """Deals specimens out to shards, the largest first, so that each shard has about the same work."""
    sizes: defaultdict[str, int] = defaultdict(int)
    for scan in scans:
        sizes[scan.specimen] += scan.size
    ranked = sorted(sizes, key=lambda specimen: (-sizes[specimen], specimen))
    shard_of = {specimen: rank % shards for rank, specimen in enumerate(ranked)}
    return tuple(shard_of[scan.specimen] for scan in scans)
