"""The cluster as a target: an API server over HTTP that forbids unknown fields, and a controller like KServe's."""

import base64
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.deploy.kserve.inference_service import ServedModel, served_model
from components.deploy.kserve.target import storage_uri
from components.deploy.targets import deploy_model
from components.shared.errors import BadConfigError, DeployError

KEY = ("lab", "forams")
TARGET = "kserve://lab/forams"
PATH = "/apis/serving.kserve.io/v1beta1/namespaces/lab/inferenceservices"
PREDICT = "http://forams-lab.example.org/v1/models/forams:predict"
DEPLOY = (
    "import sys; from pathlib import Path; from components.deploy.targets import deploy_model;"
    "deploy_model(Path(sys.argv[1]), sys.argv[2], 'foraminifera', sys.argv[3])"
)
SHORT = 0.05


def test_the_first_model_creates_the_service(served: Path, cluster: Any, deploy: Any) -> None:
    deployed = deploy(served, "s3://runs/a")
    assert (deployed.version, deployed.address) == (1, PREDICT)
    assert cluster.written() == [("POST", PATH)]
    assert served_model(cluster.services[KEY]) == ServedModel(1, "s3://runs/a")


def test_a_service_that_the_manifests_made_without_a_model_gets_one(served: Path, cluster: Any, deploy: Any) -> None:
    deploy(served, "s3://runs/a")
    predictor = cluster.services[KEY]["spec"]["predictor"]
    del predictor["annotations"], predictor["model"]["storageUri"]
    assert deploy(served, "s3://runs/b").version == 2  # the registry remembers the first
    assert served_model(cluster.services[KEY]) == ServedModel(2, "s3://runs/b")
    assert cluster.canary(KEY) is None


def test_the_same_artifact_again_is_no_second_version(served: Path, cluster: Any, deploy: Any) -> None:
    deployed = [deploy(served, "s3://runs/a") for _ in range(2)]
    assert [(done.version, done.address) for done in deployed] == [(1, PREDICT)] * 2
    assert cluster.written() == [("POST", PATH)]


def test_known_slices_are_asked_before_a_deployment_counts(served: Path, cluster: Any, deploy: Any) -> None:
    deploy(served, "s3://runs/a")
    (asked,) = cluster.asked
    assert base64.b64decode(asked["image_bytes"]["b64"]) == (served / "1/examples/0.png").read_bytes()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((500, {"error": "out of memory"}), "out of memory"),
        ((400, {"error": "no such signature"}), "no such signature"),
        ((200, {"outputs": []}), "something else than predictions"),
        ((200, {"predictions": []}), "gave 0 answers"),
        ((200, {"predictions": [{"scores": [1.0]}]}), "1 scores instead of 2"),
        ((200, {"predictions": [{"scores": [None, None]}]}), "off"),
        ((200, {"predictions": [{}]}), "has no scores"),
    ],
)
def test_an_endpoint_that_cannot_answer_known_slices_is_no_deployment(
    served: Path, cluster: Any, answer: tuple[int, dict[str, Any]], said: str, deploy: Any
) -> None:
    cluster.answer_instead = lambda _method, path: answer if path.endswith(":predict") else None
    with pytest.raises(DeployError, match=said):
        deploy(served, "s3://runs/a")


def test_a_first_model_that_never_gets_ready_says_that_nothing_was_served(
    served: Path, cluster: Any, deploy: Any
) -> None:
    cluster.unloadable.add("s3://runs/a")
    with pytest.raises(DeployError, match="No model was served before"):
        deploy(served, "s3://runs/a", timeout=SHORT)


