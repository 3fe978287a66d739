"""Evaluation of many slices by three networks: memory must not grow with the slices, and the networks take the time.

`TAXONFLOW_EVALUATED_SLICES=50000 make benchmark ONLY=evaluate` measures at the size of the bar, in some minutes; without
it two smaller evaluations are measured and their slope tells what 50,000 slices take.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.evaluation_run import Spent, measure
from tests.benchmarks.measurement import Measurement

BAR_SLICES, BAR_SHARE, EDGE = 50_000, 0.85, 64
FEW, MANY = 6_000, 12_000  # more than the slices of the reference profile, whose number is bounded
_BYTES_OF_A_SLICE = 4 * 12 * 3 + 200
"""Logits float32 of twelve species by three members, and the slice's id, specimen and label."""


def evaluate_many(scratch: Path) -> Iterator[Measurement]:
    """Measures the share of the networks and the growth of the memory."""
    many = int(os.environ.get("TAXONFLOW_EVALUATED_SLICES", MANY))
    small, large = measure(scratch, FEW, EDGE), measure(scratch, many, EDGE)
    yield Measurement("evaluate-seconds", large.seconds, f"s for {many} slices x 3 networks")
    share = networks_share(small, large, max(many, BAR_SLICES))
    bar = f"at least {BAR_SHARE} at {max(many, BAR_SLICES)} slices" + ("" if many >= BAR_SLICES else ", by the slope")
    yield Measurement("evaluate-share-of-networks", share, "share of the time", BAR_SHARE, share / BAR_SHARE, bar)
    growth = (large.peak_mib - small.peak_mib) * 2**20 / (many - FEW)
    bar = "what is kept of a slice, of no picture and no embedding"
    yield Measurement(
        "evaluate-memory-growth", growth, "bytes a slice", _BYTES_OF_A_SLICE, growth / _BYTES_OF_A_SLICE, bar
    )
    yield Measurement("evaluate-peak-memory", large.peak_mib, f"MiB for {many} slices", small.peak_mib)


def networks_share(small: Spent, large: Spent, slices: int) -> float:
    """Returns the networks' share of the time at some number of slices, by the slope between two evaluations."""
    steps = (slices - large.slices) / (large.slices - small.slices)
    networks = large.network_seconds + steps * (large.network_seconds - small.network_seconds)
    return networks / (large.seconds + steps * (large.seconds - small.seconds))


BENCHMARKS = {"evaluate-many-slices": evaluate_many}
