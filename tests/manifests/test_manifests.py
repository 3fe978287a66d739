"""Manifests: they build, match their schemas, run unprivileged, and agree with the code."""

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
from tests.manifests.endpoint import operations, patch_maps, patched_service

ROOT = Path(__file__).parents[2]
KUBERNETES = "1.34"
OVERLAYS = {"overlays/kind": "kubeflow", "overlays/production": "kubeflow-user-example-com"}
ACCOUNTS = {"overlays/kind": "pipeline-runner", "overlays/production": "default-editor"}
Documents = list[dict[str, Any]]
DocumentsOf = Callable[[str], Documents]
Pods = dict[str, dict[str, Any]]


def of_kind(documents: Documents, kind: str) -> Documents:
    return [document for document in documents if document["kind"] == kind]


def named(documents: Documents, kind: str, name: str) -> dict[str, Any]:
    return next(document for document in of_kind(documents, kind) if document["metadata"]["name"] == name)


def is_core(document: dict[str, Any]) -> bool:
    group = document["apiVersion"].rpartition("/")[0]
    return "." not in group or group.endswith(".k8s.io")


def test_core_kinds_match_the_kubernetes_schemas(documents: Documents) -> None:
    core = [document for document in documents if is_core(document)]
    assert len(core) >= 6
    for document in core:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)


def test_custom_kinds_match_their_crd_schemas(
    documents: Documents, service: dict[str, Any], complaints_of_crd: Callable[[dict[str, Any]], list[str]]
) -> None:
    custom = [document for document in documents if not is_core(document)]
    assert [violation for document in (*custom, service) for violation in complaints_of_crd(document)] == []


def test_a_typo_in_a_custom_kind_is_a_violation(
    service: dict[str, Any], complaints_of_crd: Callable[[dict[str, Any]], list[str]]
) -> None:
    service["spec"]["predictor"]["model"]["storageUrl"] = "s3://typo"
    assert "storageUrl" in complaints_of_crd(service)[0]


def test_the_deploy_step_alone_makes_the_inference_service(documents: Documents) -> None:
    assert of_kind(documents, "InferenceService") == []


def test_an_overlay_uses_the_namespace_of_the_runs_and_owns_none(documents_of: DocumentsOf) -> None:
    assert not [document for document in documents_of("base") if "namespace" in document["metadata"]]
    for overlay, namespace in OVERLAYS.items():
        documents = documents_of(overlay)
        assert of_kind(documents, "Namespace") == []
        assert {document["metadata"]["namespace"] for document in documents} == {namespace}


def test_the_namespace_of_production_is_set_in_one_place(
    tmp_path: Path, copied_manifests: Callable[[Path], Path], kustomize: Callable[[Path], Documents]
) -> None:
    folder = copied_manifests(tmp_path) / "overlays" / "production"
    file = folder / "kustomization.yaml"
    file.write_text(file.read_text().replace(OVERLAYS["overlays/production"], "my-profile"))
    documents = kustomize(folder)
    assert {document["metadata"]["namespace"] for document in documents} == {"my-profile"}
    subjects = [subject for binding in of_kind(documents, "RoleBinding") for subject in binding["subjects"]]
    assert {subject["namespace"] for subject in subjects} == {"my-profile"}


def test_every_container_has_a_read_only_root_and_a_writable_tmp(pods: Pods) -> None:
    assert len(pods) >= 3
    for where, pod in pods.items():
        kinds = {volume["name"]: (volume.keys() - {"name"}).pop() for volume in pod["volumes"]}
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, where
            mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
            assert kinds[mounts["/tmp"]] == "emptyDir", where
            assert set(mounts.values()) <= kinds.keys(), where


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_events_models_and_reports_outlive_their_pods(documents_of: DocumentsOf, overlay: str) -> None:
    documents = documents_of(overlay)
    monitor = named(documents, "Deployment", "taxonflow-monitor")["spec"]["template"]["spec"]
    transformer = patched_service(documents)["spec"]["transformer"]
    folders = [claim_of(monitor, "--events"), claim_of(monitor, "--repository"), claim_of(monitor, "--out")]
    assert folders == ["taxonflow-events", "taxonflow-models", "taxonflow-reports"]
    assert claim_of(transformer, "--events") == "taxonflow-events"


def claim_of(pod: dict[str, Any], option: str) -> str:
    """Return the claim that holds the folder of an option of a pod's container."""
    (container,) = pod["containers"]
    arguments = " ".join(container["args"]).replace("=", " ").split()
    folder = arguments[arguments.index(option) + 1]
    (volume,) = (mount["name"] for mount in container["volumeMounts"] if mount["mountPath"] == folder)
    (source,) = (each for each in pod["volumes"] if each["name"] == volume)
    return str(source["persistentVolumeClaim"]["claimName"])


def test_the_base_needs_no_claim_and_no_secret(documents_of: DocumentsOf) -> None:
    documents = documents_of("base")
    assert of_kind(documents, "PersistentVolumeClaim") == of_kind(documents, "Secret") == []
    assert "secrets" not in named(documents, "ServiceAccount", "taxonflow-model-reader")


def test_the_kubelet_gives_a_claim_to_the_group_of_the_pods(documents: Documents) -> None:
    monitor = named(documents, "Deployment", "taxonflow-monitor")["spec"]["template"]["spec"]
    claims = [volume["persistentVolumeClaim"] for volume in monitor["volumes"] if "persistentVolumeClaim" in volume]
    assert not [claim for claim in claims if claim.get("readOnly")], "a read-only volume keeps its owner, root"
    mounts = {mount["name"]: mount.get("readOnly") for mount in monitor["containers"][0]["volumeMounts"]}
    assert (mounts["events"], mounts["models"], mounts["reports"]) == (True, True, None)


