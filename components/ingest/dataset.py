"""The data set of slices: volumes are planned, cut in shards, merged, split, and written in one order.

The same volumes and the same seed give the same bytes, whatever the number of workers or shards.
"""

import csv
import hashlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.ingest.config import IngestConfig
from components.ingest.merge import Cutting, merge_shards
from components.ingest.near_copies.groups import as_individuals, check_near_copies, find_near_copies, tell
from components.ingest.plan import IngestPlan, make_plan, say
from components.ingest.shards import cut_shard
from components.ingest.slice_files import in_turns
from components.ingest.source_kinds import READERS, Reader
from components.ingest.sources.manifest import Scan
from components.ingest.split import TEST_SHARE, VALIDATION_SHARE, assign_splits, scans_of_the_model
from components.shared.contracts import NearCopies, Refusal, SlicesInfo, SplitCount
from components.shared.files import atomic_folder
from components.shared.pages import Thumbnails
from components.shared.progress import Progress
from components.shared.slices import Slice, SlicesWriter

SPLIT_FILE, PARTS_FOLDER = "split.csv", "parts"


@dataclass(frozen=True)
class IngestResult:
    """A finished data set: its `dataset.json` and a page to look at."""

    info: SlicesInfo
    html: str

    def metrics(self) -> dict[str, int]:
        """Returns the counts that the Kubeflow UI shows."""
        return {
            "slices": self.info.slices(),
            "specimens": self.info.specimens(),
            "classes": len(self.info.classes),
            "refused": len(self.info.refused),
            "near_copies": len(self.info.near_copies),
        }


def make_dataset(source: str | Path, folder: Path, config: IngestConfig, shards: int = 1) -> IngestResult:
    """Makes a folder of slices from volumes; bad volumes are refused by name and the rest goes on.

    Args:
        source: a folder of volumes or a manifest, see `components.ingest.sources.opening`.
        folder: becomes the slices folder, or stays as it was when this fails.
        config: everything else.
        shards: how many parts of the work there are; here they are done one after the other.

    Raises:
        BadManifestError: no such source, too few usable specimens, or a manifest that is no manifest.
    """
    plan = make_plan(source, config, shards)
    with atomic_folder(folder) as unfinished:
        parts = unfinished / PARTS_FOLDER
        cut = [parts / str(shard) for shard in plan.numbers()]
        for shard, target in enumerate(cut):
            cut_shard(plan, shard, target)
        return _merge(plan, cut, unfinished)


def merge_dataset(plan: IngestPlan, shards: Sequence[Path], folder: Path) -> IngestResult:
    """Makes a folder of slices from the shards of a plan.

    Beside the slices contract, the folder holds `split.csv`: a manifest with the splits that a later run can take.

    Args:
        plan: of the data set.
        shards: folders of all its shards.
        folder: becomes the slices folder, or stays as it was when this fails.

    Raises:
        BadManifestError: too few usable specimens.
        ContractError: the shards are not this plan's.
    """
    with atomic_folder(folder) as unfinished:
        return _merge(plan, shards, unfinished)


def _merge(plan: IngestPlan, shards: Sequence[Path], folder: Path) -> IngestResult:
    again = folder / PARTS_FOLDER / "again"
    again.mkdir(parents=True)
    cutting = merge_shards(plan, shards, again)
    reader = READERS[plan.kind]
    named, near_copies = _join_near_copies(cutting, reader)
    splits = assign_splits(cutting.scans, plan.config.seed)
    _write_split(folder / SPLIT_FILE, named, [splits[scan.specimen] for scan in cutting.scans], near_copies)
    info, thumbnails = _write_slices(cutting, splits, near_copies, folder)
    page = reader.page(info, thumbnails, cutting.outcomes())
    shutil.rmtree(folder / PARTS_FOLDER)
    return IngestResult(info, page)


def _join_near_copies(cutting: Cutting, reader: Reader) -> tuple[list[Scan], tuple[NearCopies, ...]]:
    """Gives each individual one name and returns the scans under their own names, and what was joined."""
    near_copies = _near_copies(cutting, reader)
    left_out = reader.left_out(cutting.scans, near_copies)
    for scan, reason in left_out:
        cutting.refuse(scan, reason)
        say(Refusal(path=scan.path, reason=reason))
    if left_out:
        near_copies = _near_copies(cutting, reader)
    tell(near_copies)
    named = cutting.scans
    cutting.scans = as_individuals(named, near_copies)
    return named, near_copies


