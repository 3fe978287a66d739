"""The architecture: import directions, the size of files and folders, and the English of HOUSE, each as a number."""

import ast
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.style_counts import count, entries, tracked

ROOT = Path(__file__).parents[1]
PACKAGES = ("components", "pipelines", "serving", "monitoring")
STEPS = sorted(folder.name for folder in (ROOT / "components").iterdir() if (folder / "component.py").exists())
WRAPPERS = [*(ROOT / "components" / step / "component.py" for step in STEPS), ROOT / "monitoring" / "component.py"]
MAX_FILE_LINES, MAX_FOLDER_MODULES, MAX_FUNCTION_LINES, MAX_LINE = 350, 16, 60, 120
MAX_README_LINES, MAX_TEST_NAME = 120, 70
Function = ast.FunctionDef | ast.AsyncFunctionDef


def sources(folder: str) -> list[Path]:
    """Return the Python files of a folder and its subfolders."""
    return sorted((ROOT / folder).rglob("*.py"))


def every_source() -> list[Path]:
    """Return the Python files of all packages."""
    return [path for package in PACKAGES for path in sources(package)]


def imports(tree: ast.AST) -> Iterator[str]:
    """Yield the full name of everything that a tree imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"a relative import of {node.module}"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def imports_of(path: Path) -> Iterator[str]:
    """Yield the full name of everything that a file imports, inside functions too."""
    yield from imports(ast.parse(path.read_text()))


def forbidden_imports(folder: str, allowed: tuple[str, ...]) -> list[str]:
    """List imports of own packages and of kfp that a folder may not have."""
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources(folder)
        for name in imports_of(path)
        if name.split(".")[0] in (*PACKAGES, "kfp") and not name.startswith(allowed)
    ]


def module_name(path: Path) -> str:
    """Return the dotted name of a module or package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def module_imports(path: Path, modules: set[str]) -> set[str]:
    """Return the own modules that a file imports when it is loaded: not inside functions."""
    body = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {name for node in body for name in imports(node)}
    return {name if name in modules else name.rpartition(".")[0] for name in names} & modules


def functions(path: Path) -> Iterator[Function]:
    """Yield every function and method of a file."""
    yield from (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, Function))


@pytest.mark.parametrize("step", [step for step in STEPS if step != "parameters"])  # it checks those of all steps
def test_a_step_imports_only_itself_and_shared(step: str) -> None:
    others = ("components.deploy.kserve",) if step == "doctor" else ()  # it asks for what that step creates
    allowed = (f"components.{step}", "components.shared", "components.__version__", "kfp", *others)
    assert forbidden_imports(f"components/{step}", allowed) == []


def test_only_component_modules_import_kfp_in_steps_and_monitoring() -> None:
    files = [path for folder in ("components", "monitoring", "serving") for path in sources(folder)]
    assert [
        path for path in files if path not in WRAPPERS and any(n.split(".")[0] == "kfp" for n in imports_of(path))
    ] == []


@pytest.mark.parametrize(
    ("folder", "allowed"),
    [
        ("components/shared", ()),
        ("serving", ("serving",)),
        ("monitoring", ("monitoring", "kfp")),
    ],
)
def test_a_package_imports_only_itself_and_shared(folder: str, allowed: tuple[str, ...]) -> None:
    assert forbidden_imports(folder, (*allowed, "components.shared", "components.__version__")) == []


def test_only_compiled_imports_numba() -> None:
    """`compiled.py` falls back to no cache where none can be written."""
    assert {path.name for path in every_source() if any("numba" in name for name in imports_of(path))} == {
        "compiled.py"
    }


def test_no_source_imports_the_tests() -> None:
    assert [path for path in every_source() if any(name.startswith("tests") for name in imports_of(path))] == []


def test_no_modules_import_one_another_in_a_cycle() -> None:
    names = {module_name(path): path for path in every_source()}
    graph = {name: module_imports(path, set(names)) - {name} for name, path in names.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(error.args[1])}")


def test_every_step_of_the_pipeline_has_a_package() -> None:
    steps = ("doctor", "parameters", "phantoms", "ingest", "segment", "train", "evaluate", "deploy")
    assert set(STEPS) == set(steps)


