"""Merge of the shards of a plan into one set of usable scans with their quotas of slices.

Decisions that need all scans are made here and not in a shard: copies are refused, and the quota of a volume that was
refused in its shard is spread over the other specimens of its species. These are cut again in this step with the same
seeds, so the result does not depend on the assignment of scans to shards.
"""

import base64
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from components.ingest.alike_masks import find_alike_masks
from components.ingest.plan import IngestPlan, assign_quotas, log_refusal
from components.ingest.shards import check_shards, cut_scans, read_results, slice_file
from components.ingest.slice_files import SliceResult
from components.ingest.sources.manifest import Scan
from components.ingest.split import check_specimen_counts, log_rare_species, rare_species, treat_rare_species
from components.shared.contracts import Refusal
from components.shared.contracts.doubtful_mask import DoubtfulMask
from components.shared.contracts.source_notes import Note
from components.shared.progress import log
from components.shared.slices import SPLITS


@dataclass
class MergeState:
    """The usable scans with their results, and the refused ones.

    Attributes:
        plan: Plan of the data set.
        shards: Folders of the shards.
        scans: Usable scans, in the order of the manifest.
        quotas: Quota with which each scan was cut, by path.
        reasons: Reason for each refused scan of the plan, by number.
        results: Result of each scan without its histogram, by path.
        slice_files: Slice file of each scan, by path.
        identical: Pairs of specimens that share a file, so that they are one individual.
        rare_species: Species that are treated as rare.
        doubts: Reasons why the mask of a scan is doubtful, by path.
        alike: Paths of the scans whose masks do not show individuals, since they are alike in several species.
        distance_of_copies: Distance below which two scans are near-copies, as in `CopySearch`.
    """

    plan: IngestPlan
    shards: Sequence[Path]
    scans: list[Scan]
    quotas: dict[str, int]
    reasons: dict[int, str] = field(default_factory=dict)
    results: dict[str, SliceResult] = field(default_factory=dict)
    slice_files: dict[str, Path] = field(default_factory=dict)
    identical: list[tuple[str, str]] = field(default_factory=list)
    rare_species: set[str] = field(default_factory=set)
    doubts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    alike: frozenset[str] = frozenset()
    distance_of_copies: float = math.inf

    def record(self, number: int, result: SliceResult, file: Path) -> None:
        """Record the result and slice file of a scan; its histogram and section stay on disk."""
        scan = self.plan.scans[number]
        self.results[scan.path] = replace(result, grey_counts=(), section="")
        self.slice_files[scan.path] = file
        if result.refusal:
            self.refuse(scan, result.refusal)

    def treat_rare_species(self) -> None:
        """Apply the rule for rare species to those that have become rare since the plan, and log these."""
        rule = self.plan.config.rare_species
        new_rare = {name: count for name, count in rare_species(self.scans).items() if name not in self.rare_species}
        log_rare_species(new_rare, rule)
        self.scans = treat_rare_species(self.scans, rule)
        self.rare_species.update(new_rare)

    def rare_counts(self) -> dict[str, int]:
        """Return the number of usable specimens of each rare species."""
        pairs = {(scan.species, scan.specimen) for scan in self.scans if scan.species in self.rare_species}
        return dict(sorted(Counter(species for species, _ in pairs).items()))

    def refuse(self, scan: Scan, reason: str) -> None:
        """Remove a scan from the usable ones."""
        self.scans = [other for other in self.scans if other.path != scan.path]
        self.reasons[self.numbers[scan.path]] = reason

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Number of each scan in the plan, by path."""
        return {scan.path: number for number, scan in enumerate(self.plan.scans)}

    def refusals(self) -> tuple[Refusal, ...]:
        """Return all refused files: those of the plan, then the others in the order of the manifest."""
        later = (
            Refusal(path=self.plan.scans[number].path, reason=self.reasons[number]) for number in sorted(self.reasons)
        )
        return (*self.plan.refusals, *later)

    def notes(self) -> tuple[Note, ...]:
        """Return the notes about the usable files, in the order of the manifest."""
        return tuple(Note(path=scan.path, text=text) for scan in self.scans for text in self.results[scan.path].notes)

    def doubtful_masks(self) -> tuple[DoubtfulMask, ...]:
        """Return the doubtful masks in the order of the manifest."""
        paths = [scan.path for scan in self.plan.scans if scan.path in self.doubts]
        return tuple(DoubtfulMask(path=path, reasons=self.doubts[path]) for path in paths)

    def sections(self) -> dict[str, bytes]:
        """Return the pictures of the doubtful masks as PNG, by path."""
        results = (item for folder in self.shards for item in read_results(folder))
        by_path = ((self.plan.scans[number].path, result.section) for number, result in results)
        return {path: base64.b64decode(section) for path, section in by_path if path in self.doubts and section}

    def complete_results(self) -> Iterator[tuple[Scan, SliceResult]]:
        """Yield the usable scans with their results in the shards, histograms included."""
        for folder in self.shards:
            for number, result in read_results(folder):
                if number not in self.reasons:
                    yield self.plan.scans[number], result


def merge_shards(plan: IngestPlan, shards: Sequence[Path], folder: Path) -> MergeState:
    """Merge the shards, refuse copies, and cut volumes again if their quota has grown.

    Args:
        plan: Plan of the data set.
        shards: Folders of all its shards, in any order.
        folder: Empty folder for volumes that are cut again.

    Raises:
        BadManifestError: Too few specimens of a species remain.
        ContractError: The shards do not belong to this plan.
    """
    check_shards(plan, shards)
    quotas = {scan.path: quota for scan, quota in zip(plan.scans, plan.quotas, strict=True)}
    state = MergeState(plan, shards, list(plan.scans), quotas, rare_species=set(plan.rare_species))
    for shard in shards:
        for number, result in read_results(shard):
            state.record(number, result, slice_file(shard, number))
    _refuse_copies(state)
    _check_masks(state)
    while True:
        state.treat_rare_species()
        check_specimen_counts(state.scans, plan.config.rare_species)
        grown_quotas = _grown_quotas(state)
        if not grown_quotas:
            return state
        for number, result in cut_scans(plan, grown_quotas, folder, "ingest again"):
            state.record(number, result, slice_file(folder, number))
        _refuse_copies(state)


def _check_masks(state: MergeState) -> None:
    """Record the doubts on the masks of the usable scans; log them, or refuse the scans if the configuration says so.

    Copies are refused before, since their masks are alike.
    """
    kind, scans = state.plan.source_kind, state.scans
    compared_scans = [scan for scan in scans if kind.has_masks and state.results[scan.path].fingerprint]
    fingerprints = [state.results[scan.path].fingerprint for scan in compared_scans]
    alike = find_alike_masks(compared_scans, kind.find_pairs(fingerprints) if fingerprints else ())
    state.alike = frozenset(path for path, masks in alike.items() if masks.several_species)
    for scan in scans:
        likeness = (alike[scan.path].describe(compared_scans),) if scan.path in alike else ()
        reasons = (*state.results[scan.path].doubts, *likeness)
        if not reasons:
            continue
        state.doubts[scan.path] = reasons
        if state.plan.config.doubtful_masks == "refuse":
            reason = f"a doubtful mask: {'; '.join(reasons)}"
            state.refuse(scan, reason)
            log_refusal(Refusal(path=scan.path, reason=reason))
        else:
            log("ingest", f"doubtful mask of {scan.path}: {'; '.join(reasons)}")


def _grown_quotas(state: MergeState) -> dict[int, int]:
    """Update the quotas to the usable scans, and return those that differ from the last cut, by scan number."""
    plan = state.plan
    quotas = assign_quotas(plan.source_kind, state.scans, plan.config.slices_per_species)
    changes = {state.numbers[path]: quota for path, quota in quotas.items() if state.quotas[path] != quota}
    state.quotas.update(quotas)
    return dict(sorted(changes.items()))


def _refuse_copies(state: MergeState) -> None:
    """Refuse files with the same bytes as another; if the copies have different species, refuse all of them.

    A file that the manifest puts into the test split is kept in preference to one in validation or training.
    """
    scans_by_digest: defaultdict[str, list[Scan]] = defaultdict(list)
    for scan in state.scans:
        scans_by_digest[state.results[scan.path].digest].append(scan)
    for copies in scans_by_digest.values():
        original = max(copies, key=lambda scan: SPLITS.index(scan.split) if scan.split in SPLITS else -1)
        contradictory = len({scan.species for scan in copies}) > 1
        for scan in copies:
            if scan is not original:
                state.identical.append((original.specimen, scan.specimen))
            elif not contradictory:
                continue
            other = original if scan is not original else next(copy for copy in copies if copy is not scan)
            reason = f"the same file as {other.path}"
            reason = f"{reason}, which is of another species" if contradictory else reason
            state.refuse(scan, reason)
            log_refusal(Refusal(path=scan.path, reason=reason))
