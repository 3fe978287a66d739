"""An evaluation's memory does not grow with the number of slices."""

from pathlib import Path

import pytest

from tests.benchmarks.evaluation_run import measure

EDGE, FEW, MORE = 48, 5_000, 15_000
KEPT_MIB = 64
"""Less than 10,000 decoded slices as float32, 88 MiB; two equal evaluations differ by up to 40."""


@pytest.mark.slow
def test_ten_thousand_more_slices_need_no_more_memory(tmp_path: Path) -> None:
    few, more = measure(tmp_path, FEW, EDGE), measure(tmp_path, MORE, EDGE)
    assert more.peak_mib - few.peak_mib < KEPT_MIB
    assert more.network_seconds > few.network_seconds
