"""What a benchmark reports, and how a pair of functions is timed."""

import time
from collections.abc import Callable
from dataclasses import dataclass

_PAUSE_S, _IDLE_SHARE = 0.25, 0.05


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


def wait_until_idle() -> None:
    """Waits until threads of this process have filled their buffers, which would else compete with what is timed."""
    before = -1.0
    while (now := time.process_time()) - before > _IDLE_SHARE * _PAUSE_S:
        before = now
        time.sleep(_PAUSE_S)
