"""A cluster on which a run succeeds: installation A, in the namespace kubeflow."""

from typing import Any

from tests.doctor.api_server import ApiServer

NAMESPACE = "kubeflow"
KSERVE = "/apis/serving.kserve.io"
CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
CORE, APPS = "/api/v1", "/apis/apps/v1"
MONITORING = "/apis/monitoring.coreos.com/v1"
NETWORK = "/apis/networking.k8s.io/v1"
STORAGE = "/apis/storage.k8s.io/v1"
DISCOVERY = "/apis/discovery.k8s.io/v1"
SLICES = f"{DISCOVERY}/namespaces/{NAMESPACE}/endpointslices"
KINDS = {
    *(f"{CORE}/{kind}" for kind in ("nodes", "pods", "resourcequotas", "limitranges", "configmaps", "namespaces")),
    *(f"{MONITORING}/{kind}" for kind in ("servicemonitors", "podmonitors", "prometheusrules", "prometheuses")),
    f"{NETWORK}/networkpolicies",
    f"{KSERVE}/v1beta1/inferenceservices",
    f"{STORAGE}/storageclasses",
    f"{DISCOVERY}/endpointslices",
    f"{APPS}/deployments",
}
RIGHTS = {
    f"{verb} {resource}"
    for resource in ("inferenceservices", "configmaps", "deployments", "pods", "replicasets", "events", "secrets")
    for verb in ("get", "list", "create", "patch", "watch")
}


def healthy_cluster() -> ApiServer:
    """Return the servers of a cluster on which nothing is missing."""
    server = ApiServer(kinds=set(KINDS), rights=set(RIGHTS), profiles={""})
    server.health = {"apiServerReady": True, "apiServerTagName": "2.17.0", "multi_user": False}
    server.objects["/version"] = {"gitVersion": "v1.34.4"}
    _add_kserve(server)
    _add_namespace(server)
    _add_node(server)
    return server


def claim(server: ApiServer, name: str, phase: str = "Bound", **fields: Any) -> None:
    """Add a claim."""
    spec = {"accessModes": ["ReadWriteMany"], **fields}
    server.add(f"{CORE}/persistentvolumeclaims", name, NAMESPACE, spec=spec, status={"phase": phase})


def _add_kserve(server: ApiServer) -> None:
    server.objects[f"{KSERVE}/v1beta1"] = {"resources": []}
    container = {"name": "manager", "image": "kserve/kserve-controller:v0.20.0"}
    server.add(
        f"{APPS}/deployments",
        "kserve-controller-manager",
        "kserve",
        spec={"template": {"spec": {"containers": [container]}}},
        status={"availableReplicas": 1},
    )
    spec = {"properties": {"spec": {"properties": {"predictor": {}, "transformer": {}, "canary": {}}}}}
    version = {"name": "v1beta1", "schema": {"openAPIV3Schema": spec}}
    server.add(CRD, "inferenceservices.serving.kserve.io", spec={"versions": [version]})
    formats = [{"name": "tensorflow", "version": "2"}]
    runtime = {"supportedModelFormats": formats}
    server.add(f"{KSERVE}/v1alpha1/clusterservingruntimes", "kserve-tensorflow-serving", spec=runtime)


def _add_namespace(server: ApiServer) -> None:
    server.add(f"{CORE}/namespaces", NAMESPACE, metadata={"labels": {"pod-security.kubernetes.io/enforce": "baseline"}})
    server.add(f"{CORE}/services", "ml-pipeline", NAMESPACE)
    server.add(f"{CORE}/serviceaccounts", "pipeline-runner", NAMESPACE)
    secrets = [{"name": "taxonflow-model-storage"}]
    server.add(f"{CORE}/serviceaccounts", "taxonflow-model-reader", NAMESPACE, secrets=secrets)
    server.add(
        f"{CORE}/secrets", "mlpipeline-minio-artifact", NAMESPACE, data={"accesskey": "eA==", "secretkey": "eA=="}
    )
    annotations = {
        "serving.kserve.io/s3-endpoint": "seaweedfs.kubeflow:9000",
        "serving.kserve.io/s3-usehttps": "0",
        "serving.kserve.io/s3-region": "us-east-1",
    }
    keys = {"AWS_ACCESS_KEY_ID": "eA==", "AWS_SECRET_ACCESS_KEY": "eA=="}
    metadata = {"annotations": annotations}
    server.add(f"{CORE}/secrets", "taxonflow-model-storage", NAMESPACE, data=keys, metadata=metadata)
    labels = {"kubernetes.io/service-name": "seaweedfs"}
    endpoints = [{"conditions": {"ready": True}}]
    server.add(
        f"{DISCOVERY}/endpointslices", "seaweedfs-x", NAMESPACE, endpoints=endpoints, metadata={"labels": labels}
    )


def _add_node(server: ApiServer) -> None:
    images = [{"names": ["docker.io/taxonflow/serving:0.1.0"]}]
    server.add(
        f"{CORE}/nodes",
        "worker",
        status={
            "allocatable": {"cpu": "16", "memory": "64Gi", "nvidia.com/gpu": "1", "pods": "110"},
            "conditions": [{"type": "Ready", "status": "True"}],
            "images": images,
        },
    )
