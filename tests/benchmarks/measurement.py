"""The result of a benchmark, and functions that measure time and memory."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PAUSE_S, _IDLE_SHARE = 0.25, 0.05


@dataclass(frozen=True)
class Measurement:
    """A figure and its reference, both measured in the same run.

    Attributes:
        name: Name of the benchmark, with the case after a space.
        value: Taxonflow's figure.
        unit: Unit of value and reference.
        reference: The other program's figure, or the bound of the quantity; None for neither.
        ratio: Ratio of value and reference, or the used share of the bound.
        bar: Required ratio or value, in words.
    """

    name: str
    value: float
    unit: str
    reference: float | None = None
    ratio: float | None = None
    bar: str = ""


def fastest_seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """Return the shortest of several runs, which other processes disturbed least."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def run_in_subprocess(function: Callable[..., Any], *arguments: object) -> Any:
    """Call a function of a module in a separate process.

    Args:
        function: Public function with a JSON value as its result.
        arguments: Numbers and texts; the function receives a path as text.
    """
    module, name = function.__module__, function.__name__
    program = f"import json, sys; from {module} import {name}; print(json.dumps({name}(*json.loads(sys.argv[1]))))"
    command = [sys.executable, "-c", program, json.dumps(arguments, default=str)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(run.stdout.splitlines()[-1])


def peak_resident_bytes() -> int:
    """Return the largest resident memory of this process so far."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def wait_until_idle() -> None:
    """Wait until the threads of this process have filled their buffers and no longer use the CPU."""
    before = -1.0
    while (now := time.process_time()) - before > _IDLE_SHARE * _PAUSE_S:
        before = now
        time.sleep(_PAUSE_S)
