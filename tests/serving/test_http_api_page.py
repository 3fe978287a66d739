"""The reference page of the HTTP API has the fields and limits of the code."""

from pathlib import Path

import pytest

from serving.limits import Limits
from serving.outputs import OUTPUTS
from serving.votes import SpecimenVote

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "http-api.md").read_text(encoding="utf-8")
VALUES = {
    "max_body_bytes": "172 MiB",
    "max_value_bytes": "16 MiB",
    "max_held_bytes": "256 MiB",
    "max_pixels": "67,108,864",
    "max_pixel_lists": "1,000,000",
    "max_head_bytes": "64 KiB",
}
UNITS = {"MiB": 2**20, "KiB": 2**10}


def number_of(text: str) -> float:
    number, _, unit = text.replace(",", "").partition(" ")
    return float(number) * UNITS.get(unit, 1)


@pytest.mark.parametrize("name", Limits.model_fields)
def test_every_limit_is_documented_with_its_value(name: str) -> None:
    value = getattr(Limits(), name)
    (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{name}`")]
    text = VALUES.get(name, f"{value:g}")
    assert text in row
    assert number_of(text) == value


@pytest.mark.parametrize("name", [*OUTPUTS, *SpecimenVote.__dataclass_fields__])
def test_every_field_of_an_answer_is_documented(name: str) -> None:
    assert f"| `{name}` |" in PAGE
