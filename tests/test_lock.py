"""The lock: one for Python 3.11 to 3.13 on Linux x86_64 and on macOS with Apple silicon."""

import re
import subprocess
import tomllib
from pathlib import Path

from packaging.markers import Marker
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]
PLATFORMS = [("linux", "x86_64"), ("darwin", "arm64")]
VERSIONS = ["3.11", "3.12", "3.13"]
ENVIRONMENTS = [
    {
        "python_version": version,
        "python_full_version": f"{version}.1",
        "sys_platform": system,
        "platform_machine": machine,
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
    }
    for version in VERSIONS
    for system, machine in PLATFORMS
]


def requirements() -> dict[str, list[str]]:
    """Return the entries of the lock, without line continuations, by the name of their package."""
    entries: dict[str, list[str]] = {}
    for entry in re.split(r"\n(?=\S)", (ROOT / "requirements.lock").read_text()):
        entries.setdefault(entry.split("==")[0], []).append(entry.replace("\\\n", "").strip())
    return entries


def marker(entry: str) -> str:
    return entry.split("--hash")[0].partition(";")[2].strip()


def project() -> dict[str, dict[str, str]]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_project_allows_the_locked_versions_of_python() -> None:
    versions = SpecifierSet(project()["project"]["requires-python"])
    assert [minor for minor in range(9, 16) if f"3.{minor}.2" in versions] == [11, 12, 13]


def test_the_lock_is_resolved_for_all_of_its_environments() -> None:
    markers = [Marker(text) for text in project()["tool"].get("uv", {}).get("environments", [])]
    assert [sum(one.evaluate(environment) for one in markers) for environment in ENVIRONMENTS] == [1] * 6
    assert not any(one.evaluate({**ENVIRONMENTS[0], "python_version": "3.14"}) for one in markers)


def test_every_package_has_one_version_in_each_environment() -> None:
    numbers = {
        name: [
            sum(not marker(entry) or Marker(marker(entry)).evaluate(environment) for entry in entries)
            for environment in ENVIRONMENTS
        ]
        for name, entries in requirements().items()
    }
    assert len(numbers) > 200
    assert {name: number for name, number in numbers.items() if max(number) != 1} == {}


def test_every_locked_version_has_hashes_and_no_address() -> None:
    entries = [entry for entries in requirements().values() for entry in entries]
    assert [entry for entry in entries if not re.search(r"--hash=sha256:[0-9a-f]{64}", entry)] == []
    assert [entry for entry in entries if "://" in entry or "#" in entry] == []


def test_a_marker_that_holds_everywhere_is_removed_from_the_lock(tmp_path: Path) -> None:
    script = ROOT / "scripts" / "lock_markers.awk"
    not_pypy = " and implementation_name != 'PyPy'"
    both = [
        f"python_full_version < '3.14' and platform_machine == '{machine}'%s and sys_platform == '{system}'"
        for system, machine in reversed(PLATFORMS)
    ]
    always = " or ".join(f"({one % ''})" for one in both)
    pypy = " or ".join(f"({one % not_pypy})" for one in both)
    older = "python_full_version < '3.12' and sys_platform == 'linux'"
    lock = tmp_path / "lock"
    lock.write_text(f"a==1 ; {always} \\\n    --hash=sha256:0\nb==2 ; {pypy} \\\nc==3 ; {older} \\\n")
    command = ["awk", "-f", str(script), str(lock)]
    output = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    assert output.splitlines() == ["a==1 \\", "    --hash=sha256:0", "b==2 \\", f"c==3 ; {older} \\"]
