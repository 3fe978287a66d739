"""Functions and parameters for each kind of source file; only the pages in `dataset_pages` also differ by kind."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.ingest.config import IngestConfig
from components.ingest.near_copies.groups import PairFinder
from components.ingest.near_copies.photograph_fingerprint import LARGEST_DISTANCE as LARGEST_DISTANCE_OF_PHOTOGRAPHS
from components.ingest.near_copies.photograph_fingerprint import near_photographs
from components.ingest.near_copies.treatment import exclude_from_training, exclude_none
from components.ingest.near_copies.volume_fingerprint import LARGEST_DISTANCE as LARGEST_DISTANCE_OF_VOLUMES
from components.ingest.near_copies.volume_fingerprint import near_volumes
from components.ingest.photograph_slices import photograph_memory, scale_photograph
from components.ingest.slice_files import SliceJob, SliceResult
from components.ingest.sources.file_kinds import PHOTOGRAPHS, VOLUMES
from components.ingest.sources.manifest import Scan
from components.ingest.volume_slices import cut_volume
from components.shared.contracts import NearCopies
from components.shared.errors import BadSourceFileError
from components.shared.volumes.formats import read_header
from components.shared.volumes.slicing import SMALLEST_COVERAGE
from components.shared.volumes.specimen import WINDOW_PERCENTILES
from components.shared.volumes.user_mask import check_mask_header


@dataclass(frozen=True)
class SourceKind:
    """The processing of one kind of source file.

    Attributes:
        channels: Channels of the slices, 1 or 3.
        check_header: Function that checks the header of a scan's file and returns the bytes of its decoded content; it
            raises BadSourceFileError.
        check_mask: Function that checks the header of a mask against that of its file and returns its bytes; it
            raises BadSourceFileError.
        memory_factor: Peak memory of a worker, as a multiple of those bytes.
        make_slices: Function of a module that writes the slice file of a job; worker processes call it.
        slices_per_file: Fixed number of slices of each file, or None to spread the quota of a species over its files.
        find_pairs: Function that returns the pairs of scans that show one individual.
        exclude: Function that returns the scans to exclude where near-copies are in different splits, with reasons.
        parameters: Function that returns the parameters that are written to `dataset.json`.
        has_masks: Whether the files have masks, which are checked.
    """

    channels: int
    check_header: Callable[[Path, Scan], int]
    check_mask: Callable[[Path, Path, Scan], int]
    memory_factor: int
    make_slices: Callable[[SliceJob], SliceResult]
    slices_per_file: int | None
    find_pairs: PairFinder
    exclude: Callable[[Sequence[Scan], Sequence[NearCopies]], list[tuple[Scan, str]]]
    parameters: Callable[[IngestConfig], Mapping[str, object]]
    has_masks: bool


def _volume_bytes(file: Path, scan: Scan) -> int:
    return read_header(file, scan.spacing_mm).nbytes


def _photograph_bytes(file: Path, scan: Scan) -> int:
    del scan  # a photograph needs no voxel size
    return photograph_memory(file)


def _volume_parameters(config: IngestConfig) -> dict[str, object]:
    return {
        "largest_distance_of_copies": LARGEST_DISTANCE_OF_VOLUMES,
        "planes": config.planes,
        "slices_per_species": config.slices_per_species,
        "smallest_coverage": SMALLEST_COVERAGE,
        "window_percentiles": list(WINDOW_PERCENTILES),
    }


def _mask_bytes(file: Path, mask: Path, scan: Scan) -> int:
    return check_mask_header(file, mask, scan.spacing_mm)


def _refuse_mask(file: Path, mask: Path, scan: Scan) -> int:
    """Refuse the mask of a photograph."""
    del file, mask, scan
    raise BadSourceFileError("a mask of a photograph", "masks of volumes only", "Leave the column mask empty.")


def _photograph_parameters(config: IngestConfig) -> dict[str, object]:
    del config  # its parameters apply to volumes only
    return {"largest_distance_of_copies": LARGEST_DISTANCE_OF_PHOTOGRAPHS}


SOURCE_KINDS: dict[str, SourceKind] = {
    VOLUMES: SourceKind(
        channels=1,
        check_header=_volume_bytes,
        check_mask=_mask_bytes,
        memory_factor=3,
        make_slices=cut_volume,
        slices_per_file=None,
        find_pairs=near_volumes,
        exclude=exclude_none,
        parameters=_volume_parameters,
        has_masks=True,
    ),
    PHOTOGRAPHS: SourceKind(
        channels=3,
        check_header=_photograph_bytes,
        check_mask=_refuse_mask,
        memory_factor=1,
        make_slices=scale_photograph,
        slices_per_file=1,
        find_pairs=near_photographs,
        exclude=exclude_from_training,
        parameters=_photograph_parameters,
        has_masks=False,
    ),
}
