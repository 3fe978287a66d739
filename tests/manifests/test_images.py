"""The images hold what their rooms import, at the versions and hashes of the lock, and nothing runs as root."""

import ast
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "manifests" / "images"
ROOMS = {
    "training": ("components",),
    "monitoring": ("components/shared", "monitoring"),
}
TENSORFLOW_MODULES = ("slices.py", "preprocessing.py")


def pins(file: Path) -> set[str]:
    return set(re.findall(r"^([a-z0-9._-]+==[^ ;\\\n]+)", file.read_text(), re.MULTILINE))


def imported_distributions(folder: Path) -> set[str]:
    """Returns the distributions that a folder's modules import, by canonical name; those without a distribution not."""
    names: set[str] = set()
    for file in folder.rglob("*.py"):
        if folder.name == "shared" and file.name in TENSORFLOW_MODULES:
            continue  # serving and monitoring never import these: tests/test_house.py
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.split(".")[0])
    found = packages_distributions()
    return {found[name][0].lower().replace("_", "-") for name in names if name in found and name not in OURS}


OURS = {"components", "pipelines", "serving", "monitoring"}


@pytest.mark.parametrize("image", ["components", "training", "serving", "monitoring"])
def test_every_pin_of_an_image_is_in_a_lock_with_hashes(image: str) -> None:
    assert pins(IMAGES / f"{image}.txt") <= pins(ROOT / "requirements.lock") | pins(IMAGES / "cuda.lock")


def test_the_serving_image_holds_all_that_the_transformer_loads() -> None:
    program = "import sys, serving.transformer; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    found = packages_distributions()
    wanted = {found[name][0].lower().replace("_", "-") for name in loaded.stdout.split() if name in found}
    installed = {pin.split("==")[0] for pin in pins(IMAGES / "serving.txt")}
    assert wanted - installed - {"setuptools", "taxonflow"} == set()


@pytest.mark.parametrize("image", ["training", "monitoring"])
def test_an_image_holds_every_distribution_that_its_rooms_import(image: str) -> None:
    installed = {pin.split("==")[0] for pin in pins(IMAGES / f"{image}.txt")}
    wanted = set().union(*(imported_distributions(ROOT / room) for room in ROOMS[image]))
    assert wanted - installed == set()


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
