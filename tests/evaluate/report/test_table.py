"""Shares are shown as percentages that never claim all or none of the slices."""

import pytest

from components.evaluate.report.table import percent


@pytest.mark.parametrize(
    ("share", "text"), [(1.0, "100"), (0.0, "0"), (0.99996, "99.9"), (0.00001, "0.1"), (0.5, "50.0"), (0.9564, "95.6")]
)
def test_only_one_is_100_per_cent_and_only_zero_is_0_per_cent(share: float, text: str) -> None:
    assert percent(share) == f"{text}\N{NO-BREAK SPACE}%"
