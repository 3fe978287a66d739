"""What is done with each kind of source file: the one place where volumes and photographs differ in this step."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.ingest.config import IngestConfig
from components.ingest.near_copies.groups import Pairs, keep_all, leave_out_of_training
from components.ingest.near_copies.volume_fingerprint import near_pairs
from components.ingest.pages.exploration import exploration_html
from components.ingest.pages.report import report_html
from components.ingest.photograph_slices import LARGEST_DISTANCE, cut_photograph, memory_of_photograph, near_photographs
from components.ingest.quotas import one_each, spread_quota
from components.ingest.sources.file_kinds import PHOTOGRAPHS, VOLUMES
from components.ingest.sources.manifest import Scan
from components.ingest.volume_slices import CutJob, CutResult, cut_volume
from components.shared.contracts import NearCopies, SlicesInfo
from components.shared.pages import Thumbnails
from components.shared.volumes.nifti import read_header
from components.shared.volumes.slicing import SMALLEST_COVERAGE
from components.shared.volumes.specimen import WINDOW_PERCENTILES

Outcomes = Iterable[tuple[Scan, CutResult]]


@dataclass(frozen=True)
class Reader:
    """What is done with one kind of source file.

    Attributes:
        channels: of its slices, 1 or 3.
        needed_bytes: checks what can be told of a file in a moment, and says how much memory it may take; raises
            BadSourceFileError.
        memory: peak bytes of a worker for each of these.
        cut: makes a part of a file; a function of a module, for other processes call it.
        quotas: how many slices are wanted of each scan.
        near: finds the pairs of scans that show one individual.
        left_out: which scans give way where near-copies are in two splits, and why.
        parameters: what `dataset.json` tells of the making.
        page: to look at.
    """

    channels: int
    needed_bytes: Callable[[Path], int]
    memory: int
    cut: Callable[[CutJob], CutResult]
    quotas: Callable[[Sequence[Scan], int], dict[str, int]]
    near: Pairs
    left_out: Callable[[Sequence[Scan], Sequence[NearCopies]], list[tuple[Scan, str]]]
    parameters: Callable[[IngestConfig], Mapping[str, object]]
    page: Callable[[SlicesInfo, Thumbnails, Outcomes], str]


def _bytes_of_volume(file: Path) -> int:
    return read_header(file).nbytes


def _parameters_of_volumes(config: IngestConfig) -> dict[str, object]:
    return {
        "planes": config.planes,
        "slices_per_species": config.slices_per_species,
        "smallest_coverage": SMALLEST_COVERAGE,
        "window_percentiles": list(WINDOW_PERCENTILES),
    }


def _parameters_of_photographs(config: IngestConfig) -> dict[str, object]:
    del config  # all of it is for volumes
    return {"largest_distance_of_copies": LARGEST_DISTANCE}


READERS: dict[str, Reader] = {
    VOLUMES: Reader(
        channels=1,
        needed_bytes=_bytes_of_volume,
        memory=3,
        cut=cut_volume,
        quotas=spread_quota,
        near=near_pairs,
        left_out=keep_all,
        parameters=_parameters_of_volumes,
        page=report_html,
    ),
    PHOTOGRAPHS: Reader(
        channels=3,
        needed_bytes=memory_of_photograph,
        memory=1,
        cut=cut_photograph,
        quotas=one_each,
        near=near_photographs,
        left_out=leave_out_of_training,
        parameters=_parameters_of_photographs,
        page=exploration_html,
    ),
}
