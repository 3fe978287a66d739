"""Pod Security, computed for every pod that our documents cause: ours, KServe's and those of Kubeflow Pipelines."""

import copy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.manifests.endpoint import Documents, patched_service, pods_of_service
from tests.manifests.pod_security import baseline_violations, restricted_violations

ROOT = Path(__file__).parents[2]
RECORDED = ROOT.parent / "shared" / "cluster"
INITIALIZER_PATCH = ROOT / "manifests" / "cluster" / "restricted-storage-initializer.yaml"
INITIALIZER: dict[str, Any] = {"name": "storage-initializer", "image": "kserve/storage-initializer:v0.20.0"}
"""Init container of KServe; it has no security context."""
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
GOOD: dict[str, Any] = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [{"name": "main", "securityContext": copy.deepcopy(RESTRICTED)}],
    "initContainers": [{"name": "init", "securityContext": copy.deepcopy(RESTRICTED)}],
    "volumes": [{"name": "temporary", "emptyDir": {}}],
}


def changed(path: str, value: object) -> dict[str, Any]:
    """Return GOOD with another value at a path; None removes it."""
    pod = copy.deepcopy(GOOD)
    *parents, last = path.split("/")
    part: Any = pod
    for name in parents:
        part = part[int(name)] if isinstance(part, list) else part.setdefault(name, {})
    if value is None:
        del part[last]
    else:
        part[last] = value
    return pod


def test_a_pod_with_all_settings_violates_neither_standard() -> None:
    assert baseline_violations(GOOD) == restricted_violations(GOOD) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("hostNetwork", True),
        ("hostPID", True),
        ("hostIPC", True),
        ("volumes", [{"name": "node", "hostPath": {"path": "/"}}]),
        ("securityContext/sysctls", [{"name": "kernel.msgmax", "value": "1"}]),
        ("securityContext/seccompProfile", {"type": "Unconfined"}),
        ("securityContext/appArmorProfile", {"type": "Unconfined"}),
        ("securityContext/seLinuxOptions", {"type": "spc_t"}),
        ("securityContext/windowsOptions", {"hostProcess": True}),
        ("containers/0/securityContext/privileged", True),
        ("containers/0/securityContext/procMount", "Unmasked"),
        ("containers/0/securityContext/capabilities", {"drop": ["ALL"], "add": ["SYS_ADMIN"]}),
        ("containers/0/securityContext/seLinuxOptions", {"user": "root"}),
        ("containers/0/securityContext/seccompProfile", {"type": "Unconfined"}),
        ("containers/0/ports", [{"containerPort": 8080, "hostPort": 8080}]),
        ("containers/0/livenessProbe", {"tcpSocket": {"port": 1, "host": "10.0.0.1"}}),
        ("containers/0/lifecycle", {"preStop": {"httpGet": {"port": 1, "host": "10.0.0.1"}}}),
        ("initContainers/0/securityContext/privileged", True),
        ("ephemeralContainers", [{"name": "debug", "securityContext": {**RESTRICTED, "privileged": True}}]),
    ],
)
def test_a_pod_that_violates_baseline_is_found(path: str, value: object) -> None:
    pod = changed(path, value)
    assert len(baseline_violations(pod)) == 1
    assert restricted_violations(pod)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("volumes", [{"name": "store", "nfs": {"server": "a", "path": "/"}}]),
        ("securityContext/runAsUser", 0),
        ("containers/0/securityContext/runAsUser", 0),
        ("containers/0/securityContext/runAsNonRoot", False),
        ("containers/0/securityContext/allowPrivilegeEscalation", None),
        ("containers/0/securityContext/capabilities", {"drop": ["KILL"]}),
        ("containers/0/securityContext/capabilities", {"drop": ["ALL"], "add": ["CHOWN"]}),
        ("initContainers/0/securityContext/allowPrivilegeEscalation", True),
    ],
)
def test_a_pod_that_violates_only_restricted_is_found(path: str, value: object) -> None:
    pod = changed(path, value)
    assert baseline_violations(pod) == []
    assert len(restricted_violations(pod)) == 1


def test_an_unconfined_apparmor_annotation_is_found() -> None:
    annotations = {"container.apparmor.security.beta.kubernetes.io/main": "unconfined"}
    assert len(baseline_violations(GOOD, annotations)) == 1
    assert baseline_violations(GOOD, dict.fromkeys(annotations, "localhost/own")) == []


