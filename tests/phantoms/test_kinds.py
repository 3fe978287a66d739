"""The kinds of synthetic data."""

from pathlib import Path

import pytest

from components.phantoms.kinds import PhantomRequest, make_phantoms
from components.shared.errors import BadConfigError


def test_photographs_are_written_with_a_page(tmp_path: Path) -> None:
    page = make_phantoms("photographs", PhantomRequest(2, 32, 0, 1.0), tmp_path / "set")
    assert (tmp_path / "set" / "manifest.csv").is_file()
    assert page.count("data:image/png") == 6 * 14


def test_an_unknown_kind_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(BadConfigError, match="one of volumes, photographs"):
        make_phantoms("holograms", PhantomRequest(3, 64, 0, 1.0), tmp_path)