def test_a_component_module_holds_only_the_kfp_wrapper() -> None:
    for wrapper in WRAPPERS:
        tree = ast.parse(wrapper.read_text())
        names = {name for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom) for name in imports(node)}
        assert all(name.startswith(("kfp", "typing", "components.shared.container_images")) for name in names)


def test_no_file_is_longer_than_350_lines() -> None:
    paths = [ROOT / path for path in tracked(*PACKAGES, "tests") if path.suffix == ".py"]
    assert {path.name: lines for path in paths if (lines := len(path.read_text().splitlines())) > MAX_FILE_LINES} == {}


def test_no_folder_holds_more_than_16_modules() -> None:
    modules = Counter(path.parent for path in every_source() if path.name != "__init__.py")
    assert {str(folder): number for folder, number in modules.items() if number > MAX_FOLDER_MODULES} == {}


def test_nothing_is_defined_after_the_start_of_a_program() -> None:
    for path in [*every_source(), *sources("scripts")]:
        statements = ast.parse(path.read_text()).body
        starts = [n for n, line in enumerate(statements) if ast.unparse(line).startswith("if __name__ == '__main__'")]
        assert starts in ([], [len(statements) - 1]), f"{path} defines something after the start of its program"


def test_no_module_is_called_utils() -> None:
    assert [path for path in every_source() if path.stem in ("utils", "util", "helpers", "common", "misc")] == []


def test_no_function_is_longer_than_60_lines() -> None:
    sizes = {
        f"{path.name}:{node.name}": node.end_lineno - node.lineno + 1
        for path in every_source()
        for node in functions(path)
        if node.end_lineno is not None
    }
    pipelines = {name for name in sizes if name.startswith(("training.py:", "drift.py:"))}  # kfp's parameters and docs
    assert {name: size for name, size in sizes.items() if size > MAX_FUNCTION_LINES and name not in pipelines} == {}


def test_no_function_is_nested_but_decorated_ones() -> None:
    nested = [
        f"{path.name}:{outer.name}.{inner.name}"
        for path in every_source()
        for outer in functions(path)
        for inner in ast.walk(outer)
        if isinstance(inner, Function) and inner is not outer and not inner.decorator_list
    ]
    assert nested == []


def test_a_module_that_is_run_defines_all_before_it_starts() -> None:
    late = []
    for path in (*every_source(), *sources("tests")):
        body = ast.parse(path.read_text()).body
        starts = [node.lineno for node in body if isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)]
        late += [f"{path.relative_to(ROOT)}:{node.lineno}" for node in body if starts and node.lineno > starts[0]]
    assert late == []


def test_names_of_tests_are_short_sentences() -> None:
    names = {node.name for path in sources("tests") for node in functions(path) if node.name.startswith("test_")}
    assert sorted(name for name in names if len(name) > MAX_TEST_NAME) == []


def test_tests_import_no_private_names() -> None:
    private = [
        f"{path.name}: {name}"
        for path in sources("tests")
        for name in imports_of(path)
        if name.startswith(PACKAGES) and any(part.startswith("_") and part[1:2] != "_" for part in name.split("."))
    ]
    assert private == []


def test_readme_is_short_and_documents_have_short_lines() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= MAX_README_LINES
    documents = [path for path in tracked() if path.suffix == ".md" and path.name not in ("FIGURES.md",)]
    long_lines = [
        f"{path}:{number}"
        for path in documents
        for number, line in enumerate((ROOT / path).read_text().splitlines(), start=1)
        if len(line) > MAX_LINE and not line.startswith(("|", "[", "!", "curl"))
    ]
    assert long_lines == []


@pytest.mark.parametrize(("name", "limit"), [("words", 19), ("summaries", 0), ("participles", 19)])
def test_sources_and_documents_keep_to_plain_english(name: str, limit: int) -> None:
    places = count(name, *PACKAGES, "manifests", "docs", "README.md", "CONTRIBUTING.md", "Makefile")
    assert len(places) <= limit, places


def test_entries_of_docstrings_can_be_read_alone() -> None:
    python = [path for path in tracked(*PACKAGES) if path.suffix == ".py"]
    total = sum(1 for path in python for _ in entries(path))
    assert len(count("fragments", *PACKAGES)) <= 0.02 * total
