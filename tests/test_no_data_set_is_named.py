"""One pipeline for all data sets: fossils and fishes differ in configuration and in the kind of source file only."""

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
"""The default name of the model in the manifests."""
DATA_SET_NAME = re.compile("(?<![a-z])(" + "|".join(DATA_SETS) + ")", re.IGNORECASE)


def code_of(path: Path) -> Iterator[str]:
    """Yield the names and texts of a module except its documentation."""
    tree = ast.parse(path.read_text())
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value
        yield from (str(getattr(node, field)) for field in ("id", "attr", "name", "arg") if getattr(node, field, None))


@pytest.mark.parametrize("package", [*STEPS, ROOT / "components" / "shared", ROOT / "serving", ROOT / "monitoring"])
def test_no_step_names_a_data_set_or_a_species(package: Path) -> None:
    violations = {
        f"{path.relative_to(ROOT)}: {text[:80]}"
        for path in package.rglob("*.py")
        for text in code_of(path)
        if DATA_SET_NAME.search(text) and text not in DEFAULT_NAMES
    }
    assert violations == set()


def test_no_pipeline_branches_on_the_name_of_a_data_set() -> None:
    branches = [
        f"{path.name}: {ast.unparse(node.test)}"
        for path in (ROOT / "pipelines").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.If | ast.IfExp | ast.While) and DATA_SET_NAME.search(ast.unparse(node.test))
    ]
    assert branches == []


def test_the_search_finds_a_data_set_name_in_a_condition(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text('if kind == "fish":\n    channels = 3\n')
    assert any(DATA_SET_NAME.search(text) for text in code_of(tmp_path / "bad.py"))
