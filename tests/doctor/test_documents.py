"""Documents of any content: sparse ones give lines, and no value of a secret is shown."""

import json
from dataclasses import replace

import pytest

from components.doctor.diagnosis import diagnose, lines, markdown
from components.doctor.examination import Examination, Server
from components.doctor.findings import State
from components.doctor.needs import RunNeeds
from tests.doctor.api_server import ApiServer
from tests.doctor.healthy_cluster import CORE, KSERVE, MONITORING, NAMESPACE, NETWORK, STORAGE, claim

VALUE = "c2VjcmV0LXZhbHVl"
KINDS = (
    f"{CORE}/resourcequotas",
    f"{CORE}/limitranges",
    f"{CORE}/pods",
    f"{NETWORK}/networkpolicies",
    f"{MONITORING}/servicemonitors",
    f"{MONITORING}/prometheuses",
    f"{KSERVE}/v1beta1/inferenceservices",
)


def test_documents_without_content_give_lines_and_no_traceback(server: ApiServer, examination: Examination) -> None:
    for kind in KINDS:
        server.add(kind, "taxonflow-x", NAMESPACE)
    server.add(f"{KSERVE}/v1beta1/inferenceservices", "foraminifera", NAMESPACE)
    server.add(f"{STORAGE}/storageclasses", "standard")
    server.add(f"{CORE}/configmaps", "patch", NAMESPACE, metadata={"labels": {"taxonflow.dev/endpoint-patch": "true"}})
    claim(server, "checkpoints")
    for path, document in server.objects.items():
        if path != "/version":
            metadata = {key: document.get("metadata", {}).get(key) for key in ("name", "namespace", "labels")}
            server.objects[path] = {"metadata": metadata}
    findings = diagnose(replace(examination, needs=RunNeeds(claims=("checkpoints",))))
    assert len(lines(findings).splitlines()) > len(findings)


def test_a_cluster_that_stops_answering_is_asked_a_few_times_only(
    server: ApiServer, examination: Examination, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[str] = []
    monkeypatch.setattr(server, "respond", lambda request: requests.append(request.target))
    findings = diagnose(replace(examination, server=Server(), needs=RunNeeds(), endpoint=""))
    assert {finding.state for finding in findings} - {State.NOT_ALLOWED} <= {State.MET}
    assert not any(finding.fails for finding in findings)
    assert len(requests) <= 3 + 8


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("/spec/predictor/minReplicas", "two"),
        ("/spec/predictor/minReplicas", True),
        ("/spec/predictor/nodeSelector", ["gpu"]),
        ("/spec/predictor/tolerations", ["gpu"]),
        ("/spec/predictor/tolerations", {}),
        ("/spec/predictor/model/resources", "much"),
        ("/spec/predictor/model/resources", {"requests": ["1"]}),
        ("/spec/transformer/volumes", "none"),
        ("/spec/transformer/labels", "x"),
        ("/spec/transformer/initContainers", ["x"]),
        ("/spec/transformer/initContainers", [{"resources": {"limits": 1}}]),
    ],
)
def test_patches_with_values_of_another_type_are_one_line(
    server: ApiServer, examination: Examination, path: str, value: object
) -> None:
    labels = {"taxonflow.dev/endpoint-patch": "true"}
    operations = json.dumps([{"op": "add", "path": path, "value": value}])
    server.add(f"{CORE}/configmaps", "wishes", NAMESPACE, data={"a.yaml": operations}, metadata={"labels": labels})
    findings = diagnose(examination)
    assert [finding.name for finding in findings if finding.fails] == ["endpoint patches"]
    assert path.rpartition("/")[2] in lines(findings) or "requests" in lines(findings)


def test_no_value_of_a_secret_is_shown(server: ApiServer, examination: Examination) -> None:
    for path, document in server.objects.items():
        if "/secrets/" in path:
            document["data"] = dict.fromkeys(document["data"], VALUE)
    server.add(f"{CORE}/secrets", "taxonflow-volumes", NAMESPACE, data={"AWS_ACCESS_KEY_ID": VALUE})
    findings = diagnose(examination)
    text = lines(findings) + markdown(findings)
    assert "taxonflow-volumes has no key" in text
    assert VALUE not in text
    assert examination.server.token not in text
