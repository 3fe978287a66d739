"""Targets of make with a program in place of Python."""

import subprocess
import sys
from pathlib import Path

from tests.documents import ROOT

PRINT_ARGUMENTS = "print(*sys.argv[1:], sep='\\n')"


def printed_arguments(target: str, tmp_path: Path, statement: str = PRINT_ARGUMENTS, /, **variables: str) -> str:
    """Run a target with a program in place of Python that prints its arguments, one in a line."""
    program = tmp_path / "bin" / "python"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!{sys.executable}\nimport os, sys\n{statement}\n")
    program.chmod(0o755)
    (tmp_path / ".ready").touch()
    values = [f"{name}={value}" for name, value in {"VENV": str(tmp_path), **variables}.items()]
    command = ["make", "-s", "-C", str(ROOT), "-o", str(tmp_path / ".ready"), target, *values]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout + result.stderr
