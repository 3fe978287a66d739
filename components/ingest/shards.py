"""Shards of a data set: slice files and a results file, made from the source files of a shard on all cores."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import ClassVar

from components.ingest.downloads import PRELOAD, ScratchFolder, Task, process_downloads
from components.ingest.plan import IngestPlan, log_note, log_refusal
from components.ingest.slice_files import SliceJob, SliceResult
from components.ingest.sources import open_source
from components.ingest.sources.object_store import ObjectStoreSource
from components.shared.contracts import Refusal
from components.shared.contracts.document import Document
from components.shared.contracts.source_notes import Note
from components.shared.errors import ContractError
from components.shared.files import atomic_folder
from components.shared.progress import Progress
from components.shared.workers import affordable_workers, map_in_order

SHARD_FILE, RESULTS_FILE = "shard.json", "results.jsonl"
SCRATCH_FOLDER = "scratch"


class ShardInfo(Document):
    """`shard.json`, written last: its presence marks a complete shard.

    Attributes:
        plan: Digest of the plan.
        shard: Number of the shard.
        scans: Number of results and of slice files.
    """

    SCHEMA: ClassVar[str] = "taxonflow.ingest-shard/3"

    plan: str
    shard: int
    scans: int


def cut_shard(plan: IngestPlan, shard: int, folder: Path) -> None:
    """Make the slice files of one shard; bad files are recorded as refused, and the others are processed.

    Args:
        plan: Plan of the data set.
        shard: Number of the shard.
        folder: Folder of the shard; it is replaced only if all files were processed.

    Raises:
        TaxonflowError: An object store does not answer.
    """
    quotas = {number: plan.quotas[number] for number, owner in enumerate(plan.shards) if owner == shard}
    count = len(plan.shard_numbers())
    step = f"ingest {shard + 1} of {count}" if count > 1 else "ingest"
    with atomic_folder(folder) as temporary_folder:
        with (temporary_folder / RESULTS_FILE).open("w", encoding="utf-8") as file:
            for number, result in cut_scans(plan, quotas, temporary_folder, step):
                file.write(json.dumps({"number": number, **asdict(result)}) + "\n")
        ShardInfo(plan=plan.digest(), shard=shard, scans=len(quotas)).write(temporary_folder / SHARD_FILE)


def cut_scans(
    plan: IngestPlan, quotas: Mapping[int, int], folder: Path, step: str
) -> Iterator[tuple[int, SliceResult]]:
    """Make the slice files of some scans, log refusals, and yield (number of the scan, result).

    Args:
        plan: Plan of the data set.
        quotas: Quotas of the scans to process, by their numbers in the plan; the order is kept.
        folder: Folder of the slice files; downloaded files are temporarily in a subfolder.
        step: Name of the step in progress lines.

    Raises:
        TaxonflowError: An object store does not answer.
    """
    tasks = [(plan.scans[number], _job(plan, number, quota, folder)) for number, quota in quotas.items()]
    progress = Progress(step, len(tasks), "specimens")
    for number, result in zip(quotas, _results(plan, tasks, folder), strict=True):
        scan = plan.scans[number]
        progress.advance(remark=scan.specimen)
        if result.refusal:
            log_refusal(Refusal(path=scan.path, reason=result.refusal))
        for text in result.notes:
            log_note(Note(path=scan.path, text=text))
        yield number, result


def slice_file(folder: Path, number: int) -> Path:
    """Return the slice file of a scan."""
    return folder / f"{number:06d}.arrow"


def _job(plan: IngestPlan, number: int, quota: int, folder: Path) -> SliceJob:
    scan, config = plan.scans[number], plan.config
    return SliceJob(
        path=scan.path,
        file=scan.file,
        slice_file=slice_file(folder, number),
        quota=quota,
        schedule=config.planes,
        image_size=config.image_size,
        seed=config.seed,
        spacing_mm=scan.spacing_mm,
        mask=scan.mask_file.file if scan.mask_file else None,
    )


def _results(plan: IngestPlan, tasks: Sequence[Task], folder: Path) -> Iterator[SliceResult]:
    kind = plan.source_kind
    workers = affordable_workers(plan.config.workers, len(tasks), kind.memory_factor * plan.max_bytes)
    source = open_source(plan.source, plan.config.confined)
    if not isinstance(source, ObjectStoreSource):
        jobs = [job for _, job in tasks]
        yield from (result for _, result in map_in_order(kind.make_slices, jobs, workers, PRELOAD))
        return
    scratch = folder / SCRATCH_FOLDER
    scratch.mkdir(exist_ok=True)
    yield from process_downloads(
        tasks,
        source,
        ScratchFolder(scratch, plan.config.scratch_bytes),
        plan.config.downloads,
        workers,
        kind.make_slices,
    )
    shutil.rmtree(scratch)


def read_results(folder: Path) -> Iterator[tuple[int, SliceResult]]:
    """Yield (number of the scan in the plan, result) of each scan of a shard.

    Raises:
        ContractError: Lines are damaged or missing.
    """
    expected_lines, read_lines = ShardInfo.read(folder / SHARD_FILE).scans, 0
    try:
        with (folder / RESULTS_FILE).open(encoding="utf-8") as file:
            for read_lines, line in enumerate(file, start=1):  # noqa: B007 the count is needed after the loop
                yield _parse_result(line)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise _damaged_results(folder, read_lines, expected_lines) from error
    if read_lines != expected_lines:
        raise _damaged_results(folder, read_lines, expected_lines)


def _parse_result(line: str) -> tuple[int, SliceResult]:
    fields = json.loads(line)
    number = fields.pop("number")
    tuples = {key: tuple(fields[key]) for key in ("grey_counts", "size", "notes", "doubts")}
    return number, SliceResult(**{**fields, **tuples})


def _damaged_results(folder: Path, read_lines: int, expected_lines: int) -> ContractError:
    problem = f"{folder / RESULTS_FILE} is truncated or damaged at line {read_lines}"
    return ContractError(problem, f"{expected_lines} complete lines", "Run the step ingest-cut of this shard again.")


def check_shards(plan: IngestPlan, folders: Sequence[Path]) -> None:
    """Check that the folders are all shards of this plan and of no other.

    Raises:
        ContractError: A shard is missing, occurs twice, or belongs to another plan.
    """
    infos, digest = [ShardInfo.read(folder / SHARD_FILE) for folder in folders], plan.digest()
    foreign = [str(folder) for folder, info in zip(folders, infos, strict=True) if info.plan != digest]
    if foreign:
        raise ContractError(f"{foreign[0]} was cut by another plan", remedy="Run all shards of one plan again.")
    numbers = sorted(info.shard for info in infos)
    if numbers != plan.shard_numbers():
        problem = f"the shards {', '.join(map(str, numbers))}" if numbers else "no shards"
        raise ContractError(problem, f"each of 0 to {len(plan.shard_numbers()) - 1} once")
