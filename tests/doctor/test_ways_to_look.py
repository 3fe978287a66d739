"""Ways by which a requirement is seen where the first one is closed, and requirements that depend on the cluster."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.doctor.checks.images import full_name
from components.doctor.checks.rights import RIGHTS
from components.doctor.examination import Server
from components.doctor.findings import Finding, State
from components.doctor.needs import PodNeeds, RunNeeds
from tests.doctor.api_server import ApiServer
from tests.doctor.healthy_cluster import APPS, CORE, CRD, KSERVE, MONITORING, NAMESPACE, SLICES, STORAGE, claim
from tests.http_server import Request, Response, http_server

Find = Callable[..., Finding]
ROOT = Path(__file__).parents[2]
SCHEMA = ROOT.parent / "shared" / "schemas" / "serving.kserve.io_inferenceservices.yaml"
HERE = f"{CORE}/namespaces/{NAMESPACE}"
CLAIMS = RunNeeds(claims=("checkpoints",))


def needs(image: str) -> RunNeeds:
    return RunNeeds(pods=(PodNeeds(task="steps", image=image),))


@pytest.mark.slow
@pytest.mark.skipif(not SCHEMA.exists(), reason="needs ../shared")
def test_the_schema_of_kserve_keeps_the_canary_field(server: ApiServer, finding: Find) -> None:
    server.objects[f"{CRD}/inferenceservices.serving.kserve.io"] = yaml.load(SCHEMA.read_text(), yaml.CSafeLoader)
    assert finding("canary field").state is State.MET


@pytest.mark.parametrize(("field", "state"), [("canary", State.MET), ("explainer", State.NOT_MET)])
def test_the_canary_field_is_also_seen_in_the_description(
    server: ApiServer, finding: Find, field: str, state: State
) -> None:
    server.denied.add(CRD)
    schema = {"properties": {"spec": {"properties": {"predictor": {}, field: {}}}}}
    schemas = {"io.kserve.serving.v1beta1.InferenceService": schema}
    server.objects["/openapi/v3/apis/serving.kserve.io/v1beta1"] = {"components": {"schemas": schemas}}
    assert finding("canary field").state is state


def test_the_version_of_kserve_is_also_seen_in_its_configuration(server: ApiServer, finding: Find) -> None:
    server.denied.update({APPS, CRD})
    data = {"storageInitializer": '{"image" : "kserve/storage-initializer:v0.19.0", "cpuRequest": "100m"}'}
    server.add(f"{CORE}/configmaps", "inferenceservice-config", "kserve", data=data)
    assert finding("kserve").sentence == "version v0.19.0"


def test_the_controller_of_kserve_is_also_seen_in_its_own_namespace(server: ApiServer, finding: Find) -> None:
    server.denied.add(f"{APPS}/deployments")
    assert finding("kserve").sentence == "version v0.20.0"


def test_restricted_is_met_after_the_patch_of_the_initializer(server: ApiServer, finding: Find) -> None:
    labels = server.objects[HERE]["metadata"]["labels"]
    labels["pod-security.kubernetes.io/enforce"] = "restricted"
    security = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {"name": "storage-initializer"}
    path = f"{KSERVE}/v1alpha1/clusterstoragecontainers"
    server.add(path, "default", spec={"container": container})
    before = finding("pod security")
    server.add(path, "default", spec={"container": {**container, "securityContext": security}})
    assert (before.state, finding("pod security").state) == (State.NOT_MET, State.MET)
    server.denied.add(path)
    assert finding("pod security").state is State.NOT_ALLOWED


def test_a_claim_may_wait_for_its_first_pod(server: ApiServer, finding: Find) -> None:
    claim(server, "checkpoints", "Pending", storageClassName="local")
    server.add(f"{STORAGE}/storageclasses", "local", volumeBindingMode="WaitForFirstConsumer")
    states = [finding(name, needs=CLAIMS).state for name in ("claims", "storage classes")]
    assert states == [State.MET, State.MET]


def test_a_bound_claim_is_met_without_a_look_at_its_class(server: ApiServer, finding: Find) -> None:
    claim(server, "checkpoints")
    server.denied.add(STORAGE)
    states = [finding(name, needs=CLAIMS).state for name in ("claims", "storage classes")]
    assert states == [State.MET, State.MET]


def test_an_endpoint_claim_of_one_node_is_named_on_two(server: ApiServer, finding: Find) -> None:
    operations = "[{op: replace, path: /spec/transformer/volumes, value: [{name: temporary, emptyDir: {}}, "
    operations += "{name: events, persistentVolumeClaim: {claimName: taxonflow-events}}]}]"
    labels = {"taxonflow.dev/endpoint-patch": "true"}
    server.add(f"{CORE}/configmaps", "claims", NAMESPACE, data={"a.yaml": operations}, metadata={"labels": labels})
    claim(server, "taxonflow-events", accessModes=["ReadWriteOnce"])
    one_node = finding("shared claims")
    server.add(f"{CORE}/nodes", "second", status={"allocatable": {}})
    two_nodes = finding("shared claims")
    assert (one_node.state, two_nodes.state, two_nodes.fails) == (State.MET, State.NOT_MET, False)
    assert "taxonflow-events is ReadWriteOnce on 2 nodes" in two_nodes.sentence
    assert two_nodes.command.startswith("kubectl delete pvc taxonflow-events")


@pytest.mark.parametrize("source", ["/apis/karpenter.sh/v1", "configmap"])
def test_a_cluster_that_adds_nodes_needs_none_yet(server: ApiServer, finding: Find, source: str) -> None:
    del server.objects[f"{CORE}/nodes/worker"]
    names = ("accelerators", "nodes for tasks", "nodes for endpoint")
    assert {finding(name).state for name in names} == {State.NOT_MET}
    path = f"{CORE}/namespaces/kube-system/configmaps/cluster-autoscaler-status" if source == "configmap" else source
    server.objects[path] = {}
    assert {finding(name).state for name in names} == {State.MET}


@pytest.mark.parametrize(
    ("data", "state"),
    [
        ({}, State.NOT_MET),
        ({"defaultPipelineRoot": "s3://bucket/runs"}, State.MET),
        ({"defaultPipelineRoot": "minio://bucket/runs"}, State.NOT_MET),
        ({"providers": "minio: {default: {endpoint: 'minio.example.org:443'}}"}, State.MET),
        ({"providers": "minio: {default: {endpoint: 'seaweedfs.kubeflow:9000'}}"}, State.NOT_MET),
        ({"providers": "{"}, State.NOT_MET),
    ],
)
def test_a_store_outside_the_cluster_needs_nothing_of_kubeflow(
    server: ApiServer, finding: Find, data: dict[str, str], state: State
) -> None:
    server.add(f"{CORE}/configmaps", "kfp-launcher", NAMESPACE, data=data)
    del server.objects[f"{SLICES}/seaweedfs-x"]
    del server.objects[f"{HERE}/secrets/mlpipeline-minio-artifact"]
    server.objects[f"{HERE}/serviceaccounts/taxonflow-model-reader"]["secrets"] = []
    names = ("artifact store", "artifact secret", "model secret")
    assert {finding(name).state for name in names} == {state}


@pytest.mark.parametrize(
    ("denied_path", "state"), [(f"{CORE}/none", State.NOT_MET), (f"{CORE}/nodes", State.NOT_ALLOWED)]
)
def test_an_image_without_a_registry_has_to_be_on_a_node(
    server: ApiServer, address: str, finding: Find, monkeypatch: pytest.MonkeyPatch, denied_path: str, state: State
) -> None:
    monkeypatch.setattr("components.doctor.checks.images.DEFAULT_REGISTRY", address.removeprefix("http://"))
    server.registry_status = 401
    server.denied.add(denied_path)
    result = finding("images", needs=needs("taxonflow/none:0.1.0"), endpoint="", endpoint_namespace="")
    assert (result.state, "taxonflow/none:0.1.0" in result.sentence) == (state, True)


def test_the_pods_of_the_endpoint_itself_take_no_room(server: ApiServer, finding: Find) -> None:
    server.objects[f"{CORE}/nodes/worker"]["status"]["allocatable"].update(cpu="2", memory="4Gi")
    containers = [{"resources": {"requests": {"cpu": "1500m"}}}]
    spec = {"nodeName": "worker", "containers": containers}
    labels = {"serving.kserve.io/inferenceservice": "foraminifera"}
    server.add(f"{CORE}/pods", "old", NAMESPACE, spec=spec, metadata={"labels": labels})
    own = finding("nodes for endpoint")
    server.add(f"{CORE}/pods", "old", NAMESPACE, spec=spec)
    other = finding("nodes for endpoint")
    assert (own.state, other.state) == (State.MET, State.NOT_MET)


def test_monitors_are_met_where_a_prometheus_selects_them(server: ApiServer, finding: Find) -> None:
    labels = {"release": "prometheus"}
    server.add(f"{MONITORING}/servicemonitors", "taxonflow-monitor", NAMESPACE, metadata={"labels": labels})
    selector = {"matchExpressions": [{"key": "release", "operator": "In", "values": ["prometheus"]}]}
    spec = {"serviceMonitorSelector": selector, "serviceMonitorNamespaceSelector": {}}
    server.add(f"{MONITORING}/prometheuses", "prometheus", "monitoring", spec=spec)
    assert finding("monitors").state is State.MET
    server.denied.add(f"{MONITORING}/prometheuses")
    assert finding("monitors").state is State.NOT_ALLOWED


def test_images_without_a_registry_are_named(finding: Find) -> None:
    result = finding("images", needs=needs("taxonflow/serving:0.1.0"))
    assert (result.state, result.sentence) == (State.MET, "taxonflow/serving:0.1.0: 1 on the nodes")


@pytest.mark.parametrize("status", [401, 403, 500])
def test_a_registry_that_wants_credentials_is_left_to_an_administrator(
    server: ApiServer, finding: Find, status: int
) -> None:
    server.images.clear()
    server.registry_status = status
    result = finding("images")
    assert (result.state, f"answers {status}" in result.sentence) == (State.NOT_ALLOWED, True)
    assert result.command.startswith("docker manifest inspect 127.0.0.1:")


def test_a_registry_that_cannot_be_reached_is_left_to_an_administrator(finding: Find) -> None:
    result = finding("images", needs=needs("127.0.0.1:9/taxonflow/python-cpu:1"))
    assert (result.state, "cannot be reached from here" in result.sentence) == (State.NOT_ALLOWED, True)


def test_a_registry_may_ask_for_an_anonymous_token(finding: Find) -> None:
    def respond(request: Request) -> Response:
        if request.path == "/token":
            return Response.of_json({"token": f"for {request.query['scope']}"})
        if request.headers.get("authorization") == "Bearer for pull":
            return Response()
        host = request.headers["host"]
        challenge = f'Bearer realm="http://{host}/token",service="registry",scope="pull"'
        return Response(401, headers={"WWW-Authenticate": challenge})

    with http_server(respond) as url:
        image = f"{url.removeprefix('http://')}/taxonflow/python-cpu@sha256:{'0' * 64}"
        assert finding("images", needs=needs(image)).state is State.MET


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("taxonflow/serving:1", "docker.io/taxonflow/serving:1"),
        ("busybox", "docker.io/library/busybox:latest"),
        ("docker.io/a/b:1", "docker.io/a/b:1"),
        ("localhost:5000/a/b:1", "localhost:5000/a/b:1"),
        ("ghcr.io/a/b@sha256:0", "ghcr.io/a/b@sha256:0"),
    ],
)
def test_images_are_compared_by_their_full_name(image: str, name: str) -> None:
    assert full_name(image) == name


def test_a_token_that_the_server_accepts_is_met(server: ApiServer, finding: Find) -> None:
    server.token = "token-4711"  # noqa: S105 of the test's server
    server.health["multi_user"] = True
    server.profiles.add("team")
    server.add(f"{CORE}/namespaces", "team")
    assert finding("token").state is State.MET
    assert finding("profile", namespace="team").sentence == "multi-user, and team is a profile of this user"


@pytest.mark.parametrize(("tag", "state"), [("2.17.0", State.MET), ("2.5.0", State.NOT_MET), ("", State.NOT_ALLOWED)])
def test_the_api_server_itself_names_its_version(server: ApiServer, finding: Find, tag: str, state: State) -> None:
    server.health = {"multi_user": False}
    server.tag = tag
    assert finding("kubeflow version").state is state
    assert f"version {tag or 'unknown'}, single-user" in finding("kubeflow pipelines").sentence


@pytest.mark.parametrize("name", ["kubeflow pipelines", "kubeflow version", "token", "profile"])
def test_a_server_that_does_not_answer_is_never_met(finding: Find, name: str) -> None:
    for host in ("http://127.0.0.1:9", "nonsense", "http://["):
        state = State.NOT_MET if name == "kubeflow pipelines" else State.NOT_ALLOWED
        assert finding(name, server=Server(host)).state is state


def test_the_role_of_the_overlays_has_every_right_that_is_asked_for() -> None:
    role = next(yaml.safe_load_all((ROOT / "manifests" / "base" / "deployer-role.yaml").read_text()))
    verbs: dict[tuple[str, str], set[str]] = {}
    for rule in role["rules"]:
        for resource in rule["resources"]:
            verbs.setdefault((rule["apiGroups"][0], resource), set()).update(rule["verbs"])
    assert [key for key, names in RIGHTS.items() if set(names) - verbs.get(key, set())] == []


def test_an_answer_that_is_no_json_object_is_left_to_an_administrator(server: ApiServer, finding: Find) -> None:
    documents: list[Any] = [[], "x", None]
    for document in documents:
        server.objects[HERE] = document
        assert finding("namespace").state is State.NOT_ALLOWED


def test_on_the_platform_an_absent_namespace_is_made_as_a_profile(server: ApiServer, finding: Find) -> None:
    assert finding("namespace", namespace="team").command == "kubectl create namespace team"
    server.objects["/apis/kubeflow.org/v1"] = {"resources": [{"name": "profiles"}]}
    for name in ("namespace", "webhooks"):
        command = finding(name, namespace="team", endpoint_namespace="team").command
        assert '"kind": "Profile", "metadata": {"name": "team"}' in command
