"""`minio://` is Kubeflow's store with the keys of its secret; requests are signed for the user's region."""

from typing import Any

import pytest

from components.ingest.sources import open_source, retries
from components.ingest.sources.manifest import list_scans
from components.shared import object_stores
from components.shared.errors import TaxonflowError
from tests.http_server import Request, Response, http_server


def reading_error(address: str) -> str:
    """Return the message with which a source is refused, or an empty one."""
    try:
        list_scans(open_source(address))
    except TaxonflowError as error:
        return str(error)
    return ""


@pytest.fixture
def only_kubeflow_keys(store: Any, store_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    """Set the keys of Kubeflow's store, and no endpoint of a user's store."""
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setattr(object_stores, "KUBEFLOW_STORE", store.endpoint, raising=False)
    monkeypatch.setenv("KUBEFLOW_STORE_ACCESS_KEY", "lab")
    monkeypatch.setenv("KUBEFLOW_STORE_SECRET_KEY", store.secret)


@pytest.mark.usefixtures("only_kubeflow_keys")
@pytest.mark.parametrize("user", [{}, {"AWS_ACCESS_KEY_ID": "of another store", "AWS_SECRET_ACCESS_KEY": "x"}])
def test_minio_is_read_with_the_keys_of_kubeflow(user: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_DELAY_S", 0.01)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name, value in user.items():
        monkeypatch.setenv(name, value)
    assert reading_error("minio://lab/set") == ""


@pytest.mark.usefixtures("store_environment")
def test_a_users_store_and_its_keys_override_those_of_kubeflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBEFLOW_STORE_ACCESS_KEY", "unknown")
    monkeypatch.setenv("KUBEFLOW_STORE_SECRET_KEY", "unknown")
    assert reading_error("minio://lab/set") == ""


def test_the_default_store_is_that_of_kubeflow_since_2_16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_DELAY_S", 0.01)
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    source = vars(open_source("minio://lab/set"))["_store"]
    assert source.endpoint_url == "http://seaweedfs.kubeflow:9000"


@pytest.mark.parametrize("variable", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_requests_are_signed_for_the_users_region(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    signatures: list[str] = []

    def respond(request: Request) -> Response:
        signatures.append(request.headers.get("authorization", ""))
        return Response(403)

    monkeypatch.setattr(retries, "FIRST_DELAY_S", 0.01)
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    with http_server(respond) as url:
        values = {"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
        for name, value in {**values, variable: "eu-west-9"}.items():
            monkeypatch.setenv(name, value)
        assert "access denied" in reading_error("s3://lab/set")
    assert signatures
    assert all("/eu-west-9/s3/" in signature for signature in signatures)
