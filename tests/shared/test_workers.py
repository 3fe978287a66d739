"""How many cores and how much memory a process may take where its container has limits."""

import os
from pathlib import Path

import pytest

from components.shared.workers import cores, free_memory

MIB = 2**20


@pytest.fixture
def container(tmp_path: Path) -> Path:
    """A control group as the kernel shows it: half a core, and 64 MiB of which 60 are used, 50 by pages of files."""
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    (tmp_path / "memory.max").write_text(f"{64 * MIB}\n")
    (tmp_path / "memory.current").write_text(f"{60 * MIB}\n")
    pages = f"anon {10 * MIB}\nfile {50 * MIB}\ninactive_file {30 * MIB}\nactive_file {20 * MIB}\n"
    (tmp_path / "memory.stat").write_text(pages)
    return tmp_path


def test_a_container_has_as_many_cores_as_its_limit_is_worth(container: Path) -> None:
    assert cores(container) == 1
    for limit in ("max 100000", "100000000 100000"):
        (container / "cpu.max").write_text(limit)
        assert cores(container) == len(os.sched_getaffinity(0))


def test_pages_of_files_do_not_count_against_a_containers_memory(container: Path) -> None:
    assert free_memory(container) == 54 * MIB


def test_without_a_limit_the_machine_decides(container: Path, tmp_path: Path) -> None:
    (container / "memory.max").write_text("max\n")
    assert min(free_memory(container), free_memory(tmp_path / "none")) > 64 * MIB