def test_killed_while_waiting_and_run_again_the_same_version_goes_on(served: Path, cluster: Any, deploy: Any) -> None:
    cluster.polls_until_ready = 10**6
    process = subprocess.Popen([sys.executable, "-c", DEPLOY, str(served), "s3://runs/a", TARGET])
    wait_until(lambda: ("POST", PATH) in cluster.written())
    process.kill()
    process.wait()
    cluster.polls_until_ready = 2
    assert deploy(served, "s3://runs/a").version == 1
    assert cluster.written() == [("POST", PATH)]


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_errors_of_the_api_while_waiting_are_waited_out(served: Path, cluster: Any, deploy: Any) -> None:
    failures = iter([(503, {"message": "try later"})] * 3)

    def fail(method: str, path: str) -> tuple[int, dict[str, Any]] | None:
        return next(failures, None) if method == "GET" and "deployments" in path else None

    cluster.answer_instead = fail
    assert deploy(served, "s3://runs/a").version == 1


@pytest.mark.parametrize(("status", "advice"), [(401, "valid token"), (403, "taxonflow-deployer"), (500, "run again")])
def test_an_answer_of_the_api_that_forbids_is_one_sentence(
    served: Path, cluster: Any, status: int, advice: str, deploy: Any
) -> None:
    cluster.answer_instead = lambda _method, _path: (status, {"message": "no"})
    with pytest.raises(DeployError, match=advice):
        deploy(served, "s3://runs/a")


def test_an_unreachable_cluster_is_one_sentence(served: Path, deploy: Any, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue("unreachable_cluster")
    with pytest.raises(DeployError, match="cannot be reached"):
        deploy(served, "s3://runs/a")


def test_a_service_of_another_deployment_mode_is_refused_untouched(served: Path, cluster: Any, deploy: Any) -> None:
    deploy(served, "s3://runs/a")
    cluster.services[KEY]["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] = "ModelMesh"
    with pytest.raises(DeployError, match="deployment mode ModelMesh"):
        deploy(served, "s3://runs/b")
    assert cluster.written() == [("POST", PATH)]


def test_a_damaged_kubeconfig_is_one_sentence(
    served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deploy: Any
) -> None:
    (tmp_path / "kubeconfig").write_text("{clusters: [")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    with pytest.raises(DeployError, match="no Kubernetes cluster is configured"):
        deploy(served, "s3://runs/a")


def test_no_cluster_at_all_is_one_sentence(
    served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deploy: Any
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nothing"))
    with pytest.raises(DeployError, match="no Kubernetes cluster is configured"):
        deploy(served, "s3://runs/a")


def test_a_model_on_a_local_disk_is_refused_before_the_cluster_is_asked(
    served: Path, cluster: Any, deploy: Any
) -> None:
    with pytest.raises(DeployError, match="cannot read"):
        deploy(served, str(served))
    assert cluster.requests == []


def test_the_artifact_stores_address_becomes_one_that_kserve_reads() -> None:
    assert storage_uri("minio://mlpipeline/v2/artifacts/served") == "s3://mlpipeline/v2/artifacts/served"
    assert storage_uri("gs://bucket/served") == "gs://bucket/served"
    assert storage_uri("pvc://models/served") == "pvc://models/served"


@pytest.mark.parametrize(
    "target", ["kserve://lab", "kserve:///forams", "kserve://lab/a/b", "kserve://", "kserve://[lab"]
)
def test_an_incomplete_target_is_refused(served: Path, cluster: Any, target: str) -> None:
    with pytest.raises(BadConfigError, match="kserve://namespace/inference-service"):
        deploy_model(served, "s3://runs/a", "foraminifera", target)
    assert cluster.requests == []


def test_a_namespace_that_the_cluster_does_not_know_is_one_sentence(served: Path, cluster: Any, deploy: Any) -> None:
    cluster.answer_instead = lambda _method, _path: (404, {"message": "not found"})
    with pytest.raises(DeployError, match="no namespace 'lab'"):
        deploy(served, "s3://runs/a")


def test_every_request_body_fits_the_crd(
    served: Path, cluster: Any, complaints_of_crd: Callable[[dict[str, Any]], list[str]], deploy: Any
) -> None:
    deploy(served, "s3://runs/a")
    typo = {**cluster.services[KEY], "spec": {**cluster.services[KEY]["spec"], "predictr": {}}}
    assert complaints_of_crd(cluster.services[KEY]) == []
    assert complaints_of_crd(typo)
