"""The shards of a plan become one set of usable scans that meet their quotas.

What needs all volumes is decided here and not in a shard: copies are refused, and the share of a volume that was
refused while it was cut goes to the other specimens of its species. Those are cut again in this step, from the same
seeds, so the result does not depend on how the volumes were spread over shards.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from components.ingest.cutting import cut_scans, part_file
from components.ingest.plan import IngestPlan, say
from components.ingest.shards import check_shards, read_results
from components.ingest.source_kinds import READERS
from components.ingest.sources.manifest import Scan
from components.ingest.split import check_enough
from components.ingest.volume_slices import CutResult
from components.shared.contracts import Refusal
from components.shared.slices import SPLITS


@dataclass
class Cutting:
    """The usable scans, what came of each, and the others.

    Attributes:
        plan: names all scans.
        shards: folders of the cut shards.
        scans: usable, in the manifest's order.
        quotas: slices wanted of each scan when it was cut, by path.
        refused: why scans of the plan were left out, by number.
        results: what came of each scan, by path, without its histogram.
        part_of: the file of each scan's slices, by path.
        same: specimens two by two of which the same file was given, so that they are one individual.
    """

    plan: IngestPlan
    shards: Sequence[Path]
    scans: list[Scan]
    quotas: dict[str, int]
    refused: dict[int, str] = field(default_factory=dict)
    results: dict[str, CutResult] = field(default_factory=dict)
    part_of: dict[str, Path] = field(default_factory=dict)
    same: list[tuple[str, str]] = field(default_factory=list)

    def take(self, number: int, result: CutResult, part: Path) -> None:
        """Notes what came of a scan; its histogram stays on disk."""
        scan = self.plan.scans[number]
        self.results[scan.path] = replace(result, grey_counts=())
        self.part_of[scan.path] = part
        if result.refused:
            self.refuse(scan, result.refused)

    def refuse(self, scan: Scan, reason: str) -> None:
        """Takes a scan out."""
        self.scans = [other for other in self.scans if other.path != scan.path]
        self.refused[self.numbers[scan.path]] = reason

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The scans' numbers in the plan, by path."""
        return {scan.path: number for number, scan in enumerate(self.plan.scans)}

    def refusals(self) -> tuple[Refusal, ...]:
        """Returns all files left out: those of the plan, then the others in the manifest's order."""
        later = (
            Refusal(path=self.plan.scans[number].path, reason=self.refused[number]) for number in sorted(self.refused)
        )
        return (*self.plan.refused, *later)

    def outcomes(self) -> Iterator[tuple[Scan, CutResult]]:
        """Yields the usable scans and what came of each as the shards noted it, with its histogram."""
        for folder in self.shards:
            for number, result in read_results(folder):
                if number not in self.refused:
                    yield self.plan.scans[number], result


def merge_shards(plan: IngestPlan, shards: Sequence[Path], folder: Path) -> Cutting:
    """Brings the shards together, refuses copies, and cuts again where the quota of a volume has grown.

    Args:
        plan: of the data set.
        shards: folders of all its shards, in any order.
        folder: an empty folder for what is cut again.

    Raises:
        BadManifestError: a species is left with too few specimens.
        ContractError: the shards are not this plan's.
    """
    check_shards(plan, shards)
    quotas = READERS[plan.kind].quotas
    cutting = Cutting(plan, shards, list(plan.scans), quotas(plan.scans, plan.config.slices_per_species))
    for shard in shards:
        for number, result in read_results(shard):
            cutting.take(number, result, part_file(shard, number))
    while True:
        _refuse_copies(cutting)
        check_enough(cutting.scans)
        wanted = quotas(cutting.scans, plan.config.slices_per_species)
        stale = [cutting.numbers[path] for path, quota in wanted.items() if cutting.quotas[path] != quota]
        if not stale:
            return cutting
        cutting.quotas.update(wanted)
        for number, result in cut_scans(plan, sorted(stale), wanted, folder, "ingest again"):
            cutting.take(number, result, part_file(folder, number))
            if result.refused:
                say(Refusal(path=plan.scans[number].path, reason=result.refused))


def _refuse_copies(cutting: Cutting) -> None:
    """Refuses volumes with the same bytes as another; where the copies name different species, all of them.

    What was given for the test stays before what was given for validation or training.
    """
    copies: defaultdict[str, list[Scan]] = defaultdict(list)
    for scan in cutting.scans:
        copies[cutting.results[scan.path].digest].append(scan)
    for twins in copies.values():
        kept = max(twins, key=lambda scan: SPLITS.index(scan.split) if scan.split in SPLITS else -1)
        contradictory = len({scan.species for scan in twins}) > 1
        for scan in twins:
            if scan is not kept:
                cutting.same.append((kept.specimen, scan.specimen))
            elif not contradictory:
                continue
            other = kept if scan is not kept else next(twin for twin in twins if twin is not scan)
            reason = f"the same file as {other.path}"
            reason = f"{reason}, which is of another species" if contradictory else reason
            cutting.refuse(scan, reason)
            say(Refusal(path=scan.path, reason=reason))
