"""Each image contains the modules and the packages that its programs and components import, also inside functions."""

import ast
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from components.shared.container_images import IMAGE_NAMES
from tests.images.image_contents import LISTS, ROOT, Import, copied_paths, image_pins, imports_of

NVIDIA = "nvidia-"
ENTRY_POINTS = {"serving": ("serving.transformer",), "monitoring": ("monitoring.__main__",)}
IMAGES = {"COMPONENT_IMAGE": "python-cpu", "TRAINING_IMAGE": "python-gpu", "MONITORING_IMAGE": "monitoring"}
DISTRIBUTIONS = packages_distributions()


def component_modules() -> dict[str, set[str]]:
    """Return the modules with components of each image; trainings without GPUs run in python-cpu."""
    modules: dict[str, set[str]] = {name: set(ENTRY_POINTS.get(name, ())) for name in IMAGE_NAMES}
    for file in [*ROOT.glob("components/**/component.py"), *ROOT.glob("monitoring/**/component.py")]:
        constants = {node.id for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Name)}
        module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        for constant in constants & IMAGES.keys():
            modules[IMAGES[constant]].add(module)
    modules["python-cpu"] |= modules["python-gpu"]
    return modules


MODULES = component_modules()
CASES = [(image, module) for image, names in MODULES.items() for module in sorted(names)]


def is_contained(one: Import, paths: list[str]) -> bool:
    file = Path(*one.name.split("."))
    places = (file.with_suffix(".py").as_posix(), f"{file.as_posix()}/__init__.py")
    return any(place == path or place.startswith(f"{path}/") for path in paths for place in places)


def test_every_component_and_program_is_examined() -> None:
    assert sum(map(len, MODULES.values())) > 8
    assert all(MODULES.values())


@pytest.mark.parametrize(("image", "module"), CASES)
def test_an_image_contains_the_own_modules_that_it_imports(image: str, module: str) -> None:
    own, _ = imports_of(module)
    missing = sorted(f"{one.importer}: {one.name}" for one in own if not is_contained(one, copied_paths(image)))
    assert missing == []


@pytest.mark.parametrize(("image", "module"), CASES)
def test_an_image_contains_the_packages_that_it_imports(image: str, module: str) -> None:
    names = {pin.partition("==")[0] for pin in image_pins(image)}
    missing = set()
    for one in imports_of(module)[1]:
        package = one.name.partition(".")[0]
        if package in sys.stdlib_module_names:
            continue
        providers = {provider.lower().replace("_", "-") for provider in DISTRIBUTIONS.get(package, [])}
        if not providers & names:
            missing.add(f"{one.importer}: {package} of {', '.join(sorted(providers)) or 'no installed package'}")
    assert missing == set()


def test_the_lists_of_the_steps_differ_in_cuda_alone() -> None:
    cpu, gpu = image_pins("python-cpu"), image_pins("python-gpu")
    assert cpu <= gpu
    assert {pin for pin in gpu - cpu if not pin.startswith(NVIDIA)} == set()
    assert not any(pin.startswith(NVIDIA) for pin in cpu)


def test_every_image_has_a_list() -> None:
    assert tuple(LISTS) == IMAGE_NAMES
