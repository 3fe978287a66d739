"""Shards, workers and killed runs give the same bytes."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pytest
from kfp import dsl, local

from components.ingest.component import ingest, ingest_cut, ingest_plan
from components.ingest.config import IngestConfig
from components.ingest.dataset import make_dataset, merge_dataset
from components.ingest.dataset_pages import grey_counts
from components.ingest.merge import merge_shards
from components.ingest.plan import IngestPlan, make_plan, read_plan, spread_quotas, write_plan
from components.ingest.shards import RESULTS_FILE, SHARD_FILE, ShardInfo, cut_shard
from components.ingest.slice_files import SliceResult
from components.ingest.sources.manifest import Scan
from components.shared.errors import BadConfigError, ContractError
from components.shared.slices import read_index, read_info

CONFIG = IngestConfig(image_size=32, slices_per_species=30, planes="random", seed=7, workers=1)


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def spoil(folder: Path) -> None:
    """Add files that a shard or the merge refuses: a truncated volume, and copies in the same and another species."""
    first, second = (sorted((folder / "volumes" / species).iterdir()) for species in ("Orbitoides", "Lockhartia"))
    (folder / "cut.nii.gz").write_bytes(first[0].read_bytes()[:-2000])
    shutil.copy(first[1], folder / "copy.nii.gz")
    shutil.copy(second[2], folder / "twin.nii.gz")
    with (folder / "manifest.csv").open("a", encoding="utf-8") as file:
        file.write("cut.nii.gz,Orbitoides,cut\ncopy.nii.gz,Orbitoides,copy\ntwin.nii.gz,Orbitoides,twin\n")


@pytest.fixture(scope="module")
def spoilt(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(shutil.copytree(phantoms, tmp_path_factory.mktemp("spoilt") / "volumes"))
    spoil(folder)
    return folder


@pytest.fixture(scope="module")
def whole(spoilt: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the data set with one shard and one worker."""
    folder = tmp_path_factory.mktemp("whole") / "slices"
    make_dataset(spoilt, folder, CONFIG)
    return folder


def test_quotas_of_refused_volumes_go_to_others_of_their_species(whole: Path) -> None:
    assert [refusal.path for refusal in read_info(whole).refused] == [
        "volumes/Lockhartia/lockhartia-002.nii.gz",
        "cut.nii.gz",
        "copy.nii.gz",
        "twin.nii.gz",
    ]
    slices = read_index(whole).groupby(["species", "specimen"]).size()
    assert set(slices["Orbitoides"]) == {6}
    assert sorted(slices["Lockhartia"]) == [7, 7, 8, 8]


@pytest.mark.parametrize(("shards", "workers"), [(3, 1), (1, 4), (99, 2)])
def test_neither_shards_nor_workers_change_a_byte(
    shards: int, workers: int, spoilt: Path, whole: Path, tmp_path: Path
) -> None:
    make_dataset(spoilt, tmp_path / "slices", CONFIG.model_copy(update={"workers": workers}), shards)
    assert content(tmp_path / "slices") == content(whole)


@dsl.pipeline
def slices_alone(volumes: str, shards: int) -> None:
    plan = ingest_plan(volumes=volumes, image_size=32, slices_per_species=30, planes="random", seed=7, shards=shards)
    with dsl.ParallelFor(plan.outputs["Output"]) as shard:
        cut = ingest_cut(plan=plan.outputs["plan"], shard=shard)
    ingest(plan=plan.outputs["plan"], slice_files=dsl.Collected(cut.outputs["slice_files"]))


def test_three_shards_of_a_pipeline_give_the_bytes_of_one(spoilt: Path, whole: Path, tmp_path: Path) -> None:
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "pipeline"))
    slices_alone(volumes=str(spoilt), shards=3)
    (folder,) = (tmp_path / "pipeline").glob("*/ingest/slices")
    assert content(folder) == content(whole)
    assert len(list((tmp_path / "pipeline").glob("*/**/ingest-cut/slice_files"))) == 3


def test_specimens_are_assigned_to_shards_whole_and_evenly(own_phantoms: Path) -> None:
    for species in ("Elphidiella", "Lockhartia", "Orbitoides"):
        one, two = sorted((own_phantoms / "volumes" / species).iterdir())[:2]
        two.rename(one.with_name(one.name.replace(".nii.gz", "_scan2.nii.gz")))
    (own_phantoms / "manifest.csv").unlink()
    plan = make_plan(own_phantoms / "volumes", CONFIG, shards=4)
    shards_of = {(scan.specimen, shard) for scan, shard in zip(plan.scans, plan.shards, strict=True)}
    assert len(shards_of) == len({scan.specimen for scan in plan.scans}) == 12
    assert Counter(shard for _, shard in shards_of) == {0: 3, 1: 3, 2: 3, 3: 3}
    assert plan.shard_numbers() == [0, 1, 2, 3]


