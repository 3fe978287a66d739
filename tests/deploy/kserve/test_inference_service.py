"""InferenceService as the deploy step creates it: which model answers, and what its pods ask for."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from components.deploy.kserve.inference_service import (
    ModelVersion,
    inference_service,
    model_patch,
    previous_model,
    requested_model,
    transformer_patch,
    with_model,
)

FIRST = ModelVersion(1, "s3://runs/a", "d1", "id1")
SECOND = ModelVersion(2, "s3://runs/b", "d2", "id2")


def variables(container: dict[str, Any]) -> dict[str, str]:
    fields = {entry["name"]: entry.get("valueFrom", {}).get("fieldRef", {}) for entry in container["env"]}
    return {name: field.get("fieldPath", "") for name, field in fields.items()}


def test_pods_name_the_id_of_their_model_and_the_previous_one() -> None:
    service = {"spec": model_patch(SECOND, FIRST)["spec"]}
    annotations = service["spec"]["predictor"]["annotations"]
    assert annotations.get("taxonflow.dev/model-id") == "id2"
    assert (requested_model(service), previous_model(service)) == (SECOND, FIRST)
    assert repr([requested_model(service), previous_model(service)]) == repr([SECOND, FIRST])


def test_the_transformer_reads_the_versions_of_all_models_that_may_answer() -> None:
    transformer = with_model(inference_service("forams"), FIRST)["spec"]["transformer"]
    path = variables(transformer["containers"][0]).get("TAXONFLOW_MODEL_VERSIONS")
    assert path == "metadata.annotations['taxonflow.dev/model-versions']"
    assert json.loads(transformer["annotations"]["taxonflow.dev/model-versions"]) == {"id1": 1}
    annotations = transformer_patch(SECOND, FIRST, ModelVersion(3, "s3://runs/c"))["annotations"]
    assert json.loads(annotations["taxonflow.dev/model-versions"]) == {"id1": 1, "id2": 2}


def pods() -> dict[str, dict[str, Any]]:
    """Return predictor and transformer with their container under the key `container`."""
    spec = with_model(inference_service("forams"), FIRST)["spec"]
    containers = {"predictor": spec["predictor"]["model"], "transformer": spec["transformer"]["containers"][0]}
    return {name: {**spec[name], "container": container} for name, container in containers.items()}


def restricted_violations(pod: dict[str, Any]) -> list[str]:
    """Return what the Pod Security standard `restricted` forbids in a pod."""
    context, security = pod.get("securityContext", {}), pod["container"].get("securityContext", {})
    added = security.get("capabilities", {}).get("add", [])
    kinds = {key for volume in pod["volumes"] for key in volume if key != "name"}
    checks = {
        "host namespaces": not any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")),
        "host ports": not any("hostPort" in port for port in pod["container"].get("ports", [])),
        "privileged": not security.get("privileged", False),
        "volumes": kinds <= {"configMap", "csi", "downwardAPI", "emptyDir", "persistentVolumeClaim", "secret"},
        "escalation": security.get("allowPrivilegeEscalation") is False,
        "runAsNonRoot": security.get("runAsNonRoot", context.get("runAsNonRoot")) is True,
        "runAsUser": security.get("runAsUser", context.get("runAsUser")) != 0,
        "seccomp": context.get("seccompProfile", {}).get("type") in ("RuntimeDefault", "Localhost"),
        "capabilities": security.get("capabilities", {}).get("drop") == ["ALL"] and set(added) <= {"NET_BIND_SERVICE"},
    }
    return [name for name, is_met in checks.items() if not is_met]


@pytest.mark.parametrize("component", ["predictor", "transformer"])
def test_pods_meet_the_restricted_standard(component: str) -> None:
    assert restricted_violations(pods()[component]) == []


def test_the_document_matches_the_crd(complaints_of_crd: Callable[[dict[str, Any]], list[str]]) -> None:
    assert complaints_of_crd(with_model(inference_service("forams"), FIRST)) == []


def test_no_gpu_is_requested_and_the_image_needs_none() -> None:
    for pod in pods().values():
        assert {key for kind in pod["container"]["resources"].values() for key in kind} == {"cpu", "memory"}
    assert not pods()["predictor"]["container"]["runtimeVersion"].endswith("-gpu")


def test_a_node_of_two_cpus_holds_a_canary_while_all_pods_are_replaced() -> None:
    millicores = {
        name: int(pod["container"]["resources"]["requests"]["cpu"].removesuffix("m")) for name, pod in pods().items()
    }
    stable_and_one_more_twice = 4 * millicores["predictor"]
    assert stable_and_one_more_twice + millicores["predictor"] + 2 * millicores["transformer"] <= 1200


def test_pods_have_no_istio_sidecar() -> None:
    for pod in pods().values():
        assert pod.get("labels", {}).get("sidecar.istio.io/inject") == "false"


def test_the_port_that_prometheus_scrapes_is_declared() -> None:
    for pod in pods().values():
        assert [port["containerPort"] for port in pod["container"].get("ports", [])] == [8080]


def test_a_model_that_loads_for_half_an_hour_is_not_killed() -> None:
    for pod, longest_s in zip(pods().values(), (1800, 300), strict=True):
        probe = pod["container"].get("startupProbe", {"failureThreshold": 0, "periodSeconds": 0})
        assert probe["failureThreshold"] * probe["periodSeconds"] == longest_s
        assert "initialDelaySeconds" not in pod["container"]["livenessProbe"]


def test_drift_events_need_no_claim() -> None:
    volumes = {volume["name"]: volume for volume in pods()["transformer"]["volumes"]}
    assert volumes["events"] == {"name": "events", "emptyDir": {"sizeLimit": "3Gi"}}  # above the transformer's limit
