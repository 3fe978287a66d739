"""Creation of the data set of slices: plan, shards, merge, split, and the slices written in one order.

The same files and the same seed give the same bytes, with any number of workers or shards.
"""

import csv
import hashlib
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from components.ingest.config import IngestConfig
from components.ingest.dataset_pages import dataset_page
from components.ingest.folds import Assignment, assign_specimens
from components.ingest.merge import MergeState, merge_shards
from components.ingest.near_copies.groups import (
    check_near_copies,
    join_near_copies,
    joined_groups,
    log_near_copies,
    search_near_copies,
)
from components.ingest.near_copies.treatment import exact_copies, mark_obstacles
from components.ingest.plan import IngestPlan, log_refusal, make_plan
from components.ingest.shards import cut_shard
from components.ingest.slice_files import interleave
from components.ingest.sources.manifest import Scan
from components.ingest.sources.spacing import SPACING_COLUMNS
from components.ingest.split import TEST_SHARE, VALIDATION_SHARE, model_scans
from components.shared.contracts import NearCopies, Refusal, SlicesInfo, SplitCount
from components.shared.errors import BadManifestError
from components.shared.files import atomic_folder
from components.shared.pages import Thumbnails
from components.shared.progress import Progress
from components.shared.slices import Slice, SlicesWriter

SPLIT_FILE, SHARDS_FOLDER = "split.csv", "shards"


@dataclass(frozen=True)
class IngestResult:
    """A finished data set.

    Attributes:
        info: Content of `dataset.json`.
        html: HTML page of the data set.
    """

    info: SlicesInfo
    html: str

    def metrics(self) -> dict[str, int]:
        """Return the counts that the Kubeflow UI shows."""
        return {
            "slices": self.info.slices(),
            "specimens": self.info.specimens(),
            "classes": len(self.info.classes),
            "refused": len(self.info.refused),
            "near_copies": len(self.info.near_copies),
        }


def make_dataset(source: str | Path, folder: Path, config: IngestConfig, shards: int = 1) -> IngestResult:
    """Make a slices folder from source files; bad files are refused by name, and the others are processed.

    Args:
        source: Address of the source, see `components.ingest.sources`.
        folder: Slices folder; it is replaced only if this succeeds.
        config: Parameters of the data set.
        shards: Number of shards; they are cut one after the other.

    Raises:
        BadManifestError: The source does not exist, has too few usable specimens, or its manifest cannot be read.
    """
    plan = make_plan(source, config, shards)
    with atomic_folder(folder) as temporary_folder:
        shard_folders = [temporary_folder / SHARDS_FOLDER / str(shard) for shard in plan.shard_numbers()]
        for shard, shard_folder in enumerate(shard_folders):
            cut_shard(plan, shard, shard_folder)
        return _merge(plan, shard_folders, temporary_folder)


def merge_dataset(plan: IngestPlan, shards: Sequence[Path], folder: Path) -> IngestResult:
    """Make a slices folder from the shards of a plan.

    Besides the files of the slices contract, the folder contains `split.csv`: a manifest with the splits, which a later
    run can use as its source.

    Args:
        plan: Plan of the data set.
        shards: Folders of all its shards.
        folder: Slices folder; it is replaced only if this succeeds.

    Raises:
        BadManifestError: Too few usable specimens remain.
        ContractError: The shards do not belong to this plan.
    """
    with atomic_folder(folder) as temporary_folder:
        return _merge(plan, shards, temporary_folder)


def _merge(plan: IngestPlan, shards: Sequence[Path], folder: Path) -> IngestResult:
    recut_folder = folder / SHARDS_FOLDER / "recut"
    recut_folder.mkdir(parents=True)
    state = merge_shards(plan, shards, recut_folder)
    manifest_scans, near_copies = _join_near_copies(state)
    assignment = assign_specimens(state.scans, plan.config, _contradictory(near_copies))
    splits = [assignment.splits[scan.specimen] for scan in state.scans]
    _write_split(folder / SPLIT_FILE, manifest_scans, splits, near_copies)
    info, thumbnails = _write_slices(state, assignment, near_copies, folder)
    html = dataset_page(plan.kind, info, thumbnails, state.complete_results(), state.sections())
    shutil.rmtree(folder / SHARDS_FOLDER)
    return IngestResult(info, html)


def _contradictory(near_copies: Sequence[NearCopies]) -> set[str]:
    """Return the specimens of near-copies with different species, which have to share a split."""
    return {name for group in joined_groups(near_copies) if len(group.species) > 1 for name in group.specimens}


def _join_near_copies(state: MergeState) -> tuple[list[Scan], tuple[NearCopies, ...]]:
    """Give each individual one name; return the scans with the manifest's names, and the groups of near-copies."""
    near_copies = _find_near_copies(state)
    exclusions = state.plan.source_kind.exclude(state.scans, near_copies)
    for scan, reason in exclusions:
        state.refuse(scan, reason)
        log_refusal(Refusal(path=scan.path, reason=reason))
    if exclusions:
        near_copies = _find_near_copies(state)
    exact = exact_copies(state.scans, state.identical)
    manifest_scans = _treat_rare_species(state, exact)
    is_feasible = partial(_can_split, manifest_scans, state.plan.config)
    near_copies = mark_obstacles(manifest_scans, near_copies, exact, is_feasible)
    log_near_copies(near_copies, state.distance_of_copies)
    state.scans = join_near_copies(manifest_scans, near_copies, state.plan.config.rare_species)
    return manifest_scans, near_copies


def _treat_rare_species(state: MergeState, exact: Sequence[NearCopies]) -> list[Scan]:
    """Treat rare species by their individuals after exact copies; return the scans with the manifest's names."""
    names = [scan.specimen for scan in state.scans]
    state.scans = join_near_copies(state.scans, exact, state.plan.config.rare_species)
    state.treat_rare_species()
    return [replace(scan, specimen=name) for scan, name in zip(state.scans, names, strict=True)]