def test_a_plan_is_read_as_it_was_written(phantoms: Path, tmp_path: Path) -> None:
    plan = make_plan(phantoms, CONFIG, shards=2)
    write_plan(tmp_path, plan)
    assert read_plan(tmp_path) == plan
    assert read_plan(tmp_path).digest() == plan.digest() != make_plan(phantoms, CONFIG, shards=3).digest()


@pytest.mark.parametrize("shards", [0, -1, 10**6])
def test_an_impossible_number_of_shards_is_bad_configuration(shards: int, phantoms: Path) -> None:
    with pytest.raises(BadConfigError, match=f"shards = {shards}"):
        make_plan(phantoms, CONFIG, shards)


def test_incomplete_shards_or_shards_of_another_plan_are_refused(phantoms: Path, tmp_path: Path) -> None:
    plan = make_plan(phantoms, CONFIG, shards=2)
    for shard in (0, 1):
        cut_shard(plan, shard, tmp_path / str(shard))
    cut_shard(make_plan(phantoms, CONFIG.model_copy(update={"seed": 8}), shards=2), 1, tmp_path / "other-plan")
    shutil.copytree(tmp_path / "0", tmp_path / "incomplete")
    (tmp_path / "incomplete" / SHARD_FILE).unlink()
    for names, text in (
        (("0",), "each of 0 to 1 once"),
        (("0", "0"), "each of 0 to 1 once"),
        (("0", "other-plan"), "another plan"),
        (("incomplete", "1"), "does not exist"),
    ):
        with pytest.raises(ContractError, match=text):
            merge_dataset(plan, [tmp_path / name for name in names], tmp_path / "slices")
    assert not list(tmp_path.glob("*slices*"))


def fake_shard(folder: Path, scans: int) -> IngestPlan:
    """Write the shard of a plan whose volumes do not exist, and return the plan."""
    named_scans = [
        Scan(f"volumes/{n}.nii.gz", Path(f"/{n}.nii.gz"), f"species {n % 3}", f"{n}", "", 9) for n in range(scans)
    ]
    config = CONFIG.model_copy(update={"slices_per_species": scans})
    quotas = spread_quotas(named_scans, scans)
    plan = IngestPlan(
        source="/",
        config=config,
        scans=named_scans,
        shards=(0,) * scans,
        quotas=tuple(quotas[scan.path] for scan in named_scans),
        refusals=(),
        max_bytes=9,
    )
    folder.mkdir()
    with (folder / RESULTS_FILE).open("w") as file:
        for number in range(scans):
            result = SliceResult(1, f"{number:064x}", (10**6 + number,) * 256)
            file.write(json.dumps({"number": number, **asdict(result)}) + "\n")
    ShardInfo(plan=plan.digest(), shard=0, scans=scans).write(folder / SHARD_FILE)
    return plan


def test_a_shard_with_incomplete_results_is_refused(tmp_path: Path) -> None:
    plan = fake_shard(tmp_path / "shard", 6)
    file = tmp_path / "shard" / RESULTS_FILE
    complete = file.read_bytes()
    first_lines = b"".join(complete.splitlines(keepends=True)[:5])
    for damage in (complete[:-20], first_lines, b"[]\n" * 6, b"5\n" * 6, None):
        file.unlink() if damage is None else file.write_bytes(damage)
        with pytest.raises(ContractError, match=r"results.jsonl is truncated or damaged at line \d: expected 6"):
            merge_shards(plan, [tmp_path / "shard"], tmp_path / "again")


def test_the_merge_does_not_hold_the_histograms_in_memory(tmp_path: Path) -> None:
    plan = fake_shard(tmp_path / "shard", 2000)
    (tmp_path / "again").mkdir()
    tracemalloc.start()
    state = merge_shards(plan, [tmp_path / "shard"], tmp_path / "again")
    counts = grey_counts(state.complete_results())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(int(count.sum()) for count in counts.values()) == 256 * sum(10**6 + n for n in range(2000))
    assert peak / 2000 < 3000, "bytes for each volume; a histogram alone would take 10,000"


CUT = """
import sys
from pathlib import Path
from components.ingest.plan import read_plan
from components.ingest.shards import cut_shard
cut_shard(read_plan(Path(sys.argv[1])), int(sys.argv[2]), Path(sys.argv[3]))
"""
MERGE = """
import sys
from pathlib import Path
from components.ingest.plan import read_plan
from components.ingest.dataset import merge_dataset
merge_dataset(read_plan(Path(sys.argv[1])), [Path(folder) for folder in sys.argv[3:]], Path(sys.argv[2]))
"""


