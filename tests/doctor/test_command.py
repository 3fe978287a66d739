"""`python -m pipelines.doctor`: lines, exit code, and one sentence where no cluster can be asked."""

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf.json_format import MessageToDict

from components.doctor.needs import RunNeeds
from pipelines.doctor import main, needs_of_run
from pipelines.presets import load_preset
from pipelines.resources import cpu_resources
from pipelines.submit import select_pipeline
from pipelines.training import build_pipelines
from tests.doctor.api_server import PIPELINES, ApiServer
from tests.doctor.healthy_cluster import CORE, KSERVE
from tests.http_server import http_server
from tests.own_authority import server_context

IMAGES = [f"docker.io/taxonflow/{name}:0.1.0" for name in ("python-cpu", "python-gpu", "serving")]

REST = ("fish", "fish-sample", "fossil", "sample")


@pytest.fixture
def images_on_node(server: ApiServer) -> None:
    server.objects[f"{CORE}/nodes/worker"]["status"]["images"] = [{"names": IMAGES}]


def write_config(path: Path, **changes: Any) -> None:
    config = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**config, **changes}))


@pytest.mark.usefixtures("images_on_node")
def test_lines_begin_with_what_is_asked_and_end_with_the_verdict(
    address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--host", f"{address}{PIPELINES}", "--preset", "smoke"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("doctor: context fake, namespace kubeflow, account pipeline-runner")
    assert lines[0].endswith(f"endpoint kubeflow/foraminifera, preset smoke, host {address}{PIPELINES}")
    assert lines[2].split() == ["met", "kubernetes", "version", "v1.34.4"]
    assert lines[-1] == "A run would succeed, as far as seen."


@pytest.mark.usefixtures("images_on_node")
def test_host_is_found_without_its_path_as_for_submit(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--host", address, "--preset", "smoke"]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert f"{address}{PIPELINES}, version 2.17.0, single-user" in output


@pytest.mark.usefixtures("address")
@pytest.mark.parametrize(
    ("option", "value", "part"),
    [
        ("--host", "kubeflow.example.org", "a URL such as https://"),
        ("--host", "http://[bad", "a URL such as https://"),
        ("--ca", "/absent.pem", "the certificates of the file /absent.pem cannot be used"),
        ("--namespace", "a/../b", "small letters, digits"),
        ("--service-account", "An account", "small letters, digits"),
        ("--monitored-models", "Bad Name/..", "the name of a PersistentVolumeClaim"),
    ],
)
def test_an_invalid_option_is_one_sentence(
    option: str, value: str, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    host = [] if option == "--host" else ["--host", "https://127.0.0.1:9"]
    assert main([*host, option, value]) == 1
    output = capsys.readouterr()
    assert (output.out, output.err.count("\n")) == ("", 1)
    assert part in output.err


@pytest.mark.usefixtures("images_on_node", "address")
def test_exit_code_is_1_where_a_run_would_fail(server: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    del server.objects[f"{KSERVE}/v1beta1"]
    assert main(["--preset", "smoke"]) == 1
    out = capsys.readouterr().out
    assert "\nnot met      kserve " in out
    assert out.rstrip().endswith("A run would fail. Not met: kserve.")


@pytest.mark.usefixtures("images_on_node", "address")
def test_what_is_hidden_or_not_required_fails_no_run(server: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.denied.update({f"{CORE}/pods", "/apis/networking.k8s.io"})
    assert main(["--preset", "smoke"]) == 0
    out = capsys.readouterr().out
    assert "\n                                 # an administrator: kubectl get networkpolicies" in out
    assert "Not allowed to look: store access." in out


@pytest.mark.parametrize(
    "name", [pytest.param("smoke"), *(pytest.param(name, marks=pytest.mark.slow) for name in REST)]
)
def test_needs_are_the_constant_of_the_compiled_task(name: str) -> None:
    preset = load_preset(name)
    pipeline, _ = select_pipeline(preset, {} if preset.phantoms else {"volumes": "x"})
    specification = build_pipelines(preset.resources, "taxonflow-models")[pipeline].pipeline_spec
    constant = specification.root.dag.tasks["doctor"].inputs.parameters["needs"].runtime_value.constant
    needs = needs_of_run(preset, preset.resources, "taxonflow-models")
    assert needs == RunNeeds.model_validate(MessageToDict(constant))
    executors = MessageToDict(specification)["deploymentSpec"]["executors"].values()
    assert {executor["container"]["image"] for executor in executors} == {pod.image for pod in needs.pods}


def test_resources_of_cpus_need_no_accelerator() -> None:
    preset = load_preset("fossil")
    assert {pod.count for pod in needs_of_run(preset, cpu_resources(preset.resources), "").pods} == {0}
    assert max(pod.count for pod in needs_of_run(preset, preset.resources, "").pods) == 1


def test_a_claim_of_the_monitor_is_a_need() -> None:
    preset = load_preset("smoke")
    assert "taxonflow-models" in needs_of_run(preset, preset.resources, "taxonflow-models").claims


def test_without_a_kubeconfig_there_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))
    assert main([]) == 1
    output = capsys.readouterr()
    assert (output.out, output.err.count("\n")) == ("", 1)
    assert output.err.startswith(f"no cluster is configured: {tmp_path / 'absent'} cannot be used")


@pytest.mark.parametrize(
    "text", ["[]", "{", "a", "current-context: x", "contexts: [{name: x}]\ncurrent-context: x", ""]
)
def test_a_broken_kubeconfig_is_one_sentence(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config").write_text(text)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    assert main([]) == 1
    error = capsys.readouterr().err
    assert error.startswith("no cluster is configured: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize("server_url", ["nonsense", "http://[::1", "https://:443", "http://x:y", "ftp://x"])
def test_an_address_that_is_no_url_is_one_sentence(
    address: str, server_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert address
    write_config(tmp_path / "kubeconfig", clusters=[{"name": "fake", "cluster": {"server": server_url}}])
    assert main([]) == 1
    error = capsys.readouterr().err
    assert f"the server {server_url!r} is no URL" in error
    assert error.count("\n") == 1


def test_a_login_plugin_that_fails_is_one_sentence(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert address
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never"}
    user = {"exec": {**plugin, "command": sys.executable, "args": ["-c", "raise SystemExit('log in\\nfirst')"]}}
    write_config(tmp_path / "kubeconfig", users=[{"name": "step", "user": user}])
    assert main([]) == 1
    error = capsys.readouterr().err
    assert error.startswith("the login of context fake failed (exec: process returned 1. log in first)")
    assert error.count("\n") == 1


def test_a_cluster_that_does_not_answer_is_one_sentence(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert address
    clusters = [{"name": "fake", "cluster": {"server": "http://127.0.0.1:9"}}]
    write_config(tmp_path / "kubeconfig", clusters=clusters)
    assert main([]) == 1
    error = capsys.readouterr().err
    assert error.startswith("the cluster of context fake at http://127.0.0.1:9 cannot be asked")
    assert error.count("\n") == 1


def test_an_unknown_certificate_is_one_sentence(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert address
    with http_server(lambda _: None, server_context(tmp_path)) as url:
        write_config(tmp_path / "kubeconfig", clusters=[{"name": "fake", "cluster": {"server": url}}])
        assert main([]) == 1
    error = capsys.readouterr().err
    assert "did not answer for /version (" in error
    assert "CERTIFICATE_VERIFY_FAILED" in error
    assert error.count("\n") == 1


def test_an_expired_token_is_one_sentence(address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert address
    write_config(tmp_path / "kubeconfig", users=[{"name": "step", "user": {"token": "expired"}}])
    assert main([]) == 1
    error = capsys.readouterr().err
    assert "the Kubernetes API rejects the credentials (401)" in error
    assert error.count("\n") == 1


@pytest.mark.usefixtures("address")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "x"], "preset 'x'"),
        (["--target", "ftp://x"], "target 'ftp://x'"),
        (["--context", "x"], "no cluster is configured"),
    ],
)
def test_invalid_options_are_one_sentence(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith(message)
    assert error.count("\n") == 1
