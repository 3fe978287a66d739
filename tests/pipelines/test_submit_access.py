"""Installations of several kinds: with and without profiles, paths, proxies, certificates of an own authority."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from components.shared.errors import BadConfigError, TaxonflowError
from pipelines.kubeflow.client import Credentials, Kubeflow, PipelineVersion
from pipelines.kubeflow.host import find_server
from pipelines.submit import main
from tests.http_server import http_server
from tests.own_authority import server_context
from tests.pipelines.fake_kubeflow import FakeKubeflow, respond, running_kubeflow

HTML = (200, "text/html", "<html>")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("kfp.Client._LOCAL_KFP_CONTEXT", str(tmp_path / "context.json"))
    for name in ("KUBEFLOW_TOKEN", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def kubeflow() -> Iterator[FakeKubeflow]:
    with running_kubeflow() as fake:
        yield fake


def upload(host: str, credentials: Credentials, version: str = "1") -> tuple[str, str]:
    return Kubeflow(host, credentials).upload(PipelineVersion("training", version, "text", "What it does."))


def test_a_second_upload_in_a_profile_uses_its_pipeline(kubeflow: FakeKubeflow) -> None:
    kubeflow.has_profiles = True
    identifiers = [upload(kubeflow.url, Credentials(namespace="lab"), version) for version in ("1", "1", "2")]
    assert [pipeline["namespace"] for pipeline in kubeflow.pipelines] == ["lab"]
    versions = ["pipeline_version-1", "pipeline_version-1", "pipeline_version-2"]
    assert identifiers == [("pipeline-1", version) for version in versions]


def test_each_profile_has_its_own_pipeline(kubeflow: FakeKubeflow) -> None:
    kubeflow.has_profiles = True
    kubeflow.keep(kubeflow.pipelines, "pipeline", {"display_name": "training", "namespace": ""})
    identifiers = [upload(kubeflow.url, Credentials(namespace=user))[0] for user in ("lab", "museum")]
    assert [pipeline["namespace"] for pipeline in kubeflow.pipelines] == ["", "lab", "museum"]
    assert identifiers == ["pipeline-2", "pipeline-3"]


def test_pipeline_and_version_have_the_description(kubeflow: FakeKubeflow) -> None:
    upload(kubeflow.url, Credentials())
    descriptions = [item["description"] for item in (*kubeflow.pipelines, *kubeflow.versions)]
    assert descriptions == ["What it does.", "What it does."]


def test_profiles_without_a_namespace_are_bad_input(kubeflow: FakeKubeflow) -> None:
    kubeflow.has_profiles = True
    with pytest.raises(BadConfigError, match="Set NAMESPACE"):
        Kubeflow(kubeflow.url, Credentials())


def test_a_namespace_is_left_out_where_there_are_no_profiles(
    kubeflow: FakeKubeflow, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--host", kubeflow.url, "--preset", "smoke", "--namespace", "kubeflow"]) == 0
    error = capsys.readouterr().err
    assert (error.count("\n"), "has no profiles" in error) == (1, True)
    assert [run["experiment_id"] for run in kubeflow.runs] == ["experiment-1"]


@pytest.mark.parametrize("path", ["", "/pipeline"])
@pytest.mark.parametrize("typed", ["", "/", "/pipeline", "/pipeline/"])
@pytest.mark.parametrize("elsewhere", [HTML, (404, "text/plain", ""), (403, "text/plain", "RBAC"), (302, "", "/dex")])
def test_the_path_of_the_api_is_found(
    kubeflow: FakeKubeflow, path: str, typed: str, elsewhere: tuple[int, str, str]
) -> None:
    address = kubeflow.url.removesuffix("/pipeline")
    kubeflow.path, kubeflow.elsewhere = path, elsewhere
    assert find_server(f"{address}{typed}", Credentials()).url == f"{address}{path}"


@pytest.mark.parametrize("answer", [(401, "text/plain", "Jwt is missing"), (302, "text/html", "/dex/auth")])
def test_a_missing_token_is_said_with_the_command_for_one(kubeflow: FakeKubeflow, answer: tuple[int, str, str]) -> None:
    kubeflow.elsewhere, kubeflow.instead["/healthz"] = HTML, answer
    with pytest.raises(TaxonflowError, match="kubectl -n lab create token default-editor"):
        find_server(kubeflow.url.removesuffix("/pipeline"), Credentials(namespace="lab"))


@pytest.mark.parametrize("answer", [HTML, (200, "application/json", "[]"), (404, "text/plain", "")])
def test_a_host_that_is_no_kubeflow_is_refused(kubeflow: FakeKubeflow, answer: tuple[int, str, str]) -> None:
    kubeflow.elsewhere = kubeflow.instead["/healthz"] = answer
    with pytest.raises(TaxonflowError, match=r"port-forward|host's path"):
        find_server(kubeflow.url, Credentials())


def test_the_proxy_of_the_environment_is_used(kubeflow: FakeKubeflow, monkeypatch: pytest.MonkeyPatch) -> None:
    with http_server(partial(respond, kubeflow)) as proxy:  # a proxy's request has the whole address as its target
        monkeypatch.setenv("HTTP_PROXY", proxy)
        assert upload("http://kubeflow.example.org/pipeline", Credentials()) == ("pipeline-1", "pipeline_version-1")


def test_no_proxy_and_addresses_of_this_machine_are_direct(
    kubeflow: FakeKubeflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert upload(kubeflow.url, Credentials()) == ("pipeline-1", "pipeline_version-1")
    monkeypatch.setenv("HTTP_PROXY", kubeflow.url.removesuffix("/pipeline"))
    monkeypatch.setenv("NO_PROXY", "kubeflow.invalid")
    requests = len(kubeflow.requests)
    with pytest.raises(TaxonflowError, match="cannot be reached"):
        find_server("http://kubeflow.invalid", Credentials())
    assert len(kubeflow.requests) == requests


def test_a_proxy_that_is_not_http_is_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://user:secret@127.0.0.1:9")
    with pytest.raises(BadConfigError, match="socks5") as error:
        find_server("https://kubeflow.example.org", Credentials())
    assert "secret" not in str(error.value)


def test_the_certificates_of_an_own_authority_are_trusted(tmp_path: Path) -> None:
    with running_kubeflow(server_context(tmp_path)) as kubeflow:
        with pytest.raises(TaxonflowError, match="Set CA"):
            find_server(kubeflow.url, Credentials())
        assert main(["--host", kubeflow.url, "--preset", "smoke", "--ca", str(tmp_path / "ca.pem")]) == 0
        assert len(kubeflow.runs) == 1


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_an_unusable_file_of_certificates_is_bad_input(
    kubeflow: FakeKubeflow, tmp_path: Path, content: str | None
) -> None:
    if content:
        (tmp_path / "ca.pem").write_text(content)
    with pytest.raises(BadConfigError, match=r"ca\.pem"):
        find_server(kubeflow.url, Credentials(authority=tmp_path / "ca.pem"))
