"""Images: they contain the imports of their packages at the locked versions, and do not run as root."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "manifests" / "images"
OWN_PACKAGES = {"components", "pipelines", "serving", "monitoring"}


def pins(file: Path) -> set[str]:
    return set(re.findall(r"^([a-z0-9._-]+==[^ ;\\\n]+)", file.read_text(), re.MULTILINE))


def missing_imports(names: set[str], image: str) -> set[str]:
    """Return the imported packages that an image lacks."""
    packages = {pin.split("==")[0] for pin in pins(IMAGES / f"{image}.txt")}
    distributions = packages_distributions()
    return {
        name
        for name in names - OWN_PACKAGES
        if name in distributions and not {other.lower().replace("_", "-") for other in distributions[name]} & packages
    }


def imported_names(file: Path) -> set[str]:
    """Return the packages that a file imports, inside functions too."""
    return top_level_packages(ast.walk(ast.parse(file.read_text())))


def names_imported_on_load(file: Path) -> set[str]:
    """Return the packages that a file imports when it is loaded."""
    return top_level_packages(ast.parse(file.read_text()).body)


def top_level_packages(nodes: Iterable[ast.AST]) -> set[str]:
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("image", ["components", "training", "serving", "monitoring"])
def test_every_pin_of_an_image_is_in_a_lock_with_hashes(image: str) -> None:
    assert pins(IMAGES / f"{image}.txt") <= pins(ROOT / "requirements.lock") | pins(IMAGES / "cuda.lock")


@pytest.mark.parametrize(
    ("image", "entry_point"), [("serving", "serving.transformer"), ("monitoring", "monitoring.__main__")]
)
def test_an_image_contains_the_imports_of_its_entry_point(image: str, entry_point: str) -> None:
    files = "m.__file__ for m in list(sys.modules.values()) if getattr(m, '__file__', 0)"
    program = f"import sys, {entry_point}; print(*({files}))"
    process = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    paths = [Path(file) for file in process.stdout.split()]
    own_files = [path for path in paths if path.is_relative_to(ROOT) and ".venv" not in path.parts]
    assert len(own_files) > 10
    names: set[str] = set()
    for path in own_files:  # a function of `components.shared` that imports TensorFlow is called by other packages only
        is_shared = path.is_relative_to(ROOT / "components" / "shared")
        names |= names_imported_on_load(path) if is_shared else imported_names(path)
    assert missing_imports(names, image) == set()


def test_the_training_image_contains_the_imports_of_every_step() -> None:
    names = set().union(*(imported_names(path) for path in (ROOT / "components").rglob("*.py")))
    assert missing_imports(names, "training") == set()


@pytest.mark.parametrize("image", ["serving", "monitoring"])
def test_serving_and_monitoring_images_contain_no_tensorflow(image: str) -> None:
    assert not any(pin.startswith(("tensorflow==", "keras==")) for pin in pins(IMAGES / f"{image}.txt"))


def test_the_dockerfile_passes_hadolint() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    process = subprocess.run([hadolint, IMAGES / "Dockerfile"], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout


def test_every_image_runs_as_an_unprivileged_user() -> None:
    stages = re.split(r"^FROM ", (IMAGES / "Dockerfile").read_text(), flags=re.MULTILINE)[1:]
    final = [stage for stage in stages if re.match(r"runtime AS ", stage)]
    assert [stage.split()[2] for stage in final] == ["python-cpu", "python-gpu", "serving", "monitoring"]
    assert all(re.findall(r"^USER (\S+)", stage, re.MULTILINE)[-1:] == ["1000:1000"] for stage in final)


def test_no_lock_contains_a_url() -> None:
    locks = [ROOT / "requirements.lock", *IMAGES.glob("*.txt"), *IMAGES.glob("*.lock"), *IMAGES.glob("*.in")]
    assert [lock.name for lock in locks if "://" in lock.read_text()] == []
