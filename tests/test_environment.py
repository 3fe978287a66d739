"""The environment: make finds a suitable Python, names the fault if there is none, and notices a broken environment."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOOLS = ("make", "bash", "sh", "env", "dirname", "cat", "uname", "rm", "sed", "grep", "awk", "touch", "mkdir", "chmod")
SUITABLE = 'exec "{real}" "$@"'
OTHER_VERSION = """exec "{real}" -c '
import platform, sys
sys.version_info = ({version}, 4)
platform.python_version = lambda: ".".join(map(str, sys.version_info))
exec(compile(open(sys.argv[1]).read(), sys.argv[1], "exec"), dict(__name__="__main__"))
' "$@" """
SHIM = 'echo "pyenv: {name}: command not found" >&2; exit 127'
WITHOUT_VENV = 'case "$*" in "-m venv"*) echo "no virtual environment here" >&2; exit 1;; esac; exec "{real}" "$@"'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Create a project folder that has the files of an installation, and an empty folder of programs beside it."""
    folder = tmp_path / "my project"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, folder)
    if (ROOT / "scripts").is_dir():
        shutil.copytree(ROOT / "scripts", folder / "scripts")
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        (tmp_path / "bin" / tool).symlink_to(str(shutil.which(tool)))
    return folder


def add_python(project: Path, name: str, script: str, **values: str) -> Path:
    """Add a program that runs the Python of the tests, changed by a script."""
    program = project.parent / "bin" / name
    program.write_text("#!/bin/sh\n" + script.replace("{real}", sys.executable).format_map({"name": name, **values}))
    program.chmod(0o755)
    return program


def make(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make with the programs beside the project folder only; an outer make has no influence."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "PY", "VIRTUAL"))}
    environment["PATH"] = str(project.parent / "bin")
    command = [str(project.parent / "bin" / "make"), *arguments]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


def fault(project: Path, *arguments: str) -> str:
    """Return the sentence with which make setup refuses."""
    result = make(project, "setup", *arguments)
    assert result.returncode == 2
    assert not (project / ".venv").exists()
    lines = [line for line in (result.stdout + result.stderr).splitlines() if not line.startswith("make")]
    assert [line for line in lines if "Installing" not in line] == lines[-1:]
    return lines[-1]


def test_without_python_the_fault_names_the_versions_and_a_remedy(project: Path) -> None:
    sentence = fault(project)
    assert all(part in sentence for part in ("3.11, 3.12 or 3.13", "not found", "apt install", "PYTHON="))


@pytest.mark.parametrize("version", ["2, 7", "3, 10", "3, 14"])
def test_a_python_of_another_version_is_named(version: str, project: Path) -> None:
    add_python(project, "python3", OTHER_VERSION.replace("{version}", version))
    assert f"python3 is CPython {version.replace(', ', '.')}.4" in fault(project)


def test_a_shim_that_does_not_run_counts_as_not_found(project: Path) -> None:
    add_python(project, "python3.11", SHIM)
    add_python(project, "python3.12", SHIM)
    assert "not found" in fault(project)
    other = add_python(project, "python3", WITHOUT_VENV)
    assert f"from {other} " in make(project, "setup").stdout


@pytest.mark.parametrize("module", ["venv", "ensurepip", "ssl"])
def test_a_python_without_a_needed_module_is_named(module: str, project: Path) -> None:
    modules = project.parent / "modules"
    modules.mkdir()
    for name in {module, "pip" if module == "ensurepip" else module}:
        (modules / f"{name}.py").write_text("raise ImportError")
    add_python(project, "python3", f'PYTHONPATH="{modules}" {SUITABLE}')
    sentence = fault(project)
    assert f"without {module})" in sentence
    assert "apt install python3-venv" in sentence


def test_python_3_11_is_preferred_as_in_the_images(project: Path) -> None:
    for name in ("python3", "python3.13", "python3.11", "python3.12"):
        add_python(project, name, WITHOUT_VENV)
    result = make(project, "setup")
    assert f"with Python 3.{sys.version_info.minor}.{sys.version_info.micro} from" in result.stdout
    assert f"{project.parent}/bin/python3.11 " in result.stdout
    assert "no virtual environment here" in result.stderr
    assert result.returncode == 2


@pytest.mark.parametrize("value", ["python3.14", "/nowhere/python3"])
def test_a_python_that_the_user_names_is_checked(value: str, project: Path) -> None:
    add_python(project, "python3", SUITABLE)
    add_python(project, "python3.14", OTHER_VERSION.replace("{version}", "3, 14"))
    sentence = fault(project, f"PYTHON={value}")
    assert f"PYTHON={value} cannot be used" in sentence
    assert "3.14.4" in sentence or "does not run" in sentence


@pytest.fixture
def installed(project: Path) -> Path:
    """Return a project whose environment is complete as far as make knows."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(project / ".venv")], check=True)
    (project / ".venv" / ".ready").write_text(f"{project.resolve() / '.venv'}\n")
    assert make(project, "-q", "setup").returncode == 0
    return project


def test_an_environment_of_a_moved_folder_is_made_again(installed: Path) -> None:
    folder = installed.rename(installed.with_name("moved"))
    assert make(folder, "-q", "setup").returncode == 1


def test_an_environment_whose_python_was_removed_is_made_again(installed: Path) -> None:
    interpreter = installed / ".venv" / "bin" / "python"
    interpreter.unlink()
    interpreter.symlink_to("/nowhere/python3")
    assert make(installed, "-q", "setup").returncode == 1


def test_an_environment_of_another_python_than_requested_is_made_again(installed: Path) -> None:
    same = add_python(installed, "python3.12", SUITABLE)
    assert make(installed, "-q", "setup", f"PYTHON={same}").returncode == 0
    other = add_python(installed, "python3.13", 'echo "3.13.0 /opt/python"')
    assert make(installed, "-q", "setup", f"PYTHON={other}").returncode == 1


def test_the_makefile_and_the_scripts_need_no_gnu_option() -> None:
    gnu = (
        r"readlink -f|sort -V|sed -i|date -d|xargs -r|cp --parents|stat -c|\btimeout \d|grep -P|\.ONESHELL|\$\(file "
        r"|&:|mapfile|readarray|declare -A|\$\{\w+(,,|\^\^)\}|\|&|head -n -|nproc|/proc/"
    )
    files = [ROOT / "Makefile", ROOT / ".ci" / "run", *sorted((ROOT / "scripts").glob("*.sh"))]
    assert {file.name: re.findall(gnu, file.read_text()) for file in files if re.search(gnu, file.read_text())} == {}
