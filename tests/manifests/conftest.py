"""The manifests as kubectl builds them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

MANIFESTS = Path(__file__).parents[2] / "manifests"
BUILDS = ("base", "overlays/kind", "overlays/production")


@cache
def build(name: str) -> str:
    return kustomized(MANIFESTS / name)


def kustomized(folder: Path) -> str:
    search = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kubectl = shutil.which("kubectl", path=search)
    assert kubectl is not None, "kubectl is missing: the development dependencies bring it"
    built = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert not built.stderr, built.stderr
    return built.stdout


@pytest.fixture(params=BUILDS)
def documents(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """The documents of the base and of each overlay."""
    return list(yaml.safe_load_all(build(request.param)))


@pytest.fixture
def kustomize() -> Callable[[Path], list[dict[str, Any]]]:
    """Returns a function that builds the documents of any folder."""
    return lambda folder: list(yaml.safe_load_all(kustomized(folder)))


@pytest.fixture
def documents_of() -> Callable[[str], list[dict[str, Any]]]:
    return lambda name: list(yaml.safe_load_all(build(name)))


def pod_specs(documents: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields what becomes a pod's spec; the InferenceService's containers may be called `model`."""
    for document in documents:
        where = f"{document['kind']}/{document['metadata']['name']}"
        if document["kind"] == "InferenceService":
            predictor, transformer = document["spec"]["predictor"], document["spec"]["transformer"]
            yield f"{where}/predictor", {**predictor, "containers": [predictor["model"]]}
            yield f"{where}/transformer", transformer
        elif "template" in document.get("spec", {}):
            yield where, document["spec"]["template"]["spec"]


@pytest.fixture
def pods(documents: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Pod specs by what they belong to."""
    return dict(pod_specs(documents))
