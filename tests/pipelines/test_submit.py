"""Submission to a server over HTTP that speaks the endpoints of Kubeflow Pipelines v2beta1 that kfp's client uses."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.compile import parse_documents
from pipelines.submit import main
from tests.pipelines.fake_kubeflow import FakeKubeflow, running_kubeflow


@pytest.fixture
def kubeflow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeKubeflow]:
    monkeypatch.setattr("kfp.Client._LOCAL_KFP_CONTEXT", str(tmp_path / "context.json"))
    monkeypatch.delenv("KUBEFLOW_TOKEN", raising=False)
    with running_kubeflow() as fake:
        yield fake


def submit(kubeflow: FakeKubeflow, *arguments: str) -> int:
    return main(["--host", kubeflow.url, *arguments])


def sentence(capsys: pytest.CaptureFixture[str]) -> str:
    """Standard error, which must be one line and no traceback."""
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    assert "Traceback" not in error
    return error


def test_a_preset_is_uploaded_as_a_version_and_run(kubeflow: FakeKubeflow, capsys: pytest.CaptureFixture[str]) -> None:
    code = submit(kubeflow, "--preset", "fossil", "--set", "volumes=s3://lab/volumes", "--set", "recipe={epochs: 3}")
    assert code == 0
    assert capsys.readouterr().out == f"{kubeflow.url}/#/runs/details/run-1\n"
    (run,) = kubeflow.runs
    parameters = run["runtime_config"]["parameters"]
    assert parameters["volumes"] == "s3://lab/volumes"
    assert parameters["recipe"] == {"epochs": 3}
    assert parameters["image_size"] == 224
    reference = {"pipeline_id": "pipeline-1", "pipeline_version_id": "pipeline_version-1"}
    assert run["pipeline_version_reference"] == reference
    assert run["experiment_id"] == "experiment-1"
    assert kubeflow.pipelines[0]["display_name"] == "taxonflow-large-training"
    assert kubeflow.experiments[0]["display_name"] == "taxonflow"


def test_the_upload_is_the_compiled_pipeline(kubeflow: FakeKubeflow) -> None:
    submit(kubeflow, "--preset", "fossil", "--set", "volumes=s3://lab/volumes")
    for upload in kubeflow.uploads():
        content = upload.body.split(b"\r\n\r\n", 1)[1].rsplit(b"\r\n--", 1)[0]
        specification, platform = parse_documents(content.decode())
        assert specification["pipelineInfo"]["name"] == "taxonflow-large-training"
        assert "exec-train-2" in platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


def test_backbones_that_need_a_large_gpu_are_a_separate_list(kubeflow: FakeKubeflow) -> None:
    submit(kubeflow, "--preset", "fossil", "--set", "volumes=v", "--set", "backbones=[nasnet_large, mobilenet]")
    parameters = kubeflow.runs[0]["runtime_config"]["parameters"]
    assert (parameters["backbones"], parameters["large_backbones"]) == (["mobilenet"], ["nasnet_large"])


def test_without_large_backbones_the_training_pipeline_runs(kubeflow: FakeKubeflow) -> None:
    submit(kubeflow, "--preset", "fossil", "--set", "volumes=v", "--set", "backbones=[mobilenet]")
    assert kubeflow.pipelines[0]["display_name"] == "taxonflow-training"


@pytest.mark.parametrize(
    ("backbones", "complaint"), [("[nasnet_large]", "all need a large GPU"), ("[resnet_500]", "backbone 'resnet_500'")]
)
def test_invalid_backbones_are_rejected_before_the_upload(
    kubeflow: FakeKubeflow, capsys: pytest.CaptureFixture[str], backbones: str, complaint: str
) -> None:
    assert submit(kubeflow, "--preset", "fossil", "--set", "volumes=v", "--set", f"backbones={backbones}") == 2
    assert complaint in sentence(capsys)
    assert not kubeflow.uploads()


def test_a_preset_with_phantoms_runs_phantom_training(kubeflow: FakeKubeflow) -> None:
    assert submit(kubeflow, "--preset", "smoke") == 0
    assert kubeflow.pipelines[0]["display_name"] == "taxonflow-phantom-training"
    assert kubeflow.runs[0]["runtime_config"]["parameters"]["specimens_per_species"] == 4


@pytest.mark.parametrize("options", [[], ["--namespace", "lab"]])
def test_a_second_submission_uploads_nothing(kubeflow: FakeKubeflow, options: list[str]) -> None:
    kubeflow.has_profiles = bool(options)
    assert submit(kubeflow, "--preset", "smoke", *options) == 0
    uploads = len(kubeflow.uploads())
    assert submit(kubeflow, "--preset", "smoke", "--set", "seed=1", *options) == 0
    assert len(kubeflow.uploads()) == uploads
    assert len(kubeflow.pipelines) == len(kubeflow.versions) == len(kubeflow.experiments) == 1
    references = [run["pipeline_version_reference"] for run in kubeflow.runs]
    assert references[0] == references[1]


def test_experiment_namespace_and_service_account_are_sent(kubeflow: FakeKubeflow) -> None:
    options = ["--experiment", "nightly", "--namespace", "lab", "--service-account", "default-editor"]
    kubeflow.has_profiles = True
    submit(kubeflow, "--preset", "smoke", *options)
    assert kubeflow.experiments[0]["display_name"] == "nightly"
    assert kubeflow.experiments[0]["namespace"] == "lab"
    assert kubeflow.runs[0]["service_account"] == "default-editor"


def test_the_token_of_the_environment_is_in_every_request(
    kubeflow: FakeKubeflow, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBEFLOW_TOKEN", "from-the-environment")
    submit(kubeflow, "--preset", "smoke")
    assert {request.authorization for request in kubeflow.requests} == {"Bearer from-the-environment"}
    assert "from-the-environment" not in "".join(capsys.readouterr())


def test_a_token_file_overrides_the_environment(
    kubeflow: FakeKubeflow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KUBEFLOW_TOKEN", "from-the-environment")
    (tmp_path / "token").write_text("from-the-file\n")
    submit(kubeflow, "--preset", "smoke", "--token-file", str(tmp_path / "token"))
    assert {request.authorization for request in kubeflow.requests} == {"Bearer from-the-file"}


def test_a_missing_token_file_is_bad_input(
    kubeflow: FakeKubeflow, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert submit(kubeflow, "--preset", "smoke", "--token-file", str(tmp_path / "none")) == 2
    assert "cannot be read" in sentence(capsys)
    assert kubeflow.requests == []


@pytest.mark.parametrize(
    ("path", "answer", "message"),
    [
        ("/healthz", (401, "application/json", "{}"), "valid token"),
        ("/healthz", (302, "text/html", "/dex/auth"), "login page"),
        ("/healthz", (200, "text/html", "<html>"), "like Kubeflow Pipelines"),
        ("/pipelines", (403, "application/json", '{"error": "forbidden"}'), "forbidden"),
        ("/runs", (500, "application/json", '{"error": "quota"}'), "quota"),
    ],
)
def test_an_error_of_the_server_is_printed_in_one_line(
    kubeflow: FakeKubeflow,
    capsys: pytest.CaptureFixture[str],
    path: str,
    answer: tuple[int, str, str],
    message: str,
) -> None:
    kubeflow.instead[path] = answer
    assert submit(kubeflow, "--preset", "smoke") == 1
    assert message in sentence(capsys)
    assert kubeflow.runs == []


def test_an_unreachable_host_is_printed_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--host", "http://127.0.0.1:9", "--preset", "smoke"]) == 1
    assert "cannot be reached" in sentence(capsys)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "smoke", "--set", "epoch=3"], "parameter epoch"),
        (["--preset", "smoke", "--set", "seed=one"], "seed='one'"),
        (["--preset", "smoke", "--set", "seed=true"], "seed=True"),
        (["--preset", "smoke", "--set", "seed"], "key=value"),
        (["--preset", "smoke", "--set", "recipe={"], "not YAML"),
        (["--preset", "fossil"], "no volumes"),
        (["--pipeline", "drift", "--set", "retrain=true"], "retrain without volumes"),
        (["--preset", "nothing"], "preset 'nothing'"),
    ],
)
def test_wrong_parameters_are_rejected_before_the_first_request(
    kubeflow: FakeKubeflow, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert submit(kubeflow, *arguments) == 2
    assert message in sentence(capsys)
    assert kubeflow.requests == []


@pytest.mark.parametrize(
    "host", ["", "kubeflow.example.org", "file:///kubeflow", "https://kubeflow:port", "http://[::1", "http://a\nb"]
)
def test_a_host_that_is_not_a_url_is_rejected(capsys: pytest.CaptureFixture[str], host: str) -> None:
    assert main(["--host", host, "--preset", "smoke"]) == 2
    assert "https://" in sentence(capsys)


def test_the_drift_check_replaces_its_previous_recurring_run(
    kubeflow: FakeKubeflow, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"name": "forams", "retrain": True, "volumes": "s3://scans"}
    order = [
        "--pipeline",
        "drift",
        "--every",
        "0 0 4 * * *",
        *(f"--set={key}={value}" for key, value in settings.items()),
    ]
    assert submit(kubeflow, *order) == submit(kubeflow, *order) == 0
    (recurring,) = kubeflow.recurring
    assert capsys.readouterr().out.endswith(f"/#/recurringrun/details/{recurring['recurring_run_id']}\n")
    assert recurring["display_name"] == "taxonflow-drift forams"
    assert recurring["trigger"]["cron_schedule"]["cron"] == "0 0 4 * * *"
    assert (int(recurring["max_concurrency"]), recurring["no_catchup"]) == (1, True)
    assert recurring["runtime_config"]["parameters"] == settings
    assert [pipeline["display_name"] for pipeline in kubeflow.pipelines] == ["taxonflow-drift"]
    assert kubeflow.runs == []


def test_the_drift_check_can_be_run_once(kubeflow: FakeKubeflow) -> None:
    assert submit(kubeflow, "--pipeline", "drift") == 0
    assert kubeflow.runs[0]["display_name"].startswith("drift ")
    assert kubeflow.recurring == []


@pytest.mark.parametrize("schedule", ["daily", "0 4 * * *", "@never"])
def test_a_schedule_that_kubeflow_cannot_read_is_rejected(
    kubeflow: FakeKubeflow, capsys: pytest.CaptureFixture[str], schedule: str
) -> None:
    assert submit(kubeflow, "--pipeline", "drift", "--every", schedule) == 2
    assert "six cron fields" in sentence(capsys)
    assert kubeflow.requests == []
