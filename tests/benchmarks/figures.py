"""The table of all figures: `make figures` calls `python -m tests.benchmarks.figures benchmarks.json`."""

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_name("FIGURES.md")
HEAD = """# Measured figures

`make figures` measured all figures in one run on one machine ({machine}), on synthetic
specimens and photographs. The ratio is to the reference of the same run; the bar is the required value.

| benchmark | Taxonflow | reference | ratio | unit; bar |
|---|---:|---:|---:|---|
"""


def machine() -> str:
    """Return the processor's name and the number of cores."""
    cpu = Path("/proc/cpuinfo")
    match = re.search(r"model name\s*: (.+)", cpu.read_text()) if cpu.exists() else None
    return f"{os.cpu_count()} cores of {match[1] if match else 'an unnamed processor'}, no GPU"


def row(figure: dict[str, Any]) -> str:
    """Return a measurement as a row of the table."""
    cells = ["" if figure[key] is None else f"{figure[key]:.4g}" for key in ("value", "reference", "ratio")]
    return "| " + " | ".join([figure["name"], *cells, f"{figure['unit']}; {figure['bar']}".strip("; ")]) + " |\n"


def main() -> int:
    """Write the table of a `benchmarks.json` to FIGURES.md."""
    figures = json.loads(Path(sys.argv[1]).read_text())
    TABLE.write_text(HEAD.format(machine=machine()) + "".join(map(row, figures)))
    print(f"written to {TABLE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