def start(code: str, *arguments: object) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment, start_new_session=True)


def kill_when_started(process: subprocess.Popen[bytes], first_file: Path, wait: float) -> None:
    """Kill a process, but not its workers, some time after it has started to write."""
    while process.poll() is None and not first_file.exists():
        time.sleep(0.002)
    time.sleep(wait)
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_killed_shard_can_be_run_again(spoilt: Path, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"slices_per_species": 600, "workers": 2})
    write_plan(tmp_path, make_plan(spoilt, config))
    cut_shard(read_plan(tmp_path), 0, tmp_path / "expected")
    for moment in (0.0, 0.4):
        kill_when_started(start(CUT, tmp_path, 0, tmp_path / "shard"), tmp_path / ".shard.unfinished", moment)
        assert not (tmp_path / "shard").exists()
    assert start(CUT, tmp_path, 0, tmp_path / "shard").wait() == 0
    assert content(tmp_path / "shard") == content(tmp_path / "expected")
    assert not (tmp_path / ".shard.unfinished").exists()


@pytest.mark.slow
def test_steps_killed_at_random_and_run_again_give_the_same_bytes(spoilt: Path, whole: Path, tmp_path: Path) -> None:
    moments = random.Random(1)
    write_plan(tmp_path, make_plan(spoilt, CONFIG.model_copy(update={"workers": 2}), 3))
    folders = [tmp_path / f"shard-{shard}" for shard in range(3)]
    for shard, folder in enumerate(folders):
        for _ in range(2):
            kill_when_started(
                start(CUT, tmp_path, shard, folder),
                folder.with_name(f".{folder.name}.unfinished"),
                moments.random() / 3,
            )
        assert start(CUT, tmp_path, shard, folder).wait() == 0
    for _ in range(4):
        merge = start(MERGE, tmp_path, tmp_path / "slices", *folders)
        kill_when_started(merge, tmp_path / ".slices.unfinished", 2 * moments.random())
    assert start(MERGE, tmp_path, tmp_path / "slices", *folders).wait() == 0
    assert content(tmp_path / "slices") == content(whole)


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    """Start a parent that is killed once its workers have written their process ids."""
    (tmp_path / "orphans.py").write_text(
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from components.shared.workers import map_in_order\n"
        "def work(folder):\n"
        "    (Path(folder) / f'pid-{os.getpid()}').touch()\n"
        "    time.sleep(60)\n"
        "if __name__ == '__main__':\n"
        "    import orphans\n"
        "    list(map_in_order(orphans.work, [sys.argv[1]] * 4, 2))\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}"}
    parent = subprocess.Popen([sys.executable, str(tmp_path / "orphans.py"), str(tmp_path)], env=environment)
    while parent.poll() is None and len(list(tmp_path.glob("pid-*"))) < 2:
        time.sleep(0.02)
    workers = [int(file.name.removeprefix("pid-")) for file in tmp_path.glob("pid-*")]
    assert len(workers) == 2
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [pid for pid in workers if Path(f"/proc/{pid}").exists()] == []


def test_a_worker_killed_by_the_system_is_reported_in_one_line(tmp_path: Path) -> None:
    """Send SIGBUS to a worker: the kernel does so if a mapped file shrinks."""
    (tmp_path / "shrinking.py").write_text(
        "import os, signal\n"
        "from components.shared.errors import exit_on_error\n"
        "from components.shared.workers import map_in_order\n"
        "def work(_job):\n"
        "    os.kill(os.getpid(), signal.SIGBUS)\n"
        "if __name__ == '__main__':\n"
        "    import shrinking\n"
        "    with exit_on_error('ingest'):\n"
        "        list(map_in_order(shrinking.work, range(2), 2))\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}"}
    command = [sys.executable, str(tmp_path / "shrinking.py")]
    process = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert process.returncode == 1
    assert process.stdout.startswith(
        "[ingest] failed: the system ended a worker process, for lack of memory or because a"
    )
    assert process.stderr == ""


def test_workers_start_with_the_compiled_functions_in_memory() -> None:
    script = (
        "from components.shared.workers import worker_pool\n"
        "with worker_pool(['components.ingest.volume_slices', 'components.ingest.preload'], 1) as pool:\n"
        "    print(*pool.submit(eval, \"sorted(__import__('sys').modules)\").result())\n"
    )  # a process of its own: what its workers are forked from is begun once for all pools
    command = [sys.executable, "-c", script]
    modules = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True).stdout
    assert "components.ingest.preload" in modules.split()
    assert "tensorflow" not in modules.split()
