"""Manifests: they build, match their schemas, run restricted, and agree with the code."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from components.shared.container_images import (
    MONITORING_IMAGE,
    SERVING_IMAGE,
    TENSORFLOW_SERVING_VERSION,
)

ROOT = Path(__file__).parents[2]
KUBERNETES = "1.33"
Documents = list[dict[str, Any]]
Pods = dict[str, dict[str, Any]]
RESTRICTED_VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret",
}  # fmt: skip


def of_kind(documents: Documents, kind: str) -> Documents:
    return [document for document in documents if document["kind"] == kind]


def is_core(document: dict[str, Any]) -> bool:
    group = document["apiVersion"].rpartition("/")[0]
    return "." not in group or group.endswith(".k8s.io")


def test_core_kinds_match_the_kubernetes_schemas(documents: Documents) -> None:
    core = [document for document in documents if is_core(document)]
    assert len(core) >= 8
    for document in core:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)


def test_custom_kinds_match_their_crd_schemas(
    documents: Documents, complaints_of_crd: Callable[[dict[str, Any]], list[str]]
) -> None:
    custom = [document for document in documents if not is_core(document)]
    assert "InferenceService" in {document["kind"] for document in custom}
    assert [violation for document in custom for violation in complaints_of_crd(document)] == []


def test_a_typo_in_a_custom_kind_is_a_violation(
    documents: Documents, complaints_of_crd: Callable[[dict[str, Any]], list[str]]
) -> None:
    (service,) = of_kind(documents, "InferenceService")
    service["spec"]["predictor"]["model"]["storageUrl"] = "s3://typo"
    assert "storageUrl" in complaints_of_crd(service)[0]


def test_the_overlays_set_the_namespace_and_the_base_none(
    documents_of: Callable[[str], Documents],
) -> None:
    assert not [document for document in documents_of("base") if "namespace" in document["metadata"]]
    for overlay in ("overlays/kind", "overlays/production"):
        for document in documents_of(overlay):
            namespace = document["metadata"]["name" if document["kind"] == "Namespace" else "namespace"]
            assert namespace == "taxonflow", document


def test_the_namespaces_enforce_the_restricted_standard(documents_of: Callable[[str], Documents]) -> None:
    for overlay in ("overlays/kind", "overlays/production"):
        (namespace,) = of_kind(documents_of(overlay), "Namespace")
        assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_pods_run_unprivileged_under_the_default_seccomp_profile(pods: Pods) -> None:
    assert len(pods) == 3
    for where, pod in pods.items():
        assert pod["securityContext"]["runAsNonRoot"] is True, where
        assert pod["securityContext"]["runAsUser"] > 0, where
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, where
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys(), where


def test_containers_drop_privileges_and_have_a_read_only_root(pods: Pods) -> None:
    for where, pod in pods.items():
        for container in (*pod["containers"], *pod.get("initContainers", [])):
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False, where
            assert security["privileged"] is False, where
            assert security["capabilities"] == {"drop": ["ALL"]}, where
            assert security["readOnlyRootFilesystem"] is True, where
            assert not [port for port in container.get("ports", []) if "hostPort" in port], where


def test_every_pod_mounts_only_allowed_volumes_and_a_writable_tmp(pods: Pods) -> None:
    for where, pod in pods.items():
        kinds = {volume["name"]: (volume.keys() - {"name"}).pop() for volume in pod["volumes"]}
        assert set(kinds.values()) <= RESTRICTED_VOLUMES, where
        for container in pod["containers"]:
            mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
            assert kinds[mounts["/tmp"]] == "emptyDir", where
            assert set(mounts.values()) <= kinds.keys(), where


def test_the_monitors_state_outlives_its_pod(pods: Pods, documents: Documents) -> None:
    (pod,) = (pod for where, pod in pods.items() if where.endswith("taxonflow-monitor"))
    (container,) = pod["containers"]
    out = next(argument.partition("=")[2] for argument in container["args"] if argument.startswith("--out="))
    (mount,) = (mount["name"] for mount in container["volumeMounts"] if mount["mountPath"] == out)
    (volume,) = (volume for volume in pod["volumes"] if volume["name"] == mount)
    claims = {claim["metadata"]["name"] for claim in of_kind(documents, "PersistentVolumeClaim")}
    assert volume["persistentVolumeClaim"]["claimName"] in claims


def test_every_container_has_probes_requests_and_limits(pods: Pods) -> None:
    for where, pod in pods.items():
        for container in pod["containers"]:
            assert {"readinessProbe", "livenessProbe"} <= container.keys(), where
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), where
            assert {"cpu", "memory"} <= container["resources"]["limits"].keys(), where


def test_no_pod_mounts_an_api_token(pods: Pods) -> None:
    assert all(pod["automountServiceAccountToken"] is False for pod in pods.values())


def test_images_equal_those_of_the_code(pods: Pods) -> None:
    images = {where.rpartition("/")[2]: pod["containers"][0].get("image") for where, pod in pods.items()}
    assert images == {"predictor": None, "transformer": SERVING_IMAGE, "taxonflow-monitor": MONITORING_IMAGE}


@pytest.mark.parametrize(
    ("build", "version", "gpus"),
    [
        ("base", TENSORFLOW_SERVING_VERSION, "1"),
        ("overlays/production", TENSORFLOW_SERVING_VERSION, "1"),
        ("overlays/kind", TENSORFLOW_SERVING_VERSION.removesuffix("-gpu"), None),
    ],
)
def test_the_predictor_requests_a_gpu_except_on_kind(
    documents_of: Callable[[str], Documents], build: str, version: str, gpus: str | None
) -> None:
    (service,) = of_kind(documents_of(build), "InferenceService")
    model = service["spec"]["predictor"]["model"]
    assert model["runtimeVersion"] == version
    assert model["resources"]["limits"].get("nvidia.com/gpu") == gpus


def test_the_deploy_step_has_the_least_privileges(documents: Documents) -> None:
    (role,) = of_kind(documents, "Role")
    permissions = {
        (resource, verb) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]
    }
    writes = {(kind, verb) for kind in ("inferenceservices", "configmaps") for verb in ("get", "create", "patch")}
    assert permissions == writes | {("deployments", "get")}
    (role_binding,) = of_kind(documents, "RoleBinding")
    assert {subject["kind"] for subject in role_binding["subjects"]} == {"ServiceAccount"}
    accounts = {subject["name"] for subject in role_binding["subjects"]}
    assert "taxonflow-deployer" in accounts <= {"taxonflow-deployer", "pipeline-runner", "default-editor"}
    assert of_kind(documents, "ClusterRole") == of_kind(documents, "ClusterRoleBinding") == []


def test_the_overlays_bind_kubeflows_default_accounts(
    documents_of: Callable[[str], Documents],
) -> None:
    for overlay, account in (
        ("kind", ("pipeline-runner", "kubeflow")),
        ("production", ("default-editor", "taxonflow")),
    ):
        (role_binding,) = of_kind(documents_of(f"overlays/{overlay}"), "RoleBinding")
        subjects = {(subject["name"], subject["namespace"]) for subject in role_binding["subjects"]}
        assert subjects == {("taxonflow-deployer", "taxonflow"), account}


def test_every_claim_account_and_config_map_of_a_pod_exists(documents: Documents, pods: Pods) -> None:
    names = {(document["kind"], document["metadata"]["name"]) for document in documents}
    for where, pod in pods.items():
        if "serviceAccountName" in pod:
            assert ("ServiceAccount", pod["serviceAccountName"]) in names, where
        for volume in pod["volumes"]:
            if "persistentVolumeClaim" in volume:
                assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in names, where
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in names, where


def test_the_monitors_service_and_scrape_select_its_pod(documents_of: Callable[[str], Documents]) -> None:
    documents = documents_of("overlays/production")
    (monitor,) = of_kind(documents, "Deployment")
    (service,) = of_kind(documents, "Service")
    (scrape,) = of_kind(documents, "ServiceMonitor")
    labels = monitor["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    assert scrape["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert scrape["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]


def test_the_arguments_of_own_containers_are_options_of_their_commands(
    documents_of: Callable[[str], Documents],
) -> None:
    documents = documents_of("base")
    (service,) = of_kind(documents, "InferenceService")
    (monitor,) = of_kind(documents, "Deployment")
    for pod in (service["spec"]["transformer"], monitor["spec"]["template"]["spec"]):
        (container,) = pod["containers"]
        command = [sys.executable, *container["command"][1:], "--help"]
        usage = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        options = {argument.partition("=")[0] for argument in container["args"] if argument.startswith("--")}
        assert len(options) >= 2
        assert not [option for option in options if f"{option} " not in usage], usage


def test_the_manifests_contain_no_secret(documents: Documents) -> None:
    assert of_kind(documents, "Secret") == []
