"""Deployment to a fake cluster: first model, readiness, known answers and errors of the API."""

import base64
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.deploy.kserve.inference_service import ModelVersion, requested_model
from components.deploy.targets import deploy_model
from components.deploy.version_copies import storage_uri
from components.shared.errors import BadConfigError, DeployError
from tests.waiting import wait_until

KEY = ("lab", "forams")
TARGET = "kserve://lab/forams"
PATH = "/apis/serving.kserve.io/v1beta1/namespaces/lab/inferenceservices"
PREDICT = "http://forams-lab.example.org/v1/models/forams:predict"
DEPLOY = (
    "import sys; from pathlib import Path; from components.deploy.targets import deploy_model;"
    "deploy_model(Path(sys.argv[1]), sys.argv[2], 'foraminifera', sys.argv[3])"
)
SHORT = 0.05


def test_the_first_model_creates_the_service(artifact: Path, cluster: Any, deploy: Any) -> None:
    result = deploy(artifact, "pvc://runs/a")
    assert (result.version, result.address) == (1, PREDICT)
    assert cluster.written() == [("POST", PATH)]
    assert requested_model(cluster.services[KEY]) == ModelVersion(1, "pvc://runs/a")


def test_a_service_without_a_model_gets_one_without_a_trial(artifact: Path, cluster: Any, deploy: Any) -> None:
    deploy(artifact, "pvc://runs/a")
    predictor = cluster.services[KEY]["spec"]["predictor"]
    del predictor["annotations"], predictor["model"]["storageUri"]
    assert deploy(artifact, "pvc://runs/b").version == 2  # the registry remembers the first
    assert requested_model(cluster.services[KEY]) == ModelVersion(2, "pvc://runs/b")
    assert cluster.canary(KEY) is None


def test_the_same_artifact_keeps_its_version(artifact: Path, cluster: Any, deploy: Any) -> None:
    results = [deploy(artifact, "pvc://runs/a") for _ in range(2)]
    assert [(result.version, result.address) for result in results] == [(1, PREDICT)] * 2
    assert cluster.written() == [("POST", PATH)]


def test_the_first_model_must_answer_the_known_slices(artifact: Path, cluster: Any, deploy: Any) -> None:
    deploy(artifact, "pvc://runs/a")
    assert len(cluster.asked) == 5
    instance = cluster.asked[0]
    assert cluster.asked == [instance] * 5
    assert base64.b64decode(instance["image_bytes"]["b64"]) == (artifact / "1/examples/0.png").read_bytes()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((500, {"error": "out of memory"}), "out of memory"),
        ((400, {"error": "no such signature"}), "no such signature"),
        ((200, {"outputs": []}), "outputs"),
        ((200, {"predictions": []}), "returned 0 predictions"),
        ((200, {"predictions": [{"scores": [1.0]}]}), "1 scores instead of 2"),
        ((200, {"predictions": [{"scores": [None, None]}]}), "differ by up to"),
        ((200, {"predictions": [{}]}), "has no scores"),
    ],
)
def test_a_wrong_answer_to_a_known_slice_is_a_deploy_error(
    artifact: Path, cluster: Any, answer: tuple[int, dict[str, Any]], reason: str, deploy: Any
) -> None:
    cluster.answer_instead = lambda _method, path: answer if path.endswith(":predict") else None
    with pytest.raises(DeployError, match=reason):
        deploy(artifact, "pvc://runs/a")


def test_a_first_model_that_never_becomes_ready_is_a_deploy_error(artifact: Path, cluster: Any, deploy: Any) -> None:
    cluster.unloadable.add("pvc://runs/a")
    with pytest.raises(DeployError, match="no previous model"):
        deploy(artifact, "pvc://runs/a", timeout=SHORT)


def test_a_process_killed_while_waiting_is_resumed(artifact: Path, cluster: Any, deploy: Any) -> None:
    cluster.polls_until_ready = 10**6
    process = subprocess.Popen([sys.executable, "-c", DEPLOY, str(artifact), "pvc://runs/a", TARGET])
    wait_until(lambda: ("POST", PATH) in cluster.written())
    process.kill()
    process.wait()
    cluster.polls_until_ready = 2
    assert deploy(artifact, "pvc://runs/a").version == 1
    assert cluster.written() == [("POST", PATH)]


