"""Fixtures: a healthy cluster behind real HTTP servers, and the examination of a run on it."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components.doctor.connection import connect
from components.doctor.diagnosis import find
from components.doctor.examination import Examination, Server
from components.doctor.findings import Finding
from components.doctor.needs import PodNeeds, RunNeeds
from tests.deploy.kubeconfig import write_kubeconfig
from tests.doctor.api_server import PIPELINES, ApiServer
from tests.doctor.healthy_cluster import NAMESPACE, healthy_cluster
from tests.http_server import http_server


@pytest.fixture
def server() -> ApiServer:
    """Return a cluster that a test may change before it is examined."""
    return healthy_cluster()


@pytest.fixture
def address(server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve the cluster, and set KUBECONFIG to it."""
    with http_server(lambda request: server.respond(request)) as url:
        write_kubeconfig(tmp_path / "kubeconfig", url)
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        yield url


@pytest.fixture
def examination(address: str, server: ApiServer) -> Examination:
    """Return the examination of a run with one training on one GPU."""
    registry = address.removeprefix("http://")
    server.images.add("taxonflow/python-cpu:1")
    image = f"{registry}/taxonflow/python-cpu:1"
    pods = (
        PodNeeds(task="ingest", image=image, cpu="1", memory="1Gi"),
        PodNeeds(task="train", image=image, cpu="8", memory="16Gi", accelerator="nvidia.com/gpu", count=1),
    )
    return Examination(
        connect(),
        NAMESPACE,
        "pipeline-runner",
        NAMESPACE,
        "foraminifera",
        RunNeeds(pods=pods, claims=()),
        Server(f"{address}{PIPELINES}", "token-4711"),
    )


@pytest.fixture
def finding(examination: Examination) -> Callable[..., Finding]:
    """Return a function that gives the finding of one requirement, for the run with other attributes."""

    def find_one(name: str, **changes: Any) -> Finding:
        return find(name, replace(examination, **{"cluster": connect(), **changes}))

    return find_one
