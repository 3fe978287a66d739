"""The measured figures as one table; `make figures` calls `python -m tests.benchmarks.figures benchmarks.json`."""

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_name("FIGURES.md")
HEAD = """# Measured figures

`make figures` measured all of them in one go on one machine ({machine}), on synthetic
specimens and photographs. A ratio compares ours with the reference of the same run; a bar says what it has to reach.

| benchmark | ours | reference | ratio | unit; bar |
|---|---:|---:|---:|---|
"""


def machine() -> str:
    """Returns the processor's name and how many cores there are."""
    cpu = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*: (.+)", cpu.read_text()) if cpu.exists() else None
    return f"{os.cpu_count()} cores of {named[1] if named else 'an unnamed processor'}, no GPU"


def row(figure: dict[str, Any]) -> str:
    """Writes one measurement as a row of the table."""
    cells = ["" if figure[key] is None else f"{figure[key]:.4g}" for key in ("value", "reference", "ratio")]
    return "| " + " | ".join([figure["name"], *cells, f"{figure['unit']}; {figure['bar']}".strip("; ")]) + " |\n"


def main() -> int:
    """Writes the table of a `benchmarks.json` into the tree."""
    figures = json.loads(Path(sys.argv[1]).read_text())
    TABLE.write_text(HEAD.format(machine=machine()) + "".join(map(row, figures)))
    print(f"written to {TABLE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
