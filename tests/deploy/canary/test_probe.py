"""Sample of known slices for the probe."""

from pathlib import Path

from components.deploy.canary.probe import sample_test_slices
from tests.deploy.slices import write_slices


def test_known_slices_are_sampled_at_random_without_replacement(tmp_path: Path) -> None:
    data = write_slices(tmp_path / "slices", 50)
    identifiers = [known_slice.id for known_slice in sample_test_slices(data, 20)]
    assert len(set(identifiers)) == 20
    assert identifiers != [f"x/{number}" for number in range(20)]
    assert len(sample_test_slices(data, 100)) == 50
    assert [known_slice.id for known_slice in sample_test_slices(data, 20)] == identifiers
