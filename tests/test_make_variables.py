"""Values of make's variables reach the programs as they were typed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents import ROOT
from tests.make_programs import printed_arguments


def fault_of_client(folder: Path, argument: str) -> str:
    """Run the client in a folder without a server; return its standard error."""
    command = [sys.executable, "-m", "serving.client", "--url=http://127.0.0.1:9", argument]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False).stderr


@pytest.mark.parametrize("name", ["IMG (1).png", "it's.png", 'a"b.png', "a$b.png", "a;b|c`d.png", "#[x] %20 ü & <1>"])
def test_names_of_files_reach_the_programs_unchanged(name: str, tmp_path: Path) -> None:
    assert name in printed_arguments("ask", tmp_path, IMAGES=name)
    output = printed_arguments("run", tmp_path, VOLUMES=name, OUT=f"-{name}")
    assert f"--volumes={name}" in output.splitlines(), output
    assert f"--out=-{name}" in output.splitlines(), output


@pytest.mark.parametrize("images", ["IMG (1).png", "it's.png b.png", "IMG (1).png b.png", "'IMG (1).png' b.png", "a b"])
def test_each_existing_file_of_a_text_is_asked(images: str, tmp_path: Path) -> None:
    for name in ("IMG (1).png", "it's.png", "b.png"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "c.png").write_bytes(b"x")
    assert "cannot be reached" in fault_of_client(tmp_path, f"--images={images}")


def test_many_files_and_a_name_that_is_too_long_are_no_traceback(tmp_path: Path) -> None:
    names = [f"{number:03}.png" for number in range(60)]
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    for argument, fault in (
        (f"--images={' '.join(names)}", "cannot be reached"),
        (f"--images={' '.join(names)} missing.png", "missing.png does not exist"),
        ("x" * 300, "does not exist"),
    ):
        text = fault_of_client(tmp_path, argument)
        assert fault in text
        assert "Traceback" not in text


@pytest.mark.parametrize("out", ["/", ".", "~"])
def test_clean_refuses_folders_that_are_not_of_runs(out: str, tmp_path: Path) -> None:
    folder = str(Path(out).expanduser())
    command = [sys.executable, "-m", "pipelines.local.clean", f"--out={folder}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (result.returncode, "a folder of runs" in result.stderr) == (2, True)


def test_clean_leaves_the_files_of_the_user(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for name in ("20260101-000000", "models", "thesis"):
        (out / name).mkdir(parents=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    recipe = subprocess.run(
        ["make", "-s", "-n", "-C", str(ROOT), "clean", f"OUT={out}", "VENV=no-environment"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert 'rm -rf "' not in recipe
    command = [sys.executable, "-m", "pipelines.local.clean", f"--out={out}"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    assert [path.name for path in out.iterdir()] == ["thesis"]
