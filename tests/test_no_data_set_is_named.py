"""One pipeline for every data set: what differs between fossils and fishes is configuration and a reader."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.phantoms.anatomy.forms import FORMS
from components.phantoms.anatomy.growth import GROWTH_RULES
from components.phantoms.fishes.forms import ALL_FISHES

ROOT = Path(__file__).parents[1]
STEPS = [
    folder
    for folder in sorted((ROOT / "components").iterdir())
    if (folder / "component.py").exists() and folder.name != "phantoms"
]
DATA_SETS = ("fish", "foram", "fossil", *FORMS, *GROWTH_RULES, *ALL_FISHES)
DEFAULT_NAMES = {"foraminifera"}
"""What the manifests call the model unless somebody says otherwise."""
NAMED = re.compile("(?<![a-z])(" + "|".join(DATA_SETS) + ")", re.IGNORECASE)


def code_of(path: Path) -> Iterator[str]:
    """Yields the names and texts of a module that are no documentation."""
    tree = ast.parse(path.read_text())
    told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told:
            yield node.value
        yield from (str(getattr(node, field)) for field in ("id", "attr", "name", "arg") if getattr(node, field, None))


@pytest.mark.parametrize("room", [*STEPS, ROOT / "components" / "shared", ROOT / "serving", ROOT / "monitoring"])
def test_no_step_names_a_data_set_or_a_species(room: Path) -> None:
    named = {
        f"{path.relative_to(ROOT)}: {text[:80]}"
        for path in room.rglob("*.py")
        for text in code_of(path)
        if NAMED.search(text) and text not in DEFAULT_NAMES
    }
    assert named == set()


def test_the_pipelines_know_data_sets_only_by_their_presets_and_as_defaults() -> None:
    decided = [
        f"{path.name}: {ast.unparse(node.test)}"
        for path in (ROOT / "pipelines").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.If | ast.IfExp | ast.While) and NAMED.search(ast.unparse(node.test))
    ]
    assert decided == []


def test_the_search_finds_what_it_looks_for(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text('if kind == "fish":\n    channels = 3\n')
    assert any(NAMED.search(text) for text in code_of(tmp_path / "bad.py"))
