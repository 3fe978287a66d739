"""Object stores on this machine or in the cluster are read without the proxy of the environment."""

import pytest

from components.ingest.sources import open_source, retries
from components.ingest.sources.manifest import list_scans
from components.shared.errors import TaxonflowError


@pytest.mark.usefixtures("store_environment")
@pytest.mark.parametrize("scheme", ["s3", "minio"])
def test_a_store_on_this_machine_is_read_without_the_proxy(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setattr(retries, "FIRST_DELAY_S", 0.01)
    for variable in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    failure = ""
    try:
        assert list_scans(open_source(f"{scheme}://lab/set")).scans
    except TaxonflowError as error:
        failure = str(error)
    assert not failure
