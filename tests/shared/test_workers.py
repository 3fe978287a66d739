"""Cores and memory of a process in a container with limits; work in parallel, in order."""

import os
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
