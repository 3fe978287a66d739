"""Folders of the input, the output and the interpreter whose names are special to a shell, a URI or a pattern."""

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from components.phantoms.generate import PhantomConfig, generate_phantoms
from pipelines.local.run import RunOptions, pipeline_call

NAME = "#[x] %20 python3 ü 'q' $a & b?"


def run(volumes: Path, out: Path, python: Path | str = sys.executable) -> subprocess.CompletedProcess[str]:
    options = ["--preset=smoke", f"--volumes={volumes}", f"--out={out}"]
    command = [str(python), "-m", "pipelines.run", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)


def options_of(out: Path) -> RunOptions:
    return RunOptions(preset="smoke", volumes=None, photos=None, backbones=(), threshold=None, seed=0, out=out)


@pytest.mark.parametrize("name", ["a#b", "a?b", "a%20b", "a b", "a[x]b", "python3"])
def test_the_target_of_a_run_is_its_folder_of_models(name: str, tmp_path: Path) -> None:
    _, arguments = pipeline_call(options_of(tmp_path / name))
    assert arguments["target"] == (tmp_path / name / "models").as_uri()


def test_python3_in_the_name_of_a_folder_reaches_the_first_step(tmp_path: Path) -> None:
    (tmp_path / "python3 set" / "Alveolina").mkdir(parents=True)
    (tmp_path / "python3 set" / "Alveolina" / "one.nii.gz").write_bytes(b"")
    result = run(tmp_path / "python3 set", tmp_path / "python3 runs")
    summary = tmp_path / "python3 runs" / "latest" / "summary.json"
    message = json.loads(summary.read_text())["message"]
    assert result.returncode == 2, (message, result.stdout)
    assert "Alveolina" in message + result.stdout


def test_an_interpreter_in_a_folder_with_a_blank_runs_the_steps(tmp_path: Path) -> None:
    python = link_environment(tmp_path / "my project")
    (tmp_path / "set" / "Alveolina").mkdir(parents=True)
    (tmp_path / "set" / "Alveolina" / "one.nii.gz").write_bytes(b"")
    result = run(tmp_path / "set", tmp_path / "runs", python)
    assert (result.returncode, "Alveolina" in result.stdout) == (2, True), result.stdout + result.stderr


def link_environment(folder: Path) -> Path:
    """Create a virtual environment with the libraries of this one and return the path of its interpreter."""
    python, libraries = folder / "bin" / "python", Path(sysconfig.get_path("purelib"))
    for path in (python.parent, folder / "lib" / libraries.parent.name):
        path.mkdir(parents=True)
    python.symlink_to(Path(sys.executable).resolve())
    (folder / "pyvenv.cfg").write_text(f"home = {Path(sys.executable).resolve().parent}\n")
    (folder / "lib" / libraries.parent.name / "site-packages").symlink_to(libraries)
    return python


@pytest.mark.slow
def test_a_run_between_folders_of_unusual_names_ends_deployed(tmp_path: Path) -> None:
    config = PhantomConfig(
        specimens_per_species=6, unseen_per_species=0, size=40, species=("Fallotia", "Coskinolina", "Baculogypsina")
    )
    generate_phantoms(tmp_path / NAME / "set", config, 1)
    result = run(tmp_path / NAME / "set", tmp_path / NAME / "runs")
    assert result.returncode == 0, result.stdout + result.stderr
    assert (tmp_path / NAME / "runs" / "models" / "foraminifera" / "1" / "model.json").is_file()
