"""The plan of a data set: every source file with its shard and its quota. All shards and the merge use the same plan.

Files with a bad header are refused here, before the quotas of the others are assigned.
"""

import hashlib
import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from components.ingest.config import IngestConfig
from components.ingest.folds import assign_specimens
from components.ingest.source_kinds import SOURCE_KINDS, SourceKind
from components.ingest.sources import open_source
from components.ingest.sources.base import Source
from components.ingest.sources.file_kinds import VOLUMES
from components.ingest.sources.folder_layout import describe_endings
from components.ingest.sources.manifest import Scan, list_scans
from components.ingest.split import (
    log_rare_species,
    log_validation,
    model_scans,
    rare_species,
    treat_rare_species,
)
from components.shared.contracts import Refusal
from components.shared.contracts.document import Document
from components.shared.contracts.source_notes import Note
from components.shared.errors import BadConfigError, BadSourceFileError
from components.shared.progress import Progress, log

PLAN_FILE = "plan.json"
MAX_SHARDS = 1000
MAX_LOGGED_REFUSALS = 5
"""Number of logged files with the same reason; the data set lists all."""
PARALLEL_HEADERS = 16
"""Number of headers that are read in parallel: in an object store each is a request."""


class IngestPlan(Document):
    """The files to process, each with its shard and its quota.

    Attributes:
        source: Address of the source.
        config: Parameters of the data set.
        scans: Usable scans, in the order of the manifest.
        shards: Number of each scan's shard; all scans of a specimen are in the same shard.
        quotas: Number of slices to make of each scan.
        refusals: Files refused so far.
        max_bytes: Bytes of the decoded content of the largest file.
        kind: Kind of the files, a key of `components.ingest.source_kinds.SOURCE_KINDS`.
        passed_over: Number of files that are not read, by their endings.
        rare_species: Species with fewer than three specimens, in the splits of `config.rare_species`.
    """

    SCHEMA: ClassVar[str] = "taxonflow.ingest-plan/2"

    source: str
    config: IngestConfig
    scans: tuple[Scan, ...]
    shards: tuple[int, ...]
    quotas: tuple[int, ...]
    refusals: tuple[Refusal, ...]
    max_bytes: int
    kind: str = VOLUMES
    passed_over: dict[str, int] = Field(default_factory=dict)
    rare_species: tuple[str, ...] = ()

    @property
    def source_kind(self) -> SourceKind:
        """Kind of the files, with the functions that process them."""
        return SOURCE_KINDS[self.kind]

    def shard_numbers(self) -> list[int]:
        """Return the numbers of the shards, ascending from 0."""
        return sorted(set(self.shards))

    def digest(self) -> str:
        """Return the SHA-256 of the plan, by which the shards of another plan are refused."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


def make_plan(address: str | Path, config: IngestConfig, shards: int = 1) -> IngestPlan:
    """List the files of a source, refuse those with a bad header, and spread the others over shards.

    Args:
        address: Address of the source, see `components.ingest.sources`.
        config: Parameters of the data set.
        shards: Number of shards; at most one for each specimen is used.

    Raises:
        BadConfigError: The number of shards is out of range.
        BadManifestError: The source does not exist, has too few usable specimens, or its split column cannot be used.
    """
    if not 1 <= shards <= MAX_SHARDS:
        raise BadConfigError(f"parameter shards = {shards}", f"1 to {MAX_SHARDS}")
    source = open_source(address, config.confined)
    manifest = list_scans(source)
    log_refusals(manifest.refusals)
    if manifest.passed_over:
        log("ingest", f"passed over files that are no {manifest.kind}: {describe_endings(manifest.passed_over)}")
    kind = SOURCE_KINDS[manifest.kind]
    scans, refusals, max_bytes = _check_headers(source, manifest.scans, kind, config.scratch_bytes)
    rare = rare_species(scans)
    log_rare_species(rare, config.rare_species)
    scans = treat_rare_species(scans, config.rare_species)
    # A source that cannot be split is refused before any volume is cut.
    log_validation(scans, assign_specimens(scans, config).splits)
    quotas = assign_quotas(kind, scans, config.slices_per_species)
    return IngestPlan(
        source=source.address,
        config=config,
        scans=tuple(scans),
        shards=_assign_shards(scans, shards),
        quotas=tuple(quotas[scan.path] for scan in scans),
        refusals=(*manifest.refusals, *refusals),
        max_bytes=max_bytes,
        kind=manifest.kind,
        passed_over=manifest.passed_over,
        rare_species=tuple(rare),
    )


def write_plan(folder: Path, plan: IngestPlan) -> None:
    """Write the plan into a folder."""
    plan.write(folder / PLAN_FILE)


def read_plan(folder: Path) -> IngestPlan:
    """Read the plan of a folder.

    Raises:
        ContractError: The file is missing, damaged, or of another schema version.
    """
    return IngestPlan.read(folder / PLAN_FILE)


def log_refusal(refusal: Refusal) -> None:
    """Log a refused file and the reason."""
    log("ingest", f"refused {refusal.path}: {refusal.reason}")


def log_note(note: Note) -> None:
    """Log a note about a usable file."""
    log("ingest", f"note {note.path}: {note.text}")


def log_refusals(refusals: Sequence[Refusal]) -> None:
    """Log refused files, and only the first of many with the same reason."""
    by_reason: defaultdict[str, list[Refusal]] = defaultdict(list)
    for refusal in refusals:
        by_reason[refusal.reason].append(refusal)
    for reason, group in by_reason.items():
        for refusal in group[:MAX_LOGGED_REFUSALS]:
            log_refusal(refusal)
        if len(group) > MAX_LOGGED_REFUSALS:
            log("ingest", f"refused {len(group) - MAX_LOGGED_REFUSALS} more files: {reason}")


def assign_quotas(kind: SourceKind, scans: Sequence[Scan], slices_per_species: int) -> dict[str, int]:
    """Return the number of slices to make of each scan, by path."""
    if kind.slices_per_file is not None:
        return {scan.path: kind.slices_per_file for scan in scans}
    return spread_quotas(scans, slices_per_species)


def spread_quotas(scans: Sequence[Scan], slices_per_species: int) -> dict[str, int]:
    """Spread the quota of each species evenly over its specimens, and that of each specimen over its scans.

    Each specimen gets at least one slice. A specimen of an unseen species gets at most as many slices as a specimen of
    the model's largest species.

    Returns:
        The number of slices of each scan, by path.
    """
    model_specimens = {(scan.species, scan.specimen) for scan in model_scans(scans)}
    most_specimens = max(Counter(species for species, _ in model_specimens).values(), default=1)
    paths_of: defaultdict[str, defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for scan in scans:
        paths_of[scan.species][scan.specimen].append(scan.path)
    quotas: dict[str, int] = {}
    for species, specimens in paths_of.items():
        for number, specimen in enumerate(sorted(specimens)):
            in_model = (species, specimen) in model_specimens
            count = len(specimens) if in_model else max(most_specimens, len(specimens))
            quota = max(1, _even_share(slices_per_species, count, number))
            paths = specimens[specimen]
            quotas.update({path: _even_share(quota, len(paths), index) for index, path in enumerate(paths)})
    return quotas


def _even_share(total: int, count: int, number: int) -> int:
    return total // count + (number < total % count)


def _check_headers(
    source: Source, scans: Sequence[Scan], kind: SourceKind, max_download: int
) -> tuple[list[Scan], list[Refusal], int]:
    """Return the scans with a usable header, the refusals of the others, and the bytes of the largest scan."""
    usable_scans, refusals, max_bytes = [], [], 0
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(PARALLEL_HEADERS) as threads:
        progress = Progress("ingest plan", len(scans), "headers")
        check = partial(
            _bytes_or_reason,
            source=source,
            scratch=Path(scratch),
            kind=kind,
            max_download=max_download,
        )
        for scan, result in zip(scans, threads.map(check, scans), strict=True):
            progress.advance()
            if isinstance(result, int):
                max_bytes = max(max_bytes, result)
                usable_scans.append(scan)
            else:
                refusals.append(Refusal(path=scan.path, reason=result))
    log_refusals(refusals)
    return usable_scans, refusals, max_bytes


def _bytes_or_reason(scan: Scan, source: Source, scratch: Path, kind: SourceKind, max_download: int) -> int | str:
    """Return the bytes of a scan's decoded content, or the reason why the scan is refused."""
    try:
        size = scan.size + (scan.mask_file.size if scan.mask_file else 0)
        if scan.version and size > max_download:
            raise BadSourceFileError(f"{size} bytes to download", f"at most {max_download}", "Crop or bin the volume.")
        with source.header_file(scan.source_file, scratch) as header:
            nbytes = kind.check_header(header, scan)
            if scan.mask_file is None:
                return nbytes
            with (
                tempfile.TemporaryDirectory(dir=scratch) as mask_scratch,  # several scans may have the same mask
                source.header_file(scan.mask_file, Path(mask_scratch)) as mask_header,
            ):
                return nbytes + kind.check_mask(header, mask_header, scan)
    except BadSourceFileError as error:
        return str(error)


def _assign_shards(scans: Sequence[Scan], shards: int) -> tuple[int, ...]:
    """Return the shard of each scan: specimens are assigned in turn, largest first, so that shards have equal work."""
    sizes: defaultdict[str, int] = defaultdict(int)
    for scan in scans:
        sizes[scan.specimen] += scan.size
    by_size = sorted(sizes, key=lambda specimen: (-sizes[specimen], specimen))
    shard_of = {specimen: rank % shards for rank, specimen in enumerate(by_size)}
    return tuple(shard_of[scan.specimen] for scan in scans)
