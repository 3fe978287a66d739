"""Evaluation of many slices by three networks: growth of the memory, and the networks' share of the time.

With fewer slices the constant costs, above all the export of the model, have a larger share.
"""

from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.evaluation_run import measure
from tests.benchmarks.measurement import Measurement

BAR_SHARE, EDGE = 0.85, 64
FEW, MANY = 10_000, 50_000  # of both, 5,000 slices are in the reference profile
KEPT_BYTES = 4 * 12 * 3 + 400
"""Logits float32 of twelve species by three members; the slice's id, specimen and label; scores."""


def evaluate_many(scratch: Path) -> Iterator[Measurement]:
    """Measure the networks' share of the time, and the growth of the memory."""
    small, large = measure(scratch, FEW, EDGE), measure(scratch, MANY, EDGE)
    yield Measurement("evaluate-seconds", large.seconds, f"s for {MANY} slices x 3 networks")
    share = large.network_seconds / large.seconds
    bar = f"at least {BAR_SHARE}"
    yield Measurement("evaluate-share-of-networks", share, "share of the time", BAR_SHARE, share / BAR_SHARE, bar)
    growth = (large.peak_mib - small.peak_mib) * 2**20 / (MANY - FEW)
    bar = "the bytes kept of a slice: no image, no embedding"
    yield Measurement("evaluate-memory-growth", growth, "bytes a slice", KEPT_BYTES, growth / KEPT_BYTES, bar)
    yield Measurement("evaluate-peak-memory", large.peak_mib, f"MiB for {MANY} slices", small.peak_mib)


BENCHMARKS = {"evaluate-many-slices": evaluate_many}
