"""Cores and memory of a process in a container with limits; work in parallel, in order."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from components.shared.workers import bounded_map, cores, free_memory, map_in_order

MIB = 2**20


@pytest.fixture
def container(tmp_path: Path) -> Path:
    """Create a control group: half a core, and 64 MiB of which 60 are in use, 50 of them by the page cache."""
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    (tmp_path / "memory.max").write_text(f"{64 * MIB}\n")
    (tmp_path / "memory.current").write_text(f"{60 * MIB}\n")
    pages = f"anon {10 * MIB}\nfile {50 * MIB}\ninactive_file {30 * MIB}\nactive_file {20 * MIB}\n"
    (tmp_path / "memory.stat").write_text(pages)
    return tmp_path


def test_a_container_has_the_cores_of_its_limit(container: Path) -> None:
    assert cores(container) == 1
    for limit in ("max 100000", "100000000 100000"):
        (container / "cpu.max").write_text(limit)
        assert cores(container) == len(os.sched_getaffinity(0))


def test_the_page_cache_counts_as_free_memory(container: Path) -> None:
    assert free_memory(container) == 54 * MIB


def test_without_a_limit_the_memory_of_the_machine_counts(container: Path, tmp_path: Path) -> None:
    (container / "memory.max").write_text("max\n")
    assert min(free_memory(container), free_memory(tmp_path / "none")) > 64 * MIB


@pytest.mark.parametrize("workers", [1, 2])
def test_results_are_in_the_order_of_the_jobs(workers: int) -> None:
    assert list(map_in_order(abs, range(-9, 0), workers)) == [(job, -job) for job in range(-9, 0)]


def test_jobs_are_consumed_only_as_results_are_yielded() -> None:
    jobs = iter(range(100))
    with ThreadPoolExecutor(2) as pool:
        results = bounded_map(pool, abs, jobs, max_pending=4)
        assert [next(results) for _ in range(10)] == [(job, job) for job in range(10)]
        assert next(jobs) <= 14


def output_of(program: str, **environment: str) -> str:
    """Return the last line that a Python program prints in a process of its own, or the end of its messages."""
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return (result.stdout or result.stderr).strip().splitlines()[-1]


def test_without_affinity_all_cores_of_the_machine_count(tmp_path: Path) -> None:
    program = f"""
import os
from pathlib import Path
from components.shared.workers import cores
del os.sched_getaffinity
print(cores(Path({str(tmp_path)!r})))
"""
    assert output_of(program) == str(os.cpu_count())


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="only root can hide /proc")
def test_without_proc_the_free_memory_of_the_machine_is_measured(tmp_path: Path) -> None:
    shutil.copy("/proc/meminfo", tmp_path)
    program = f"""
import psutil
from pathlib import Path
from components.shared.workers import free_memory
assert not Path("/proc/meminfo").exists()
psutil.PROCFS_PATH = {str(tmp_path)!r}  # the file from which psutil reads on this system
print(free_memory(Path("/nowhere")))
"""
    command = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh", sys.executable, "-c"]
    result = subprocess.run([*command, program], capture_output=True, text=True, check=False)
    kib = next(line.split()[1] for line in (tmp_path / "meminfo").read_text().splitlines() if "MemAvailable" in line)
    assert (result.stdout or result.stderr).strip().splitlines()[-1] == str(int(kib) * 1024)


PARENTS = """
import os, sys
import components.shared.errors, cv2, multiprocessing.connection, concurrent.futures.process
{change}
from components.shared.workers import worker_pool

if __name__ == "__main__":
    with worker_pool(["os"], 2) as pool:
        print(pool.submit(os.getppid).result() == os.getpid())
"""


def test_workers_are_spawned_on_macos() -> None:
    assert output_of(PARENTS.format(change="")) == "False"
    assert output_of(PARENTS.format(change='sys.platform = "darwin"')) == "True"


def test_workers_start_with_a_long_name_of_the_temporary_folder(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    assert output_of(PARENTS.format(change=""), TMPDIR=str(folder)) == "True"
