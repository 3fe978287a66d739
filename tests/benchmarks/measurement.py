"""The result of a benchmark, and functions that measure time."""

import time
from collections.abc import Callable
from dataclasses import dataclass

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
    """Return the smallest of several times, which is the least disturbed by other processes."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def wait_until_idle() -> None:
    """Wait until the threads of this process have filled their buffers and no longer use the CPU."""
    before = -1.0
    while (now := time.process_time()) - before > _IDLE_SHARE * _PAUSE_S:
        before = now
        time.sleep(_PAUSE_S)
