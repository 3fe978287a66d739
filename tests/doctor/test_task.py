"""The doctor as the first task of a run: it asks for itself, and fails in one sentence."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from components.doctor.component import doctor
from components.doctor.connection import connect
from components.doctor.in_cluster import check_namespace, check_run
from components.doctor.needs import PodNeeds, RunNeeds
from components.shared.errors import BadConfigError, TaxonflowError
from tests.doctor.api_server import ApiServer
from tests.doctor.healthy_cluster import CORE, KSERVE, NAMESPACE

NEEDS = RunNeeds(pods=(PodNeeds(task="steps", image="taxonflow/serving:0.1.0", cpu="1", memory="1Gi"),))


@pytest.fixture
def store(server: ApiServer, address: str) -> None:
    """Give the launcher a store that answers: the pods of this test have no name service of a cluster."""
    providers = f"minio: {{default: {{endpoint: '{address.removeprefix('http://')}'}}}}"
    server.add(f"{CORE}/configmaps", "kfp-launcher", NAMESPACE, data={"providers": providers})


@pytest.mark.usefixtures("store")
def test_a_run_that_can_succeed_gets_a_report(server: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    report = check_namespace(connect(), NAMESPACE, NEEDS, "foraminifera", "")
    assert report.startswith("# Doctor\n\nA run would succeed, as far as seen.\n")
    assert "| rights | met | pipeline-runner may deploy in kubeflow |" in report
    assert "[doctor] met          kubernetes" in capsys.readouterr().out
    reviews = {line for line in server.requests if line.startswith("POST")}
    reviews.discard("POST /apis/authentication.k8s.io/v1/selfsubjectreviews")
    assert reviews == {"POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews"}
    assert not any(" /pipeline/" in line for line in server.requests)


@pytest.mark.usefixtures("store")
def test_a_run_that_would_fail_ends_in_one_sentence(server: ApiServer) -> None:
    del server.objects[f"{KSERVE}/v1beta1"]
    server.rights.clear()
    with pytest.raises(
        TaxonflowError, match=r"the run would fail: kserve: not installed.*; rights: .*Correct"
    ) as error:
        check_namespace(connect(), NAMESPACE, NEEDS, "foraminifera", "")
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("store")
def test_the_task_asks_for_the_account_that_runs_it(server: ApiServer) -> None:
    server.user = f"system:serviceaccount:{NAMESPACE}:other"
    with pytest.raises(TaxonflowError, match="account: there is no service account other in kubeflow"):
        check_namespace(connect(), NAMESPACE, NEEDS, "foraminifera", "")


@pytest.mark.usefixtures("address")
@pytest.mark.parametrize("endpoint", ["127.0.0.1:9", "http://[::1", ":"])
def test_a_store_that_the_pod_cannot_reach_is_not_met(server: ApiServer, endpoint: str) -> None:
    providers = f"minio: {{default: {{endpoint: '{endpoint}'}}}}"
    server.add(f"{CORE}/configmaps", "kfp-launcher", NAMESPACE, data={"providers": providers})
    with pytest.raises(TaxonflowError, match=r"the run would fail: artifact store: .*kubectl get pods,services"):
        check_namespace(connect(), NAMESPACE, NEEDS, "foraminifera", "")


@pytest.mark.parametrize("needs", [{"pod": []}, {"pods": [{"task": "x"}]}, {"claims": 1}])
def test_needs_of_another_form_are_bad_input(needs: dict[str, object]) -> None:
    with pytest.raises(BadConfigError, match="needs key"):
        check_run(needs, "foraminifera", "")


def test_outside_a_pod_the_task_ends_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        doctor.python_func(
            needs=NEEDS.model_dump(), name="x", target="", report=SimpleNamespace(path=tmp_path / "report")
        )
    assert exit_.value.code == 1
    assert capsys.readouterr().out.startswith("[doctor] failed: this pod has no token of a service account")
