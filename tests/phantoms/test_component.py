"""The phantoms component and command."""

import csv
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from kfp import dsl

from components.phantoms.component import phantoms
from components.shared.errors import EXIT_BAD_INPUT


def test_the_component_writes_volumes_and_a_contact_sheet(tmp_path: Path):
    volumes = dsl.Dataset(uri=str(tmp_path / "run" / "volumes"))
    sheet = dsl.HTML(uri=str(tmp_path / "run" / "contact_sheet"))
    phantoms.python_func(specimens_per_species=1, size=32, seed=0, volumes=volumes, contact_sheet=sheet)
    with (Path(volumes.path) / "manifest.csv").open() as file:
        splits = Counter(row["split"] for row in csv.DictReader(file))
    assert splits[""] == 12
    assert set(splits) == {"", "unseen"}
    assert Path(sheet.path).read_text().startswith("<!doctype html>")
    assert volumes.metadata["synthetic"] is True


def test_a_size_out_of_range_ends_the_component_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    volumes, sheet = dsl.Dataset(uri=str(tmp_path / "volumes")), dsl.HTML(uri=str(tmp_path / "sheet"))
    with pytest.raises(SystemExit) as exit_info:
        phantoms.python_func(specimens_per_species=1, size=8, seed=0, volumes=volumes, contact_sheet=sheet)
    assert exit_info.value.code == EXIT_BAD_INPUT
    assert "[phantoms] bad_input: size 8: expected 32 to 512 voxels" in capsys.readouterr().out
    assert not (tmp_path / "volumes").exists()


def test_the_command_reports_a_bad_size_without_a_traceback(tmp_path: Path):
    command = [sys.executable, "-m", "components.phantoms", "--out", str(tmp_path / "set"), "--size", "5"]
    process = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert process.returncode == EXIT_BAD_INPUT
    assert "size 5" in process.stdout
    assert "Traceback" not in process.stderr