def test_a_container_may_inherit_from_the_pod_and_override_it() -> None:
    pod = copy.deepcopy(GOOD)
    for key in ("runAsNonRoot", "seccompProfile"):
        del pod["containers"][0]["securityContext"][key]
    assert restricted_violations(pod) == []
    pod["securityContext"] = {}
    assert [violation.partition(": ")[2] for violation in restricted_violations(pod)] == [
        "runAsNonRoot != true",
        "seccompProfile is not set",
    ]


def test_every_pod_of_ours_passes_restricted(pods: dict[str, dict[str, Any]]) -> None:
    violations = {where: restricted_violations(pod) for where, pod in pods.items()}
    assert {where: found for where, found in violations.items() if found} == {}


def test_kserves_download_passes_baseline_and_restricted_once_patched(service: dict[str, Any]) -> None:
    before = pods_of_service(service, INITIALIZER)["predictor"]
    assert baseline_violations(before) == []
    assert {violation.partition(":")[0] for violation in restricted_violations(before)} == {"storage-initializer"}
    patch = yaml.safe_load(INITIALIZER_PATCH.read_text())["spec"]["container"]
    assert restricted_violations(pods_of_service(service, {**INITIALIZER, **patch})["predictor"]) == []


def recorded(name: str) -> Documents:
    """Return the documents of a moment of a real rollout."""
    if not RECORDED.is_dir():
        pytest.skip("the recorded objects are not beside the repository")
    return list(yaml.load_all((RECORDED / name).read_text(), yaml.CSafeLoader))


def test_the_computed_pods_are_as_secure_as_the_recorded_ones() -> None:
    documents = recorded("1-served.yaml")
    (service,) = (document for document in documents if document["kind"] == "InferenceService")
    computed = pods_of_service(service, INITIALIZER)
    for document in (document for document in documents if document["kind"] == "Pod"):
        pod = computed[document["metadata"]["labels"]["component"]]
        assert pod["securityContext"] == document["spec"]["securityContext"]
        for kind in ("containers", "initContainers"):
            securities = [each.get("securityContext") for each in document["spec"].get(kind, [])]
            assert [each.get("securityContext") for each in pod.get(kind, [])] == securities
        assert restricted_violations(pod) == restricted_violations(document["spec"])


def test_production_passes_restricted_with_every_component(
    documents_of: Callable[[str], Documents],
) -> None:
    pods = pods_of_service(patched_service(documents_of("overlays/production")))
    assert [violation for pod in pods.values() for violation in restricted_violations(pod)] == []


def executor_pod(security: dict[str, Any]) -> dict[str, Any]:
    """Return an executor pod of Kubeflow Pipelines 2.17 as it was recorded.

    Args:
        security: Security context of the compiled pipeline for the user's container.
    """
    main = {key: value for key, value in RESTRICTED.items() if key != "runAsNonRoot"}
    stores = ("gcs", "s3", "minio", "local", "cache", "config")
    return {
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {"name": "wait", "securityContext": RESTRICTED},
            {"name": "main", "securityContext": {**main, **security}},
        ],
        "initContainers": [{"name": name, "securityContext": RESTRICTED} for name in ("init", "kfp-launcher")],
        "volumes": [
            *({"name": f"{name}-scratch", "emptyDir": {}} for name in stores),
            {"name": "tmp-dir-argo", "emptyDir": {}},
            {"name": "secret", "secret": {"secretName": "mlpipeline-minio-artifact"}},
        ],
    }


def test_an_executor_pod_without_our_settings_is_refused_for_one_reason() -> None:
    pod = executor_pod({})
    assert baseline_violations(pod) == []
    assert restricted_violations(pod) == ["main: runAsNonRoot != true"]


@pytest.mark.slow
def test_the_executor_pods_of_every_pipeline_pass_restricted(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipelines.compile", "--preset", "smoke", "--out", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    files = sorted(tmp_path.glob("*.yaml"))
    assert len(files) >= 3
    for file in files:
        pipeline, *rest = yaml.load_all(file.read_text(), yaml.CSafeLoader)
        executors = pipeline["deploymentSpec"]["executors"]
        platform = rest[0]["platforms"]["kubernetes"]["deploymentSpec"]["executors"] if rest else {}
        for name in executors:
            security = platform.get(name, {}).get("securityContext", {})
            assert restricted_violations(executor_pod(security)) == [], f"{file.name}: {name}"
