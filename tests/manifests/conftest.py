"""Fixtures: the manifests as built by kubectl."""

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
    return run_kustomize(MANIFESTS / name)


def run_kustomize(folder: Path) -> str:
    search = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kubectl = shutil.which("kubectl", path=search)
    assert kubectl is not None, "kubectl is missing: install the development dependencies"
    process = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    assert not process.stderr, process.stderr
    return process.stdout


@pytest.fixture(params=BUILDS)
def documents(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """Return the documents of the base and of each overlay."""
    return list(yaml.safe_load_all(build(request.param)))


@pytest.fixture
def kustomize() -> Callable[[Path], list[dict[str, Any]]]:
    """Return a function that builds the documents of any folder."""
    return lambda folder: list(yaml.safe_load_all(run_kustomize(folder)))


@pytest.fixture
def documents_of() -> Callable[[str], list[dict[str, Any]]]:
    return lambda name: list(yaml.safe_load_all(build(name)))


def pod_specs(documents: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the pod specs of the documents; an InferenceService may name its container `model`."""
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
    """Pod specs by kind and name of their owner."""
    return dict(pod_specs(documents))
