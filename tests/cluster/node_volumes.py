"""Volumes in a folder of the node, for clusters that provision none: NODE_FOLDER names it."""

import json

from tests.cluster.kubectl import Document, Kubectl, say, wait_for
from tests.cluster.settings import PART, Settings

_NAMESPACE, _POD = "taxonflow-test-node", "folders"
_STATIC = "kubernetes.io/no-provisioner"


def claims_without_provisioner(kubectl: Kubectl, documents: list[Document]) -> list[Document]:
    """Return the claims among documents whose volumes the cluster would not make."""
    classes = {item["metadata"]["name"]: item for item in json.loads(kubectl.run("get", "sc", "-o", "json"))["items"]}
    default = next((name for name, item in classes.items() if _is_default(item)), "")
    claims = [document for document in documents if document["kind"] == "PersistentVolumeClaim"]
    return [
        claim
        for claim in claims
        if classes.get(claim["spec"].get("storageClassName", default), {}).get("provisioner", _STATIC) == _STATIC
    ]


def _is_default(storage_class: Document) -> bool:
    annotations = storage_class["metadata"].get("annotations", {})
    return bool(annotations.get("storageclass.kubernetes.io/is-default-class") == "true")


def run_on_node(settings: Settings, command: str) -> None:
    """Run a shell command in a pod that shows NODE_FOLDER as /node, with the user of Taxonflow's images.

    The pod has a namespace of its own, because Pod Security forbids folders of the node elsewhere.
    """
    kubectl = Kubectl(settings.kubeconfig, _NAMESPACE)
    kubectl.run("create", "namespace", _NAMESPACE)
    try:
        wait_for("the namespace of the node's folders", lambda: kubectl.find("serviceaccount", "default"), 60)
        container = {
            "name": "main",
            "image": settings.image("serving"),
            "imagePullPolicy": "IfNotPresent",
            "command": ["sh", "-c", command],
            "volumeMounts": [{"name": "node", "mountPath": "/node"}],
        }
        volume = {"name": "node", "hostPath": {"path": settings.node_folder, "type": "Directory"}}
        specification = {"restartPolicy": "Never", "containers": [container], "volumes": [volume]}
        kubectl.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": _POD}, "spec": specification})
        wait_for("the node's folders", lambda: _has_ended(kubectl), 120)
    finally:
        kubectl.run("delete", "namespace", _NAMESPACE)


def _has_ended(kubectl: Kubectl) -> bool:
    found = kubectl.find("pod", _POD)
    phase = found["status"].get("phase") if found else ""
    assert phase != "Failed", f"NODE_FOLDER cannot be written by user 1000: {kubectl.logs(_POD)}"
    return bool(phase == "Succeeded")


def node_volumes(settings: Settings, claims: list[Document]) -> list[Document]:
    """Return a volume in NODE_FOLDER for each claim."""
    volumes = []
    for claim in claims:
        name = f"{settings.namespace}-{claim['metadata']['name']}"
        specification = {
            "capacity": claim["spec"]["resources"]["requests"],
            "accessModes": claim["spec"]["accessModes"],
            "hostPath": {"path": f"{settings.node_folder}/{name}"},
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {"namespace": settings.namespace, "name": claim["metadata"]["name"]},
            "storageClassName": claim["spec"].get("storageClassName", _default_class(settings)),
        }
        metadata = {"name": name, "labels": PART}
        volumes.append({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata, "spec": specification})
    say(f"nothing provisions volumes: {len(volumes)} in {settings.node_folder} of the node")
    return volumes


def _default_class(settings: Settings) -> str:
    kubectl = Kubectl(settings.kubeconfig, settings.namespace)
    classes = json.loads(kubectl.run("get", "sc", "-o", "json"))["items"]
    return next((item["metadata"]["name"] for item in classes if _is_default(item)), "")
