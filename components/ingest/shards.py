"""One shard of a data set: its volumes cut, a part for each, and a line on what came of each."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import ClassVar

from components.ingest.cutting import cut_scans
from components.ingest.plan import IngestPlan, say
from components.ingest.source_kinds import READERS
from components.ingest.volume_slices import CutResult
from components.shared.contracts import Document, Refusal
from components.shared.errors import ContractError
from components.shared.files import atomic_folder

SHARD_FILE, RESULTS_FILE = "shard.json", "results.jsonl"


class ShardInfo(Document):
    """`shard.json`, the sign that a shard is whole.

    Attributes:
        plan: digest of the plan that it was cut by.
        shard: its number.
        scans: how many lines and parts there are.
    """

    SCHEMA: ClassVar[str] = "taxonflow.ingest-shard/1"

    plan: str
    shard: int
    scans: int


def cut_shard(plan: IngestPlan, shard: int, folder: Path) -> None:
    """Cuts the volumes of one shard; bad ones are noted and the rest goes on.

    Args:
        plan: of the whole data set.
        shard: which one.
        folder: becomes the shard's folder, or stays as it was when this fails.

    Raises:
        TaxonflowError: an object store does not answer any more.
    """
    numbers = [number for number, owner in enumerate(plan.shards) if owner == shard]
    quotas = READERS[plan.kind].quotas(plan.scans, plan.config.slices_per_species)
    count = len(plan.numbers())
    name = f"ingest {shard + 1} of {count}" if count > 1 else "ingest"
    with atomic_folder(folder) as unfinished:
        with (unfinished / RESULTS_FILE).open("w", encoding="utf-8") as file:
            for number, result in cut_scans(plan, numbers, quotas, unfinished, name):
                file.write(json.dumps({"number": number, **asdict(result)}) + "\n")
                if result.refused:
                    say(Refusal(path=plan.scans[number].path, reason=result.refused))
        ShardInfo(plan=plan.digest(), shard=shard, scans=len(numbers)).write(unfinished / SHARD_FILE)


def read_results(folder: Path) -> Iterator[tuple[int, CutResult]]:
    """Yields (number of the scan in the plan, what came of it).

    Raises:
        ContractError: lines are damaged or missing.
    """
    wanted, read = ShardInfo.read(folder / SHARD_FILE).scans, 0
    try:
        with (folder / RESULTS_FILE).open(encoding="utf-8") as file:
            for read, line in enumerate(file, start=1):  # noqa: B007 counted to the end
                yield _result_of(line)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise _damaged(folder, read, wanted) from error
    if read != wanted:
        raise _damaged(folder, read, wanted)


def _result_of(line: str) -> tuple[int, CutResult]:
    fields = json.loads(line)
    number, tuples = fields.pop("number"), {key: tuple(fields[key]) for key in ("grey_counts", "size")}
    return number, CutResult(**{**fields, **tuples})


def _damaged(folder: Path, read: int, wanted: int) -> ContractError:
    found = f"{folder / RESULTS_FILE} ends or is damaged at line {read}"
    return ContractError(found, f"{wanted} whole lines", "Cut the shard again.")


def check_shards(plan: IngestPlan, folders: Sequence[Path]) -> None:
    """Checks that the folders are the whole of this plan's shards and of no other's.

    Raises:
        ContractError: a shard is missing, there twice, or was cut by another plan.
    """
    infos, digest = [ShardInfo.read(folder / SHARD_FILE) for folder in folders], plan.digest()
    foreign = [str(folder) for folder, info in zip(folders, infos, strict=True) if info.plan != digest]
    if foreign:
        raise ContractError(f"{foreign[0]} was cut by another plan", remedy="Run all shards of one plan again.")
    if sorted(info.shard for info in infos) != plan.numbers():
        found = ", ".join(str(info.shard) for info in infos)
        raise ContractError(f"the shards {found or 'of none'}", f"each of 0 to {len(plan.numbers()) - 1} once")
