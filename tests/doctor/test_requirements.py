"""Each requirement in each of its states: met, not met with its command, and not allowed to look."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from components.doctor.diagnosis import diagnose
from components.doctor.examination import Examination, Server
from components.doctor.findings import Finding, State
from components.doctor.needs import RunNeeds
from components.doctor.requirements import CHECKS
from tests.doctor.api_server import ApiServer
from tests.doctor.healthy_cluster import (
    APPS,
    CORE,
    CRD,
    KSERVE,
    MONITORING,
    NAMESPACE,
    NETWORK,
    SLICES,
    claim,
)

Find = Callable[..., Finding]
Change = Callable[[ApiServer], Any]
ISVC = f"{KSERVE}/v1beta1/namespaces/{NAMESPACE}/inferenceservices"
HERE = f"{CORE}/namespaces/{NAMESPACE}"
LABELS = f"{HERE}"
CLAIMS = RunNeeds(claims=("checkpoints",))
MEMBER = {"app": "seaweedfs"}
CONTROLLER = f"{APPS}/namespaces/kserve/deployments/kserve-controller-manager"
RUNTIME = f"{KSERVE}/v1alpha1/clusterservingruntimes/kserve-tensorflow-serving"


def label(server: ApiServer, **labels: str) -> None:
    """Add labels to the namespace; `__` in a name stands for a slash, `_` for a hyphen."""
    names = {key.replace("__", "/").replace("_", "-"): value for key, value in labels.items()}
    server.objects[LABELS]["metadata"]["labels"].update(names)


def enforce(server: ApiServer, level: str) -> None:
    label(server, **{"pod-security.kubernetes.io/enforce": level})


def allocatable(server: ApiServer, **quantities: str | None) -> None:
    amounts = server.objects[f"{CORE}/nodes/worker"]["status"]["allocatable"]
    for name, quantity in quantities.items():
        key = {"gpu": "nvidia.com/gpu"}.get(name, name)
        amounts.pop(key) if quantity is None else amounts.update({key: quantity})


def guard_store(server: ApiServer, **selector: Any) -> None:
    profile = {"matchLabels": {"app.kubernetes.io/part-of": "kubeflow-profile"}}
    spec = {"podSelector": selector or {"matchLabels": MEMBER}, "ingress": [{"from": [{"namespaceSelector": profile}]}]}
    server.add(f"{NETWORK}/networkpolicies", "seaweedfs", NAMESPACE, spec=spec)


def guard_store_as_kubeflow(server: ApiServer) -> None:
    guard_store(server, matchExpressions=[{"key": "app", "operator": "In", "values": ["seaweedfs"]}])


def add_monitor(server: ApiServer, **labels: str) -> None:
    server.add(f"{MONITORING}/servicemonitors", "taxonflow-monitor", NAMESPACE, metadata={"labels": labels})
    selector = {"matchLabels": {"release": "prometheus"}}
    spec = {"serviceMonitorSelector": selector, "serviceMonitorNamespaceSelector": {}}
    server.add(f"{MONITORING}/prometheuses", "prometheus", "monitoring", spec=spec)


def add_quota(server: ApiServer, hard: str, used: str) -> None:
    fields = {"spec": {"hard": {"requests.cpu": hard}}, "status": {"used": {"requests.cpu": used}}}
    server.add(f"{CORE}/resourcequotas", "team", NAMESPACE, **fields)


def add_limit_range(server: ApiServer, most: str) -> None:
    limits = [{"type": "Container", "max": {"memory": most}}]
    server.add(f"{CORE}/limitranges", "team", NAMESPACE, spec={"limits": limits})


def patch(server: ApiServer, operation: str, path: str) -> None:
    labels = {"taxonflow.dev/endpoint-patch": "true"}
    data = {"a.yaml": f"[{{op: {operation}, path: {path}}}]"}
    server.add(f"{CORE}/configmaps", "wishes", NAMESPACE, data=data, metadata={"labels": labels})


def add_leftover(server: ApiServer) -> None:
    labels = {"app.kubernetes.io/part-of": "taxonflow"}
    path = f"{KSERVE}/v1beta1/inferenceservices"
    server.add(path, "foraminifera", "taxonflow", spec={"predictor": {"model": {}}}, metadata={"labels": labels})


def add_host_path(server: ApiServer) -> None:
    patch(server, "add", "/spec/predictor/volumes/-, value: {name: x, hostPath: {path: /}}")


def inject_sidecars(server: ApiServer) -> None:
    label(server, istio_injection="enabled")
    patch(server, "remove", "/spec/predictor/labels")


def without(path: str) -> Change:
    """Return a change that deletes an object."""
    return lambda server: server.objects.pop(path)


def deny(*paths: str) -> Change:
    """Return a change that denies paths."""
    return lambda server: server.denied.update(paths)


def tag(server: ApiServer, image: str) -> None:
    server.objects[CONTROLLER]["spec"]["template"]["spec"]["containers"][0]["image"] = image


NOT_MET: list[tuple[str, Change, dict[str, Any], str, str]] = [
    ("kubernetes", lambda s: s.objects["/version"].update(gitVersion="v1.27.3"), {}, "v1.27.3", "kubectl version"),
    ("kserve", without(f"{KSERVE}/v1beta1"), {}, "not installed", "kserve.yaml"),
    ("kserve", lambda s: s.objects[CONTROLLER].update(status={}), {}, "no available pod", "describe deployment"),
    ("kserve", lambda s: tag(s, "kserve/kserve-controller:v0.14.1"), {}, "v0.14.1", "v0.20.0/kserve.yaml"),
    ("kserve", without(CONTROLLER), {}, "no Deployment kserve-controller-manager", "kserve.yaml"),
    (
        "canary field",
        lambda s: s.objects[f"{CRD}/inferenceservices.serving.kserve.io"].update(
            spec={"versions": [{"name": "v1beta1", "schema": {"openAPIV3Schema": {}}}]}
        ),
        {},
        "removes spec.canary",
        "kserve.yaml",
    ),
    ("serving runtime", without(RUNTIME), {}, "no ClusterServingRuntime", "kserve-cluster-resources.yaml"),
    ("serving runtime", lambda s: s.objects[RUNTIME]["spec"].update(disabled=True), {}, "is disabled", "kubectl patch"),
    ("kubeflow pipelines", lambda s: s.health.update(apiServerReady=False), {}, "not ready", "kubectl get pods"),
    ("kubeflow pipelines", without(f"{HERE}/services/ml-pipeline"), {"server": Server()}, "no HOST", "kubectl apply"),
    ("kubeflow version", lambda s: s.health.update(apiServerTagName="2.5.0"), {}, "2.5.0", "kubectl apply -k"),
    ("token", lambda s: setattr(s, "token", "another"), {}, "rejects the token (302)", "create token pipeline-runner"),
    ("profile", lambda s: s.health.update(multi_user=True), {}, "does not let this user", "kubectl get profiles"),
    ("profile", lambda _: None, {"namespace": "team"}, "runs everything in kubeflow", "NAMESPACE=kubeflow"),
    ("namespace", without(HERE), {}, "no namespace kubeflow", "kubectl create namespace kubeflow"),
    (
        "namespace",
        lambda s: s.objects[HERE]["metadata"].update(deletionTimestamp="x"),
        {},
        "being deleted",
        "kubectl get namespace",
    ),
    ("account", without(f"{HERE}/serviceaccounts/pipeline-runner"), {}, "no service account", "ACCOUNT="),
    ("rights", lambda s: s.rights.discard("patch inferenceservices"), {}, "may not patch inferenceservices", "-k"),
    ("pod security", lambda s: enforce(s, "restricted"), {}, "storage initializer", "clusterstoragecontainer"),
    ("pod security", without(HERE), {}, "no namespace", "kubectl create namespace"),
    ("webhooks", lambda s: label(s, control_plane="kubeflow"), {}, "control-plane=kubeflow", "control-plane-"),
    ("sidecars", inject_sidecars, {}, "Istio sidecars to the predictor", "istio-injection-"),
    ("endpoint patches", lambda s: patch(s, "remove", "/spec/x"), {}, "ConfigMap wishes", "kubectl get configmaps"),
    ("artifact secret", without(f"{HERE}/secrets/mlpipeline-minio-artifact"), {}, "no secret", "kubectl apply"),
    (
        "artifact secret",
        lambda s: s.objects[f"{HERE}/secrets/mlpipeline-minio-artifact"]["data"].pop("secretkey"),
        {},
        "no key secretkey",
        "kubectl apply",
    ),
    (
        "volumes secret",
        lambda s: s.add(f"{CORE}/secrets", "taxonflow-volumes", NAMESPACE, data={"AWS_ACCESS_KEY_ID": "eA=="}),
        {},
        "no key AWS_SECRET_ACCESS_KEY",
        "kubectl create secret generic taxonflow-volumes",
    ),
    ("model reader", without(f"{HERE}/serviceaccounts/taxonflow-model-reader"), {}, "no service account", "apply -k"),
    (
        "model reader",
        without(f"{HERE}/secrets/taxonflow-model-storage"),
        {},
        "which does not exist",
        "kubectl patch serviceaccount taxonflow-model-reader",
    ),
    (
        "model secret",
        lambda s: s.objects[f"{HERE}/secrets/taxonflow-model-storage"]["metadata"]["annotations"].pop(
            "serving.kserve.io/s3-usehttps"
        ),
        {},
        "s3-usehttps is not 0",
        's3-usehttps="0"',
    ),
    (
        "model secret",
        lambda s: s.objects[f"{HERE}/secrets/taxonflow-model-storage"]["metadata"].pop("annotations"),
        {},
        "no annotation serving.kserve.io/s3-endpoint",
        "kubectl annotate secret",
    ),
    (
        "model secret",
        lambda s: s.objects[f"{HERE}/secrets/taxonflow-model-storage"]["data"].clear(),
        {},
        "no key AWS_ACCESS_KEY_ID",
        "kubectl patch secret",
    ),
    ("artifact store", without(f"{SLICES}/seaweedfs-x"), {}, "no Service seaweedfs", "kubectl get endpointslices"),
    ("store access", guard_store, {}, "NetworkPolicy seaweedfs keeps", "part-of=kubeflow-profile"),
    ("store access", guard_store_as_kubeflow, {}, "NetworkPolicy seaweedfs keeps", "part-of=kubeflow-profile"),
    ("claims", lambda _: None, {"needs": CLAIMS}, "no claim checkpoints", "kubectl apply -k"),
    ("claims", lambda s: claim(s, "checkpoints", "Lost"), {"needs": CLAIMS}, "is Lost", "kubectl describe pvc"),
    (
        "storage classes",
        lambda s: claim(s, "checkpoints", "Pending"),
        {"needs": CLAIMS},
        "no default storage class",
        "is-default-class",
    ),
    ("accelerators", lambda s: allocatable(s, gpu=None), {}, "no node has 1 nvidia.com/gpu of train", "RESOURCES=cpu"),
    ("nodes for tasks", lambda s: allocatable(s, cpu="2"), {}, "train (8 CPUs, 16 GiB)", "smaller requests"),
    (
        "nodes for tasks",
        lambda s: s.objects[f"{CORE}/nodes/worker"].update(spec={"taints": [{"key": "spot", "effect": "NoExecute"}]}),
        {},
        "taints spot",
        "grep Taints",
    ),
    ("nodes for endpoint", lambda s: allocatable(s, memory="1Gi"), {}, "does not fit", "manifests/overlays/kind"),
    ("quotas", lambda s: add_quota(s, "10", "9"), {}, "1 CPUs left of 10 CPUs; 8 CPUs", "describe resourcequotas"),
    ("limit ranges", lambda s: add_limit_range(s, "8Gi"), {}, "allows 8 GiB at most", "kubectl describe limitranges"),
    ("images", lambda s: s.images.clear(), {}, "has no taxonflow/python-cpu:1", "make push REGISTRY=127.0.0.1"),
    (
        "endpoint",
        lambda s: s.add(f"{KSERVE}/v1beta1/inferenceservices", "foraminifera", NAMESPACE, spec={"predictor": {}}),
        {},
        "has no model",
        "kubectl delete inferenceservice foraminifera -n kubeflow",
    ),
    ("leftovers", add_leftover, {}, "taxonflow/foraminifera have no model", "foraminifera -n taxonflow"),
    ("pod security", add_host_path, {}, "volume x is a host path", "enforce=baseline --overwrite"),
    ("monitors", add_monitor, {}, "none selects servicemonitors/taxonflow-monitor", "release=prometheus"),
]

NOT_ALLOWED: list[tuple[str, tuple[str, ...], dict[str, Any], str]] = [
    ("kserve", (APPS, CRD, f"{CORE}/namespaces"), {}, "kubectl get deployments -A"),
    ("canary field", (CRD, "/openapi/v3"), {}, "kubectl explain"),
    ("serving runtime", (f"{KSERVE}/v1alpha1",), {}, "kubectl get clusterservingruntime"),
    ("kubeflow pipelines", (f"{HERE}/services",), {"server": Server()}, "make doctor HOST="),
    ("namespace", (HERE,), {}, "kubectl get namespace kubeflow"),
    ("account", (HERE,), {}, "kubectl get serviceaccount pipeline-runner"),
    ("rights", ("/apis/authorization.k8s.io",), {}, "kubectl auth can-i --list --as=system:serviceaccount:kubeflow"),
    ("pod security", (HERE,), {}, "kubectl get namespace kubeflow"),
    ("webhooks", (HERE,), {}, "kubectl get namespace kubeflow"),
    ("sidecars", (HERE,), {}, "kubectl get namespace kubeflow"),
    ("artifact secret", (f"{HERE}/secrets",), {}, "kubectl describe secret mlpipeline-minio-artifact"),
    ("volumes secret", (f"{HERE}/secrets",), {}, "kubectl describe secret taxonflow-volumes"),
    ("model reader", (f"{HERE}/serviceaccounts",), {}, "kubectl get serviceaccount taxonflow-model-reader"),
    ("model secret", (f"{HERE}/secrets",), {}, "kubectl describe secret taxonflow-model-storage"),
    ("artifact store", (SLICES,), {}, "kubectl get endpointslices"),
    ("store access", (f"{NETWORK}/namespaces",), {}, "kubectl get networkpolicies"),
    ("claims", (f"{HERE}/persistentvolumeclaims",), {"needs": CLAIMS}, "kubectl describe pvc checkpoints"),
    ("storage classes", (f"{HERE}/persistentvolumeclaims",), {"needs": CLAIMS}, "kubectl get storageclasses"),
    ("shared claims", (f"{CORE}/nodes",), {}, "kubectl get nodes"),
    ("accelerators", (f"{CORE}/nodes",), {}, "kubectl describe nodes"),
    ("nodes for tasks", (f"{CORE}/nodes",), {}, "kubectl describe nodes"),
    ("nodes for endpoint", (f"{CORE}/nodes",), {}, "kubectl describe nodes"),
    ("quotas", (f"{HERE}/resourcequotas",), {}, "kubectl describe resourcequotas"),
    ("limit ranges", (f"{HERE}/limitranges",), {}, "kubectl describe limitranges"),
    ("endpoint patches", (f"{HERE}/configmaps",), {}, "kubectl get configmaps"),
    ("leftovers", (ISVC,), {}, "kubectl get inferenceservices -A"),
    ("endpoint", (ISVC,), {}, "kubectl get inferenceservice foraminifera"),
    ("monitors", (f"{MONITORING}/namespaces",), {}, "kubectl get prometheuses"),
]


def test_every_requirement_of_a_healthy_cluster_is_met(examination: Examination) -> None:
    findings = diagnose(examination)
    assert [finding for finding in findings if finding.state is not State.MET] == []
    assert [finding.name for finding in findings] == [check.name for check in CHECKS]


@pytest.mark.parametrize(("name", "change", "attributes", "sentence", "command"), NOT_MET)
def test_what_is_not_met_is_named_with_its_command(
    server: ApiServer, finding: Find, name: str, change: Change, attributes: dict[str, Any], sentence: str, command: str
) -> None:
    change(server)
    result = finding(name, **attributes)
    assert (result.state, sentence in result.sentence, command in result.command) == (State.NOT_MET, True, True), result


@pytest.mark.parametrize(("name", "paths", "attributes", "command"), NOT_ALLOWED)
def test_what_may_not_be_read_is_left_to_an_administrator(
    server: ApiServer, finding: Find, name: str, paths: tuple[str, ...], attributes: dict[str, Any], command: str
) -> None:
    server.denied.update(paths)
    result = finding(name, **attributes)
    assert (result.state, command in result.command, result.fails) == (State.NOT_ALLOWED, True, False), result


def test_each_requirement_has_a_test_in_which_it_is_not_met() -> None:
    elsewhere = {"shared claims"}  # test_ways_to_look.py
    assert {check.name for check in CHECKS} - {name for name, *_ in NOT_MET} == elsewhere


def test_a_run_that_deploys_to_a_folder_needs_no_kserve(examination: Examination) -> None:
    names = {finding.name for finding in diagnose(replace(examination, endpoint_namespace="", endpoint=""))}
    assert names.isdisjoint({"kserve", "canary field", "serving runtime", "rights", "model reader", "endpoint"})
