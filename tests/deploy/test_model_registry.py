"""Model Registry: the real client against a server with the registry's REST API."""

import builtins
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from components.deploy.model_registry import Outcome, ServedVersion, record_version, registry_address
from components.deploy.verified_model import VerifiedModel, verify_model
from components.shared.errors import BadConfigError
from tests.deploy.fake_model_registry import FakeModelRegistry, error
from tests.http_server import Request, Response, http_server

pytest.importorskip("model_registry")


@pytest.fixture
def registry() -> FakeModelRegistry:
    return FakeModelRegistry()


@pytest.fixture
def address(registry: FakeModelRegistry) -> Iterator[str]:
    with http_server(registry.respond) as address:
        yield address


@pytest.fixture
def model(artifact: Path) -> VerifiedModel:
    model = verify_model(artifact, "s3://runs/a", "foraminifera")
    return replace(model, card=model.card.model_copy(update={"model_id": "f" * 64}))


def served(version: int, outcome: str, endpoint: str = "lab/forams") -> ServedVersion:
    url = "http://forams-lab.example.org/v1/models/forams:predict"
    return ServedVersion(endpoint, version, f"s3://runs/served/{version}", url, cast(Outcome, outcome))


def test_a_version_is_registered_with_figures_digest_and_address(
    registry: FakeModelRegistry, address: str, model: VerifiedModel
) -> None:
    sentence = record_version(address, model, served(3, "served"))
    assert sentence == f"version 3 of lab/forams is recorded as served in the Model Registry {address}"
    assert [entry["name"] for entry in registry.models.values()] == ["lab/forams"]
    properties = registry.properties("3")
    assert (properties["digest"], properties["model_id"]) == (model.digest, "f" * 64)
    assert properties["address"] == "http://forams-lab.example.org/v1/models/forams:predict"
    assert (properties["accuracy"], properties["gate_threshold"], properties["species"]) == (0.97, 0.95, "2")
    (artifact,) = registry.artifacts.values()
    assert (artifact["uri"], artifact["modelFormatName"]) == ("s3://runs/served/3", "tensorflow")


def test_outcomes_update_one_version_in_place(registry: FakeModelRegistry, address: str, model: VerifiedModel) -> None:
    seen = []
    for outcome in ("canary", "canary", "rolled_back", "served"):
        record_version(address, model, served(1, outcome))
        seen.append(registry.outcomes()["1"])
    assert seen == [("canary", "LIVE"), ("canary", "LIVE"), ("rolled_back", "ARCHIVED"), ("served", "LIVE")]
    assert (len(registry.models), len(registry.versions), len(registry.artifacts)) == (1, 1, 1)
    assert sum(request.method == "PATCH" for request in registry.requests) == 2


def test_only_one_version_of_an_endpoint_is_served(
    registry: FakeModelRegistry, address: str, model: VerifiedModel
) -> None:
    record_version(address, model, served(9, "served", "other/forams"))
    for number, outcome in enumerate(("rolled_back", "served", "served"), 1):
        record_version(address, model, served(number, outcome))
    outcomes = {name: outcome for name, (outcome, _) in registry.outcomes().items()}
    assert outcomes == {"1": "rolled_back", "2": "replaced", "3": "served", "9": "served"}


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (lambda _: error(500), "status 500"),
        (lambda _: error(401), "status 401"),
        (lambda _: error(404), "status 404"),
        (lambda _: Response(200, b"<html>", {"Content-Type": "text/html"}), ""),
        (lambda request: error(503) if request.method == "POST" else None, "status 503"),
    ],
    ids=["500", "401", "other API", "other server", "no writes"],
)
def test_a_registry_that_fails_is_one_sentence(
    registry: FakeModelRegistry,
    address: str,
    model: VerifiedModel,
    failure: Callable[[Request], Response | None],
    reason: str,
) -> None:
    registry.fails_at = failure
    sentence = record_version(address, model, served(1, "canary"))
    assert sentence.startswith(f"version 1 of lab/forams is not recorded as canary in the Model Registry {address} (")
    assert reason in sentence
    assert "\n" not in sentence
    assert len(sentence) < 400


def test_a_registry_that_does_not_exist_is_one_sentence(model: VerifiedModel) -> None:
    sentence = record_version("http://127.0.0.1:9", model, served(1, "served"))
    assert "is not recorded as served" in sentence
    assert "Cannot connect to host 127.0.0.1:9" in sentence


def test_a_registry_that_never_answers_costs_a_bounded_time(
    registry: FakeModelRegistry, address: str, model: VerifiedModel
) -> None:
    registry.fails_at = lambda _request: time.sleep(1.5)  # type: ignore[func-returns-value]
    start = time.monotonic()
    sentence = record_version(address, model, served(1, "served"), timeout_s=0.3)
    assert time.monotonic() - start < 1.4
    assert "no answer in time" in sentence


def test_a_missing_client_is_one_sentence(model: VerifiedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without_client(name: str, *arguments: Any, **options: Any) -> Any:
        if name.startswith("model_registry"):
            raise ModuleNotFoundError(name)
        return original(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without_client)
    sentence = record_version("http://registry:8080", model, served(1, "served"))
    assert "its client is not installed (taxonflow[registry])" in sentence


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("http://registry.kubeflow", "http://registry.kubeflow:8080"),
        ("https://registry.example.org/", "https://registry.example.org:443"),
        (" http://[::1]:80 ", "http://[::1]:80"),
    ],
)
def test_the_port_of_an_address_may_be_omitted(text: str, address: str) -> None:
    assert registry_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "registry:8080",
        "ftp://registry",
        "http://",
        "http://registry:99999",
        "http://registry:x",
        "http://[::1",
        "http://registry/api/model_registry",
        "http://registry?x=1",
        "https://user:secret@registry",
        "",
    ],
)
def test_an_invalid_address_is_refused_without_its_secrets(text: str, model: VerifiedModel) -> None:
    with pytest.raises(BadConfigError, match=r"Model Registry: expected http://host:port") as raised:
        record_version(text, model, served(1, "served"))
    assert "secret" not in str(raised.value)
