"""What an image contains, from the Dockerfile and the list of its packages, and what its programs import."""

import ast
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "manifests" / "images"
OWN_PACKAGES = ("components", "monitoring", "pipelines", "serving")
LISTS = {"python-cpu": "components", "python-gpu": "training", "serving": "serving", "monitoring": "monitoring"}
"""Lists of packages by the image's name."""


def pins(file: Path) -> set[str]:
    """Return `name==version` of each entry of a list."""
    return set(re.findall(r"^([a-z0-9._-]+==[^ ;\\\n]+)", file.read_text(), re.MULTILINE))


def image_pins(image: str) -> set[str]:
    """Return `name==version` of each package of an image."""
    return pins(FOLDER / f"{LISTS[image]}.txt")


def copied_paths(image: str) -> list[str]:
    """Return the files and folders of the repository that an image contains."""
    stages = re.split(r"^FROM ", (FOLDER / "Dockerfile").read_text(), flags=re.MULTILINE)
    (stage,) = [stage for stage in stages if re.match(rf"\S+ AS {image}\n", stage)]
    return re.findall(r"^COPY (?!--from)(\S+) \S+$", stage, re.MULTILINE)


def copy_sources(image: str, target: Path) -> Path:
    """Copy the files that an image contains to a folder, and return it."""
    for path in copied_paths(image):
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / path).is_dir():
            shutil.copytree(ROOT / path, target / path, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / path, target / path)
    return target


@dataclass(frozen=True)
class Import:
    """An import of a module.

    Attributes:
        name: Full name of the imported module.
        importer: Path of the file with the import, inside the repository.
    """

    name: str
    importer: str


def imports_of(module: str) -> tuple[set[Import], set[Import]]:
    """Return the imports of a module and of all own modules that it imports, directly or not.

    Functions of `components.shared` that import a library inside are for steps whose image has it, so that these
    imports count only where the module is of a package in `components` itself.

    Args:
        module: Name of a module with a program or a component.

    Returns:
        Imports of own modules, and of libraries.
    """
    own: set[Import] = set()
    libraries: set[Import] = set()
    pending, seen = [module], set()
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        for one in _imports(_file_of(name)):
            if one.name.partition(".")[0] in OWN_PACKAGES:
                own.add(one)
                pending.append(one.name)
            else:
                libraries.add(one)
    return own, libraries


def _file_of(name: str) -> Path:
    path = ROOT.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def _imports(file: Path) -> tuple[Import, ...]:
    return tuple(_imports_in(file))


def _imports_in(file: Path) -> Iterator[Import]:
    relative = file.relative_to(ROOT)
    tree = ast.parse(file.read_text()) if file.exists() else ast.Module([], [])  # the importer names a missing module
    is_shared = relative.parts[:2] == ("components", "shared")
    for node in _on_load(tree) if is_shared else _all_nodes(tree):
        for name in _names(node):
            yield Import(name, relative.as_posix())
    if file.name == "__init__.py" or relative.parts[0] in OWN_PACKAGES:  # a module loads the packages around it
        for parent in relative.parents[1 if file.name == "__init__.py" else 0 : -1]:
            yield Import(".".join(parent.parts), relative.as_posix())


def _all_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield all nodes but those for type checkers."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield child
            yield from _all_nodes(child)


def _on_load(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that are executed when a module is loaded: none inside functions."""
    for child in ast.iter_child_nodes(node):
        is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if not is_function and not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield child
            yield from _on_load(child)


def _names(node: ast.AST) -> Iterable[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        is_own = node.module.partition(".")[0] in OWN_PACKAGES
        members = [f"{node.module}.{alias.name}" for alias in node.names] if is_own else []
        return [node.module, *(name for name in members if _file_of(name).exists())]
    return []