def test_every_container_has_requests_limits_and_a_server_probes(pods: Pods) -> None:
    for where, pod in pods.items():
        for container in pod["containers"]:
            assert where.startswith("Job/") or {"readinessProbe", "livenessProbe"} <= container.keys(), where
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), where
            assert {"cpu", "memory"} <= container["resources"]["limits"].keys(), where


def test_no_pod_that_serves_mounts_an_api_token(pods: Pods) -> None:
    with_token = {where for where, pod in pods.items() if pod["automountServiceAccountToken"] is not False}
    assert with_token <= {"Job/taxonflow-storage-keys"}


def test_a_job_is_removed_before_other_images_are_applied(documents: Documents) -> None:
    for job in of_kind(documents, "Job"):
        assert job["spec"].get("activeDeadlineSeconds", 10**6) <= 3600, "a Job whose image is absent never ends"
        assert job["spec"].get("ttlSecondsAfterFinished", 10**6) <= 600, "its pod template cannot be changed"


def test_images_equal_those_of_the_code(pods: Pods) -> None:
    images = {where.rpartition("/")[2]: pod["containers"][0].get("image") for where, pod in pods.items()}
    images.pop("taxonflow-storage-keys", None)
    assert images == {"predictor": None, "transformer": SERVING_IMAGE, "taxonflow-monitor": MONITORING_IMAGE}


@pytest.mark.parametrize(
    ("build", "suffix", "gpus"), [("base", "", None), ("overlays/kind", "", None), ("overlays/production", "-gpu", "1")]
)
def test_the_predictor_requests_a_gpu_in_production_only(
    documents_of: DocumentsOf, build: str, suffix: str, gpus: str | None
) -> None:
    model = patched_service(documents_of(build))["spec"]["predictor"]["model"]
    assert model["runtimeVersion"] == TENSORFLOW_SERVING_VERSION.removesuffix("-gpu") + suffix
    assert model["resources"]["limits"].get("nvidia.com/gpu") == gpus
    assert model["resources"]["requests"].get("nvidia.com/gpu") == gpus


def test_the_runs_have_the_least_privileges(documents: Documents) -> None:
    role = named(documents, "Role", "taxonflow-deployer")
    permissions = {
        (resource, verb) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]
    }
    changes = {(kind, verb) for kind, verb in permissions if verb not in ("get", "list")}
    assert changes == {(kind, verb) for kind in ("inferenceservices", "configmaps") for verb in ("create", "patch")}
    assert "secrets" not in {kind for kind, _ in permissions}
    assert of_kind(documents, "ClusterRole") == of_kind(documents, "ClusterRoleBinding") == []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_role_is_bound_to_the_account_of_the_runs_alone(documents_of: DocumentsOf, overlay: str) -> None:
    binding = named(documents_of(overlay), "RoleBinding", "taxonflow-deployer")
    account = {"kind": "ServiceAccount", "name": ACCOUNTS[overlay], "namespace": OVERLAYS[overlay]}
    assert binding["subjects"] == [account]
    assert named(documents_of("base"), "RoleBinding", "taxonflow-deployer").get("subjects", []) == []


def test_everything_that_a_pod_refers_to_exists(documents: Documents, pods: Pods) -> None:
    names = {(document["kind"], document["metadata"]["name"]) for document in documents}
    for where, pod in pods.items():
        if "serviceAccountName" in pod:
            assert ("ServiceAccount", pod["serviceAccountName"]) in names, where
        for volume in pod["volumes"]:
            if "persistentVolumeClaim" in volume:
                assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in names, where
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in names, where
    for account in of_kind(documents, "ServiceAccount"):
        assert all(("Secret", secret["name"]) in names for secret in account.get("secrets", []))


def test_the_monitors_service_and_scrape_select_its_pod(documents_of: DocumentsOf) -> None:
    documents = documents_of("overlays/production")
    monitor = named(documents, "Deployment", "taxonflow-monitor")
    (service,) = of_kind(documents, "Service")
    (scrape,) = of_kind(documents, "ServiceMonitor")
    labels = monitor["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    assert scrape["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert scrape["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]


def test_the_arguments_of_own_containers_are_options_of_their_commands(documents_of: DocumentsOf) -> None:
    documents = documents_of("base")
    monitor = named(documents, "Deployment", "taxonflow-monitor")["spec"]["template"]["spec"]
    for pod in (patched_service(documents)["spec"]["transformer"], monitor):
        (container,) = pod["containers"]
        command = [sys.executable, *container["command"][1:], "--help"]
        usage = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        options = {argument.partition("=")[0] for argument in container["args"] if argument.startswith("--")}
        assert len(options) >= 2
        assert not [option for option in options if f"{option} " not in usage], usage


def test_the_manifests_contain_no_key(documents: Documents) -> None:
    secrets = of_kind(documents, "Secret")
    assert not [secret for secret in secrets if secret.get("data") or secret.get("stringData")]


def test_an_endpoint_patch_changes_only_what_it_may(documents: Documents) -> None:
    allowed = ("/spec/predictor/", "/spec/transformer/", "/metadata/annotations/", "/metadata/labels/")
    for patch_map in patch_maps(documents):
        assert patch_map["data"], patch_map["metadata"]["name"]
    for path in (operation["path"] for operation in operations(documents)):
        assert path.startswith(allowed)
        assert not path.endswith(("/storageUri", "/securityContext"))
