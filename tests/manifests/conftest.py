"""Fixtures: the manifests as built by kubectl."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.manifests.endpoint import patched_service, pods_of_service

MANIFESTS = Path(__file__).parents[2] / "manifests"
BUILDS = ("base", "overlays/kind", "overlays/production")


@cache
def build_output(name: str) -> str:
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
    return list(yaml.load_all(build_output(request.param), yaml.CSafeLoader))


@pytest.fixture
def kustomize() -> Callable[[Path], list[dict[str, Any]]]:
    """Return a function that builds the documents of any folder."""
    return lambda folder: list(yaml.load_all(run_kustomize(folder), yaml.CSafeLoader))


@pytest.fixture
def copied_manifests() -> Callable[[Path], Path]:
    """Return a function that copies the manifests into a folder and returns the copy."""
    return lambda folder: Path(shutil.copytree(MANIFESTS, folder / "manifests"))


@pytest.fixture
def documents_of() -> Callable[[str], list[dict[str, Any]]]:
    return lambda name: list(yaml.load_all(build_output(name), yaml.CSafeLoader))


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    """Return a function that builds a copy of the manifests with a further overlay of components."""

    def build_overlay(overlay: str, *components: str, digests: str = "") -> list[dict[str, Any]]:
        copy = tmp_path / "manifests"
        shutil.copytree(MANIFESTS, copy, dirs_exist_ok=True)
        if digests:
            (copy / "components" / "image-digests" / "kustomization.yaml").write_text(digests)
        folder = copy / "overlays" / "test"
        folder.mkdir(exist_ok=True)
        document = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [f"../../{overlay}"],
            "components": [f"../../components/{name}" for name in components],
        }
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(document))
        return list(yaml.load_all(run_kustomize(folder), yaml.CSafeLoader))

    return build_overlay


@pytest.fixture
def service(documents: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the InferenceService that the deploy step makes with the endpoint patches of a build."""
    return patched_service(documents)


@pytest.fixture
def pods(documents: list[dict[str, Any]], service: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the pod specs of a build by kind and name of their owner, with those of the InferenceService."""
    owners = [document for document in documents if "template" in document.get("spec", {})]
    specs = {
        f"{document['kind']}/{document['metadata']['name']}": document["spec"]["template"]["spec"]
        for document in owners
    }
    of_service = {f"InferenceService/{name}": pod for name, pod in pods_of_service(service).items()}
    return {**specs, **of_service}
