"""Source files are cut by all cores, each into a part of its own, wherever they are."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from components.ingest.downloads import Scratch, Task, cut_downloaded
from components.ingest.plan import IngestPlan
from components.ingest.source_kinds import READERS
from components.ingest.sources.object_store import RemoteSource
from components.ingest.sources.opening import open_source
from components.ingest.volume_slices import CutJob, CutResult
from components.shared.progress import Progress
from components.shared.workers import affordable_workers, map_in_order

SCRATCH_FOLDER = "scratch"


def cut_scans(
    plan: IngestPlan, numbers: Sequence[int], quotas: Mapping[str, int], folder: Path, name: str
) -> Iterator[tuple[int, CutResult]]:
    """Cuts some of the plan's scans and yields (number, what came of it) in the given order.

    Args:
        plan: names the volumes and how they are cut.
        numbers: of the scans in the plan.
        quotas: slices wanted of each scan, by path.
        folder: takes a part for each scan, and downloaded volumes for a while.
        name: of the work, for the progress.

    Raises:
        TaxonflowError: an object store does not answer any more.
    """
    tasks = [(plan.scans[number], _job(plan, number, quotas, folder)) for number in numbers]
    progress = Progress(name, len(tasks), "specimens")
    for number, result in zip(numbers, _results(plan, tasks, folder), strict=True):
        progress.advance(remark=plan.scans[number].specimen)
        yield number, result


def part_file(folder: Path, number: int) -> Path:
    """Returns the file of a scan's slices."""
    return folder / f"{number:06d}.arrow"


def _job(plan: IngestPlan, number: int, quotas: Mapping[str, int], folder: Path) -> CutJob:
    scan, config = plan.scans[number], plan.config
    return CutJob(
        path=scan.path,
        file=scan.file,
        part=part_file(folder, number),
        quota=quotas[scan.path],
        schedule=config.planes,
        image_size=config.image_size,
        seed=config.seed,
    )


def _results(plan: IngestPlan, tasks: Sequence[Task], folder: Path) -> Iterator[CutResult]:
    reader = READERS[plan.kind]
    workers = affordable_workers(plan.config.workers, len(tasks), reader.memory * plan.largest)
    source = open_source(plan.source)
    if not isinstance(source, RemoteSource):
        preload = "components.ingest.preload"
        yield from (result for _, result in map_in_order(reader.cut, [job for _, job in tasks], workers, preload))
        return
    scratch = folder / SCRATCH_FOLDER
    scratch.mkdir(exist_ok=True)
    yield from cut_downloaded(
        tasks, source, Scratch(scratch, plan.config.scratch_bytes), plan.config.downloads, workers, reader.cut
    )
    shutil.rmtree(scratch)
