"""What a benchmark reports, and how a pair of functions is timed."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Measurement:
    """One figure beside its reference, both taken in the same run.

    Attributes:
        name: of the benchmark, with the case after a space.
        value: ours.
        unit: of both.
        reference: theirs, or the bound that a measured quantity must keep; None where there is none.
        ratio: how many times better than the reference, or the share of the bound that is used.
        bar: what the ratio or the value has to reach, in words.
    """

    name: str
    value: float
    unit: str
    reference: float | None = None
    ratio: float | None = None
    bar: str = ""


def fastest_seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """Returns the least of several times, which other processes disturb least."""
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return min(taken)
