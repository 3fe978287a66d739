"""The guide names every requirement and every variable."""

import re
from pathlib import Path

from components.doctor.requirements import CHECKS, meaning

GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "doctor.md").read_text()


def test_the_guide_lists_every_requirement() -> None:
    rows = [line for line in GUIDE.splitlines() if re.fullmatch(r"\| .* \| (yes|no) \|", line)]
    answers = {True: "yes", False: "no"}
    assert rows == [f"| {check.name} | {meaning(check)} | {answers[check.is_required]} |" for check in CHECKS]


def test_names_of_requirements_are_different_and_short() -> None:
    names = [check.name for check in CHECKS]
    assert len(set(names)) == len(names)
    assert max(map(len, names)) < 20
