"""Command-line interface of the benchmarks: `python -m tests.benchmarks [--only prefix] [--out runs]`.

`make benchmark` calls it. Each module of this folder may have a table `BENCHMARKS`: name -> function that takes a
scratch folder and yields figures.
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

_BENCHMARK_PROGRAM = "import sys; from tests.benchmarks.__main__ import measure; measure(*sys.argv[1:])"
"""Program that runs one benchmark in its own process, with its own memory and threads."""
Benchmark = Callable[[Path], Iterable[Measurement]]


def all_benchmarks() -> dict[str, Benchmark]:
    """Return the benchmarks of this folder by name."""
    benchmarks: dict[str, Benchmark] = {}
    for module in sorted(pkgutil.iter_modules([str(Path(__file__).parent)]), key=lambda module: module.name):
        if module.name != "__main__":
            benchmarks |= getattr(importlib.import_module(f"tests.benchmarks.{module.name}"), "BENCHMARKS", {})
    return benchmarks


def run_benchmark(benchmark: Benchmark) -> Iterator[Measurement]:
    """Run a benchmark; print and yield each figure."""
    with tempfile.TemporaryDirectory() as scratch:
        for figure in benchmark(Path(scratch)):
            reference = "" if figure.reference is None else f"{figure.reference:.4g}"
            ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
            print(f"{figure.name:48} {figure.value:12.4g} {reference:>12} {ratio:>8}  {figure.unit}; {figure.bar}")
            sys.stdout.flush()
            yield figure


def measure(name: str, report: str) -> None:
    """Run a benchmark and write its figures to `benchmarks.json`, replacing those of the same names."""
    new_figures = [asdict(figure) for figure in run_benchmark(all_benchmarks()[name])]
    file = Path(report)
    old_figures = json.loads(file.read_text()) if file.exists() else []
    figures = {figure["name"]: figure for figure in [*old_figures, *new_figures]}
    file.write_text(json.dumps(list(figures.values()), indent=2) + "\n")


def main() -> int:
    """Run the benchmarks whose names start with a prefix; a failed benchmark does not stop the others."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Run the benchmarks.")
    parser.add_argument("--only", default="", metavar="PREFIX", help="run only benchmarks that start with PREFIX")
    parser.add_argument("--out", type=Path, default=Path("runs"), metavar="FOLDER", help="folder of benchmarks.json")
    arguments = parser.parse_args()
    benchmarks = all_benchmarks()
    names = [name for name in benchmarks if name.startswith(arguments.only)]
    if not names:
        print(f"no benchmark starts with {arguments.only!r}: expected one of {', '.join(benchmarks)}", file=sys.stderr)
        return 2
    arguments.out.mkdir(parents=True, exist_ok=True)
    report = arguments.out / "benchmarks.json"
    print(f"{'benchmark':48} {'value':>12} {'reference':>12} {'ratio':>8}  bar", flush=True)
    results = [
        subprocess.run([sys.executable, "-c", _BENCHMARK_PROGRAM, name, str(report)], check=False) for name in names
    ]
    failures = [name for name, run in zip(names, results, strict=True) if run.returncode]
    print(f"written to {report}" + (f", without {', '.join(failures)}, which failed" if failures else ""))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
