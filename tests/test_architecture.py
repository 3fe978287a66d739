"""The house: who may import whom."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("components", "pipelines", "serving", "monitoring")
STEPS = sorted(folder.name for folder in (ROOT / "components").iterdir() if (folder / "component.py").exists())


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: a relative import"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def strangers(folder: str, allowed: tuple[str, ...]) -> list[str]:
    """Lists imports of our own rooms, and of kfp, that a folder may not have."""
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources(folder)
        for name in imported(path)
        if name.split(".")[0] in (*ROOMS, "kfp") and not name.startswith(allowed)
    ]


@pytest.mark.parametrize("step", STEPS)
def test_a_step_imports_only_itself_and_what_is_shared(step: str) -> None:
    allowed = (f"components.{step}", "components.shared", "components.__version__", "kfp")
    assert strangers(f"components/{step}", allowed) == []


@pytest.mark.parametrize("step", STEPS)
def test_only_the_wrapper_of_a_step_knows_kfp(step: str) -> None:
    knowing = [
        path.name
        for path in sources(f"components/{step}")
        if any(name.split(".")[0] == "kfp" for name in imported(path))
    ]
    assert knowing == ["component.py"]


def test_what_is_shared_imports_no_room_and_no_kfp() -> None:
    assert strangers("components/shared", ("components.shared", "components.__version__")) == []


def test_serving_imports_only_what_is_shared() -> None:
    assert strangers("serving", ("serving", "components.shared", "components.__version__")) == []


def test_monitoring_imports_only_what_is_shared() -> None:
    assert strangers("monitoring", ("monitoring", "components.shared", "components.__version__", "kfp")) == []
    knowing = [path.name for path in sources("monitoring") if any(n.split(".")[0] == "kfp" for n in imported(path))]
    assert knowing == ["component.py"]


def test_what_is_compiled_also_runs_where_no_cache_can_be_written() -> None:
    knowing = {path.name for room in ROOMS for path in sources(room) for name in imported(path) if "numba" in name}
    assert knowing == {"compiled.py"}  # which goes on without a cache


def test_nothing_imports_the_tests() -> None:
    assert [
        path for room in ROOMS for path in sources(room) if any(n.startswith("tests") for n in imported(path))
    ] == []


def test_every_step_of_the_design_has_a_room() -> None:
    assert set(STEPS) == {"phantoms", "ingest", "segment", "train", "evaluate", "deploy"}


def test_a_module_of_the_components_holds_either_the_wrapper_or_the_work() -> None:
    wrappers = [*(ROOT / "components" / step / "component.py" for step in STEPS), ROOT / "monitoring" / "component.py"]
    for wrapper in wrappers:
        tree = ast.parse(wrapper.read_text())
        at_the_top = {name for node in tree.body for name in imported_by(node)}
        assert all(name.startswith(("kfp", "typing", "components.shared.container_images")) for name in at_the_top)


def imported_by(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (name.name for name in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield str(node.module)
