"""Runs benchmarks: `python -m tests.benchmarks [--only prefix] [--out runs]`, which `make benchmark` calls.

Each module of this folder that has a `BENCHMARKS` table takes part: name -> function from a scratch folder to figures.
"""

import argparse
import importlib
import json
import pkgutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

from tests.benchmarks.measurement import Measurement

_APART = "import sys; from tests.benchmarks.__main__ import measure; measure(*sys.argv[1:])"
"""Each runs in a process of its own: none finds memory or threads that another has left."""
Benchmark = Callable[[Path], Iterable[Measurement]]


def all_benchmarks() -> dict[str, Benchmark]:
    """Collects the benchmarks of this folder by name."""
    found: dict[str, Benchmark] = {}
    for module in sorted(pkgutil.iter_modules([str(Path(__file__).parent)]), key=lambda module: module.name):
        if module.name != "__main__":
            found |= getattr(importlib.import_module(f"tests.benchmarks.{module.name}"), "BENCHMARKS", {})
    return found


def figures_of(benchmark: Benchmark) -> Iterator[Measurement]:
    """Runs a benchmark and prints each figure as it comes."""
    with tempfile.TemporaryDirectory() as scratch:
        for figure in benchmark(Path(scratch)):
            reference = "" if figure.reference is None else f"{figure.reference:.4g}"
            ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
            print(f"{figure.name:48} {figure.value:12.4g} {reference:>12} {ratio:>8}  {figure.unit}; {figure.bar}")
            sys.stdout.flush()
            yield figure


def measure(name: str, report: str) -> None:
    """Runs a benchmark and puts its figures into `benchmarks.json`, in the place of those with their names."""
    measured = [asdict(figure) for figure in figures_of(all_benchmarks()[name])]
    file = Path(report)
    before = json.loads(file.read_text()) if file.exists() else []
    figures = {figure["name"]: figure for figure in [*before, *measured]}
    file.write_text(json.dumps(list(figures.values()), indent=2) + "\n")


def main() -> int:
    """Runs the benchmarks whose names begin with a prefix; what one has measured is kept if a later one fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Figures beside their references.")
    parser.add_argument("--only", default="", metavar="PREFIX", help="only benchmarks whose names begin like this")
    parser.add_argument("--out", type=Path, default=Path("runs"), metavar="FOLDER")
    arguments = parser.parse_args()
    benchmarks = all_benchmarks()
    chosen = [name for name in benchmarks if name.startswith(arguments.only)]
    if not chosen:
        print(f"no benchmark begins with {arguments.only!r}; there are: {', '.join(benchmarks)}", file=sys.stderr)
        return 2
    arguments.out.mkdir(parents=True, exist_ok=True)
    report = arguments.out / "benchmarks.json"
    print(f"{'benchmark':48} {'value':>12} {'reference':>12} {'ratio':>8}  bar", flush=True)
    ended = [subprocess.run([sys.executable, "-c", _APART, name, str(report)], check=False) for name in chosen]
    failed = [name for name, run in zip(chosen, ended, strict=True) if run.returncode]
    print(f"written to {report}" + (f", without {', '.join(failed)}, which failed" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