def test_errors_of_the_api_while_waiting_are_retried(artifact: Path, cluster: Any, deploy: Any) -> None:
    failures = iter([(503, {"message": "try later"})] * 3)

    def fail(method: str, path: str) -> tuple[int, dict[str, Any]] | None:
        return next(failures, None) if method == "GET" and "deployments" in path else None

    cluster.answer_instead = fail
    assert deploy(artifact, "pvc://runs/a").version == 1


@pytest.mark.parametrize(
    ("status", "remedy"), [(401, "valid token"), (403, "taxonflow-deployer"), (500, "run the step again")]
)
def test_an_error_of_the_api_has_a_remedy(artifact: Path, cluster: Any, status: int, remedy: str, deploy: Any) -> None:
    cluster.answer_instead = lambda _method, _path: (status, {"message": "no"})
    with pytest.raises(DeployError, match=remedy):
        deploy(artifact, "pvc://runs/a")


def test_an_unreachable_cluster_is_a_deploy_error(artifact: Path, deploy: Any, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue("unreachable_cluster")
    with pytest.raises(DeployError, match="unreachable"):
        deploy(artifact, "pvc://runs/a")


def test_an_unknown_deployment_mode_is_rejected_without_a_write(artifact: Path, cluster: Any, deploy: Any) -> None:
    deploy(artifact, "pvc://runs/a")
    cluster.services[KEY]["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] = "ModelMesh"
    with pytest.raises(DeployError, match="ModelMesh"):
        deploy(artifact, "pvc://runs/b")
    assert cluster.written() == [("POST", PATH)]


def test_a_damaged_kubeconfig_is_a_deploy_error(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deploy: Any
) -> None:
    (tmp_path / "kubeconfig").write_text("{clusters: [")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    with pytest.raises(DeployError, match="no Kubernetes cluster is configured"):
        deploy(artifact, "pvc://runs/a")


def test_a_missing_kubeconfig_is_a_deploy_error(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deploy: Any
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nothing"))
    with pytest.raises(DeployError, match="no Kubernetes cluster is configured"):
        deploy(artifact, "pvc://runs/a")


def test_a_model_on_a_local_disk_is_rejected_without_a_request(artifact: Path, cluster: Any, deploy: Any) -> None:
    with pytest.raises(DeployError, match="cannot read"):
        deploy(artifact, str(artifact))
    assert cluster.requests == []


def test_a_minio_uri_becomes_an_s3_uri() -> None:
    assert storage_uri("minio://mlpipeline/v2/artifacts/served") == "s3://mlpipeline/v2/artifacts/served"
    assert storage_uri("gs://bucket/served") == "gs://bucket/served"
    assert storage_uri("pvc://models/served") == "pvc://models/served"


@pytest.mark.parametrize(
    "target", ["kserve://lab", "kserve:///forams", "kserve://lab/a/b", "kserve://", "kserve://[lab"]
)
def test_an_incomplete_target_is_rejected(artifact: Path, cluster: Any, target: str) -> None:
    with pytest.raises(BadConfigError, match="kserve://namespace/inference-service"):
        deploy_model(artifact, "pvc://runs/a", "foraminifera", target)
    assert cluster.requests == []


def test_a_missing_namespace_is_a_deploy_error(artifact: Path, cluster: Any, deploy: Any) -> None:
    cluster.answer_instead = lambda _method, _path: (404, {"message": "not found"})
    with pytest.raises(DeployError, match="no namespace 'lab'"):
        deploy(artifact, "pvc://runs/a")


def test_every_request_body_fits_the_crd(
    artifact: Path, cluster: Any, complaints_of_crd: Callable[[dict[str, Any]], list[str]], deploy: Any
) -> None:
    deploy(artifact, "pvc://runs/a")
    typo = {**cluster.services[KEY], "spec": {**cluster.services[KEY]["spec"], "predictr": {}}}
    assert complaints_of_crd(cluster.services[KEY]) == []
    assert complaints_of_crd(typo)
