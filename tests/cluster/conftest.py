"""Fixtures of the cluster tests: they run in the order of their definition, on one installation."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.deployers import Deployer, DeployPods
from tests.cluster.installation import Installation
from tests.cluster.kubectl import Kubectl
from tests.cluster.kubeflow_runs import KubeflowRuns
from tests.cluster.local_models import RECIPES, SHORT, LocalModel, make_models
from tests.cluster.settings import Settings
from tests.cluster.traffic import Users


@pytest.fixture(scope="session")
def settings() -> Settings:
    """Settings from the environment; without KUBECONFIG the tests are skipped."""
    found = Settings.from_environment()
    if not found.kubeconfig:
        pytest.skip("KUBECONFIG names no cluster")
    return found


@pytest.fixture(scope="session")
def installation(settings: Settings) -> Iterator[Installation]:
    """Installation that is removed at the end, also after a failed test."""
    made = Installation(settings)
    try:
        made.prepare()
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="session")
def kubectl(installation: Installation) -> Kubectl:
    return installation.kubectl


@pytest.fixture(scope="session")
def models(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> dict[str, LocalModel]:
    """Models of local runs: those that are deployed without HOST; with HOST one that brings slices for the users."""
    folder: Path = settings.models or tmp_path_factory.mktemp("models")
    return make_models(folder, {SHORT: RECIPES[SHORT]} if settings.host else RECIPES)


@pytest.fixture(scope="session")
def deployer(request: pytest.FixtureRequest, kubectl: Kubectl, settings: Settings) -> Deployer:
    """Runs of Kubeflow Pipelines, or pods of the tests without HOST."""
    if settings.host:
        return KubeflowRuns(kubectl, settings)
    pods = DeployPods(kubectl, settings, request.getfixturevalue("models"))
    pods.load()
    return pods


@pytest.fixture(scope="session")
def users(kubectl: Kubectl, settings: Settings) -> Users:
    return Users(kubectl, settings)