def _near_copies(cutting: Cutting, reader: Reader) -> tuple[NearCopies, ...]:
    fingerprints = [cutting.results[scan.path].fingerprint for scan in cutting.scans]
    return find_near_copies(cutting.scans, fingerprints, reader.near, cutting.same)


def _write_slices(
    cutting: Cutting, splits: Mapping[str, str], near_copies: tuple[NearCopies, ...], folder: Path
) -> tuple[SlicesInfo, Thumbnails]:
    classes = tuple(sorted({scan.species for scan in scans_of_the_model(cutting.scans)}))
    numbers, thumbnails = _scan_numbers(cutting.scans), Thumbnails()
    by_part = {cutting.part_of[scan.path]: scan for scan in _shuffled(cutting.scans, cutting.plan.config.seed)}
    progress = Progress("ingest merge", sum(cutting.results[scan.path].slices for scan in cutting.scans), "slices")
    with SlicesWriter(folder, classes) as writer:
        for part, number, row in in_turns(by_part):
            scan = by_part[part]
            id_ = f"{scan.specimen}-{numbers[scan.path]:02d}-{number:05d}"
            item = _to_slice(id_, scan, splits[scan.specimen], row)
            writer.add(item)
            progress.advance()
            thumbnails.add(item.species, item.split, item.specimen, item.png)
        info = _description(cutting, classes, writer.counts(), near_copies)
        writer.finish(info)
    return info, thumbnails


def _description(
    cutting: Cutting, classes: tuple[str, ...], counts: tuple[SplitCount, ...], near_copies: tuple[NearCopies, ...]
) -> SlicesInfo:
    plan = cutting.plan
    return SlicesInfo(
        classes=classes,
        image_size=plan.config.image_size,
        channels=READERS[plan.kind].channels,
        counts=counts,
        seed=plan.config.seed,
        preprocessing={"ingest": _parameters(plan)},
        sources_hash=_sources_hash(cutting),
        refused=cutting.refusals(),
        near_copies=near_copies,
    )


def _to_slice(id_: str, scan: Scan, split: str, row: Mapping[str, Any]) -> Slice:
    return Slice(
        id=id_,
        species=scan.species,
        specimen=scan.specimen,
        split=split,
        plane=row["plane"],
        foreground_ratio=row["foreground_ratio"],
        spacing_mm=row["spacing_mm"],
        descriptors={},
        png=row["png"],
    )


def _scan_numbers(scans: Sequence[Scan]) -> dict[str, int]:
    """Numbers the scans of each specimen from 1 in the manifest's order."""
    seen: dict[str, int] = {}
    numbers: dict[str, int] = {}
    for scan in scans:
        numbers[scan.path] = seen[scan.specimen] = seen.get(scan.specimen, 0) + 1
    return numbers


def _shuffled(scans: Sequence[Scan], seed: int) -> Iterator[Scan]:
    """Yields scans in an order without meaning, so that neighbouring slices are of different species."""
    yield from sorted(scans, key=lambda scan: hashlib.sha256(f"order\0{seed}\0{scan.path}".encode()).digest())


def _parameters(plan: IngestPlan) -> dict[str, object]:
    own = READERS[plan.kind].parameters(plan.config)
    return {"kind": plan.kind, **own, "test_share": TEST_SHARE, "validation_share": VALIDATION_SHARE}


def _sources_hash(cutting: Cutting) -> str:
    digest = hashlib.sha256()
    for scan in cutting.scans:
        digest.update(f"{cutting.results[scan.path].digest} {scan.species}/{scan.specimen}\n".encode())
    return digest.hexdigest()


def _write_split(file: Path, scans: Sequence[Scan], splits: Sequence[str], near_copies: Sequence[NearCopies]) -> None:
    """Writes the manifest of a later run, under the names of this run's manifest, after a last check for leaks."""
    check_near_copies(scans, near_copies, splits)
    with file.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(("path", "species", "specimen", "split"))
        table.writerows(
            (scan.path, scan.species, scan.specimen, split) for scan, split in zip(scans, splits, strict=True)
        )