def _can_split(scans: Sequence[Scan], config: IngestConfig, near_copies: Sequence[NearCopies]) -> bool:
    """Return whether the individuals can be split if some groups of near-copies are joined."""
    try:
        individuals = join_near_copies(scans, near_copies, config.rare_species)
        assign_specimens(individuals, config, _contradictory(near_copies))
    except BadManifestError:
        return False
    return True


def _find_near_copies(state: MergeState) -> tuple[NearCopies, ...]:
    scans = [scan for scan in state.scans if scan.path not in state.alike]
    if not scans:
        return ()
    fingerprints = [state.results[scan.path].fingerprint for scan in scans]
    search = search_near_copies(scans, fingerprints, state.plan.source_kind.find_pairs, state.identical)
    state.distance_of_copies = search.distance
    return search.groups


def _write_slices(
    state: MergeState, assignment: Assignment, near_copies: tuple[NearCopies, ...], folder: Path
) -> tuple[SlicesInfo, Thumbnails]:
    classes = tuple(sorted({scan.species for scan in model_scans(state.scans)}))
    numbers, thumbnails = _scan_numbers(state.scans), Thumbnails()
    scan_of = {state.slice_files[scan.path]: scan for scan in _shuffle(state.scans, state.plan.config.seed)}
    progress = Progress("ingest merge", sum(state.results[scan.path].slices for scan in state.scans), "slices")
    with SlicesWriter(folder, classes) as writer:
        for file, number, row in interleave(scan_of):
            scan = scan_of[file]
            slice_id = f"{scan.specimen}-{numbers[scan.path]:02d}-{number:05d}"
            new_slice = _to_slice(slice_id, scan, assignment, row)
            writer.add(new_slice)
            progress.advance()
            thumbnails.add(new_slice.species, new_slice.split, new_slice.specimen, new_slice.png)
        info = _slices_info(state, classes, writer.counts(), near_copies, assignment.folds)
        writer.finish(info)
    return info, thumbnails


def _slices_info(
    state: MergeState,
    classes: tuple[str, ...],
    counts: tuple[SplitCount, ...],
    near_copies: tuple[NearCopies, ...],
    folds: int,
) -> SlicesInfo:
    plan = state.plan
    return SlicesInfo(
        classes=classes,
        image_size=plan.config.image_size,
        channels=plan.source_kind.channels,
        counts=counts,
        seed=plan.config.seed,
        preprocessing={"ingest": _parameters(state, folds)},
        sources_hash=_sources_hash(state),
        refused=state.refusals(),
        near_copies=near_copies,
        notes=state.notes(),
        passed_over=plan.passed_over,
        rare_species=state.rare_counts(),
        doubtful_masks=state.doubtful_masks(),
        folds=folds,
    )


def _to_slice(slice_id: str, scan: Scan, assignment: Assignment, row: Mapping[str, Any]) -> Slice:
    return Slice(
        id=slice_id,
        species=scan.species,
        specimen=scan.specimen,
        split=assignment.splits[scan.specimen],
        plane=row["plane"],
        foreground_ratio=row["foreground_ratio"],
        spacing_mm=row["spacing_mm"],
        descriptors={},
        png=row["png"],
        fold=assignment.fold_of.get(scan.specimen),
    )


def _scan_numbers(scans: Sequence[Scan]) -> dict[str, int]:
    """Number the scans of each specimen from 1, in the order of the manifest."""
    counts: dict[str, int] = {}
    numbers: dict[str, int] = {}
    for scan in scans:
        numbers[scan.path] = counts[scan.specimen] = counts.get(scan.specimen, 0) + 1
    return numbers


def _shuffle(scans: Sequence[Scan], seed: int) -> Iterator[Scan]:
    """Yield the scans in a pseudo-random order, so that neighbouring slices are of different species."""
    yield from sorted(scans, key=lambda scan: hashlib.sha256(f"order\0{seed}\0{scan.path}".encode()).digest())


def _parameters(state: MergeState, folds: int) -> dict[str, object]:
    plan = state.plan
    parameters = {"kind": plan.kind, **plan.source_kind.parameters(plan.config)}
    if math.isfinite(state.distance_of_copies):
        parameters["largest_distance_of_copies"] = round(state.distance_of_copies, 4)
    return {**parameters, "test_share": 0.0 if folds else TEST_SHARE, "validation_share": VALIDATION_SHARE}


def _sources_hash(state: MergeState) -> str:
    digest = hashlib.sha256()
    for scan in state.scans:
        result = state.results[scan.path]
        mask = f" {result.mask_digest}" if result.mask_digest else ""
        digest.update(f"{result.digest}{mask} {scan.species}/{scan.specimen}\n".encode())
    return digest.hexdigest()


def _write_split(file: Path, scans: Sequence[Scan], splits: Sequence[str], near_copies: Sequence[NearCopies]) -> None:
    """Write the manifest of a later run, with the specimens' names in this run's manifest, after a check for leaks."""
    check_near_copies(scans, near_copies, splits)
    with file.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream, lineterminator="\n")
        masks = ("mask",) if any(scan.mask for scan in scans) else ()
        spacing_columns = SPACING_COLUMNS if any(scan.spacing_mm for scan in scans) else ()
        table.writerow(("path", "species", "specimen", "split", *spacing_columns, *masks))
        for scan, split in zip(scans, splits, strict=True):
            spacing = (scan.spacing_mm or ("", "", "")) if spacing_columns else ()
            table.writerow((scan.path, scan.species, scan.specimen, split, *spacing, *(scan.mask for _ in masks)))
