"""The images hold what their rooms import, at the versions and hashes of the lock, and nothing runs as root."""

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
OURS = {"components", "pipelines", "serving", "monitoring"}


def pins(file: Path) -> set[str]:
    return set(re.findall(r"^([a-z0-9._-]+==[^ ;\\\n]+)", file.read_text(), re.MULTILINE))


def missing(files: Iterable[Path], image: str) -> set[str]:
    """Returns what the top of these files imports and an image does not hold."""
    installed = {pin.split("==")[0] for pin in pins(IMAGES / f"{image}.txt")}
    found = packages_distributions()
    return {
        name
        for name in set().union(*(imported_names(file) for file in files)) - OURS
        if name in found and not {other.lower().replace("_", "-") for other in found[name]} & installed
    }


def imported_names(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("image", ["components", "training", "serving", "monitoring"])
def test_every_pin_of_an_image_is_in_a_lock_with_hashes(image: str) -> None:
    assert pins(IMAGES / f"{image}.txt") <= pins(ROOT / "requirements.lock") | pins(IMAGES / "cuda.lock")


@pytest.mark.parametrize(
    ("image", "entrance"), [("serving", "serving.transformer"), ("monitoring", "monitoring.__main__")]
)
def test_an_image_holds_what_every_module_that_its_entrance_loads_imports(image: str, entrance: str) -> None:
    program = (
        f"import sys, {entrance}; print(*(m.__file__ for m in list(sys.modules.values()) if getattr(m, '__file__', 0)))"
    )
    loaded = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    ours = [Path(file) for file in loaded.stdout.split() if Path(file).is_relative_to(ROOT) and ".venv" not in file]
    assert len(ours) > 10
    assert missing(ours, image) == set()


def test_the_training_image_holds_what_every_step_imports() -> None:
    assert missing((ROOT / "components").rglob("*.py"), "training") == set()


@pytest.mark.parametrize("image", ["serving", "monitoring"])
def test_images_beside_the_pipeline_carry_no_tensorflow(image: str) -> None:
    assert not any(pin.startswith(("tensorflow==", "keras==")) for pin in pins(IMAGES / f"{image}.txt"))


def test_the_dockerfile_has_no_complaint_of_hadolint() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    checked = subprocess.run([hadolint, IMAGES / "Dockerfile"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_every_image_ends_as_a_user_without_rights() -> None:
    stages = re.split(r"^FROM ", (IMAGES / "Dockerfile").read_text(), flags=re.MULTILINE)[1:]
    final = [stage for stage in stages if re.match(r"runtime AS ", stage)]
    assert [stage.split()[2] for stage in final] == ["python-cpu", "python-gpu", "serving", "monitoring"]
    assert all(re.findall(r"^USER (\S+)", stage, re.MULTILINE)[-1:] == ["1000:1000"] for stage in final)


def test_no_lock_names_an_address() -> None:
    locks = [ROOT / "requirements.lock", *IMAGES.glob("*.txt"), *IMAGES.glob("*.lock"), *IMAGES.glob("*.in")]
    assert [lock.name for lock in locks if "://" in lock.read_text()] == []
