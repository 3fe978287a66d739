"""`make clean`: remove what runs left in the output folder, and nothing else."""

import argparse
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from components.shared.errors import BadConfigError, exit_code_of

_NAMES = re.compile(
    r"\d{8}-\d{6}a*|latest|\.latest\.new|models|events|monitoring|demo|phantoms|compiled|benchmarks\.json|\.lock(\.owner)?"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Remove the files of runs and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.local.clean", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of the runs (default: %(default)s)")
    try:
        remove_runs(parser.parse_args(arguments).out)
    except BadConfigError as error:
        sys.stderr.write(f"{error}\n")
        return exit_code_of(error)
    return 0


def remove_runs(out: Path) -> None:
    """Remove the known files of runs, and the folder if it is empty then.

    Raises:
        BadConfigError: The folder is the root, the home folder, or contains the working directory.
    """
    folder = out.resolve()
    if folder in (Path("/"), Path.home().resolve()) or Path.cwd().resolve().is_relative_to(folder):
        raise BadConfigError(f"OUT={out}", "a folder of runs", "Set OUT to the folder of a run.")
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if not _NAMES.fullmatch(path.name):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    if any(folder.iterdir()):
        sys.stdout.write(f"{out} contains other files, which remain.\n")
    else:
        folder.rmdir()


if __name__ == "__main__":
    sys.exit(main())
