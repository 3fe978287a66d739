"""Runs benchmarks: `python -m tests.benchmarks [--only prefix] [--out runs]`, which `make benchmark` calls.

Each module of this folder that has a `BENCHMARKS` table takes part: name -> function from a scratch folder to figures.
"""

import argparse
import importlib
import json
import pkgutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

from tests.benchmarks.measurement import Measurement

Benchmark = Callable[[Path], Iterable[Measurement]]


def all_benchmarks() -> dict[str, Benchmark]:
    """Collects the benchmarks of this folder by name."""
    found: dict[str, Benchmark] = {}
    for module in sorted(pkgutil.iter_modules([str(Path(__file__).parent)]), key=lambda module: module.name):
        if module.name != "__main__":
            found |= getattr(importlib.import_module(f"tests.benchmarks.{module.name}"), "BENCHMARKS", {})
    return found


def run(benchmark: Benchmark) -> Iterator[Measurement]:
    """Runs a benchmark and prints each figure as it comes."""
    with tempfile.TemporaryDirectory() as scratch:
        for figure in benchmark(Path(scratch)):
            reference = "" if figure.reference is None else f"{figure.reference:.4g}"
            ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
            print(f"{figure.name:48} {figure.value:12.4g} {reference:>12} {ratio:>8}  {figure.unit}; {figure.bar}")
            sys.stdout.flush()
            yield figure


def renew(report: Path, measured: Iterable[Measurement]) -> None:
    """Puts figures into `benchmarks.json`, in the place of those with their names."""
    before = json.loads(report.read_text()) if report.exists() else []
    figures = {figure["name"]: figure for figure in [*before, *map(asdict, measured)]}
    report.write_text(json.dumps(list(figures.values()), indent=2) + "\n")


def main() -> int:
    """Runs the benchmarks whose names begin with a prefix; what one has measured is kept if a later one fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Figures beside their references.")
    parser.add_argument("--only", default="", metavar="PREFIX", help="only benchmarks whose names begin like this")
    parser.add_argument("--out", type=Path, default=Path("runs"), metavar="FOLDER")
    arguments = parser.parse_args()
    benchmarks = all_benchmarks()
    chosen = [work for name, work in benchmarks.items() if name.startswith(arguments.only)]
    if not chosen:
        print(f"no benchmark begins with {arguments.only!r}; there are: {', '.join(benchmarks)}", file=sys.stderr)
        return 2
    arguments.out.mkdir(parents=True, exist_ok=True)
    report = arguments.out / "benchmarks.json"
    print(f"{'benchmark':48} {'value':>12} {'reference':>12} {'ratio':>8}  bar")
    for benchmark in chosen:
        renew(report, run(benchmark))
    print(f"written to {report}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
