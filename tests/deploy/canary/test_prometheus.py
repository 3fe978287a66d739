"""User metrics from a fake Prometheus over HTTP."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest

from components.deploy.canary.prometheus import Traffic, read_traffic, traffic_violations
from components.shared.errors import DeployError
from tests.deploy.revisions import rollback_to
from tests.http_server import Response, http_server


class Prometheus:
    """Fake Prometheus; `samples` maps a Deployment and a kind of query to a value."""

    def __init__(self) -> None:
        self.samples: dict[tuple[str, str], str] = {}
        self.queries: list[str] = []
        self.address = ""

    def answer(self, query: str) -> dict[str, Any]:
        self.queries.append(query)
        kind = "latency" if "quantile" in query else "errors" if "status" in query else "requests"
        deployment = next(
            (name for name in ("forams-canary-predictor", "forams-predictor") if f'"{name}-' in query), ""
        )
        value = self.samples.get((deployment, kind))
        result = [] if value is None else [{"metric": {}, "value": [1.0, value]}]
        return {"status": "success", "data": {"resultType": "vector", "result": result}}


@pytest.fixture
def prometheus() -> Iterator[Prometheus]:
    fake = Prometheus()
    with http_server(lambda request: Response.of_json(fake.answer(request.query["query"]))) as fake.address:
        yield fake


def test_the_queries_are_promql_for_one_deployments_pods(prometheus: Prometheus) -> None:
    prometheus.samples = {("forams-predictor", "requests"): "1000", ("forams-predictor", "latency"): "NaN"}
    traffic = read_traffic(prometheus.address, "lab", "forams-predictor", 300)
    assert traffic is not None
    assert (traffic.requests, traffic.errors) == (1000, 0)
    assert traffic.latency != traffic.latency
    for query in prometheus.queries:
        promql_parser.parse(query)
        assert 'namespace="lab",pod=~"forams-predictor-[a-z0-9]+-[a-z0-9]+"' in query
        assert "[300000ms]" in query


@pytest.mark.parametrize(
    ("stable", "canary", "violation"),
    [
        (Traffic(9000, 90, 0.05), Traffic(1000, 10, 0.05), ""),
        (Traffic(9000, 90, 0.05), Traffic(1000, 50, 0.05), "users' errors: 50 of 1000"),
        (Traffic(9000, 0, 0.05), Traffic(1000, 10, 0.05), "users' errors: 10 of 1000"),
        (Traffic(9000, 90, 0.05), Traffic(1000, 10, 0.2), "users' latency: the canary's 95th percentile is 200 ms"),
        (Traffic(9000, 90, 0.05), Traffic(20, 0, 0.2), ""),
        (Traffic(0, 0, float("nan")), Traffic(0, 0, float("nan")), ""),
    ],
)
def test_only_a_clearly_worse_canary_is_a_violation(stable: Traffic, canary: Traffic, violation: str) -> None:
    violations = traffic_violations(stable, canary, 1.5)
    assert [text[: len(violation)] for text in violations] == ([violation] if violation else [])


def test_a_canary_that_fails_its_users_is_rolled_back(artifact: Path, deploy: Any, prometheus: Prometheus) -> None:
    deploy(artifact, "pvc://runs/a")
    prometheus.samples = {
        ("forams-predictor", "requests"): "9000",
        ("forams-canary-predictor", "requests"): "960",
        ("forams-canary-predictor", "errors"): "40",
    }
    with rollback_to(1, "users' errors: 40 of 1000"):
        deploy(artifact, "pvc://runs/b", prometheus=prometheus.address, watch_s=0.05)


def test_a_canary_that_serves_its_users_well_is_promoted(artifact: Path, deploy: Any, prometheus: Prometheus) -> None:
    deploy(artifact, "pvc://runs/a")
    prometheus.samples = {(name, "requests"): "1000" for name in ("forams-predictor", "forams-canary-predictor")}
    result = deploy(artifact, "pvc://runs/b", prometheus=prometheus.address, watch_s=0.05)
    assert result.version == 2
    assert "0 of 1000 users' requests to the canary failed" in result.log.events


def test_a_canary_without_users_is_not_said_to_serve_them_well(
    artifact: Path, deploy: Any, prometheus: Prometheus
) -> None:
    deploy(artifact, "pvc://runs/a")
    prometheus.samples = {(name, "requests"): "0" for name in ("forams-predictor", "forams-canary-predictor")}
    events = deploy(artifact, "pvc://runs/b", prometheus=prometheus.address, watch_s=0.05).log.events
    assert any(event.startswith("no user's request reached the canary") for event in events)


@pytest.mark.parametrize("scraped", ["forams-predictor", "forams-canary-predictor", ""])
def test_a_predictor_that_is_not_scraped_is_rolled_back(
    artifact: Path, deploy: Any, prometheus: Prometheus, scraped: str
) -> None:
    deploy(artifact, "pvc://runs/a")
    prometheus.samples = {(scraped, "requests"): "1000"}
    with rollback_to(1, r"has no samples of :tensorflow:serving:request_latency_count for pods of forams-"):
        deploy(artifact, "pvc://runs/b", prometheus=prometheus.address, watch_s=0.05)


def test_a_canary_whose_users_cannot_be_watched_is_not_promoted(artifact: Path, deploy: Any) -> None:
    deploy(artifact, "pvc://runs/a")
    with rollback_to(1, "returns no user metrics"):
        deploy(artifact, "pvc://runs/b", prometheus="http://127.0.0.1:9")


def test_an_unreachable_prometheus_is_a_deploy_error() -> None:
    with pytest.raises(DeployError, match=r"127\.0\.0\.1:9"):
        read_traffic("http://127.0.0.1:9", "lab", "forams-predictor", 300)
