"""An installation of the tests: namespace, volumes, overlay, and a stand-in of KServe's controller where none runs."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from components.deploy.kserve.version_registry import registry_name
from tests.cluster.kubectl import Document, Kubectl, say, wait_for
from tests.cluster.node_volumes import claims_without_provisioner, node_volumes, run_on_node
from tests.cluster.settings import MODEL, MODELS_CLAIM, PART, Settings
from tests.conftest import SCHEMAS
from tests.documents import ROOT

OVERLAY = ROOT / "manifests" / "overlays" / "kind"
CRD, CRD_FILE = "inferenceservices.serving.kserve.io", SCHEMAS / "serving.kserve.io_inferenceservices.yaml"
RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}
_SYSTEM = ("events", "endpoints", "endpointslices", "leases", "workflows", "pods.metrics")
"""Kinds that the cluster itself makes, or Kubeflow for its runs."""
_OF_THE_CLUSTER = "namespaces,persistentvolumes,clusterroles,clusterrolebindings,customresourcedefinitions"


class Installation:
    """What the tests apply to a cluster, and remove again.

    Args:
        settings: Settings of the tests.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.kubectl = Kubectl(settings.kubeconfig, settings.namespace)
        self.made: list[Document] = []
        self.before: set[str] = set()
        self._standin: subprocess.Popen[bytes] | None = None

    def prepare(self) -> None:
        """Make namespace, account and the CRD where the cluster has none, and start the stand-in if it is needed."""
        kubectl = self.kubectl
        version = json.loads(kubectl.run("version", "-o", "json"))["serverVersion"]["gitVersion"]
        say(f"Kubernetes {version}, namespace {self.settings.namespace}")
        if not self.settings.host:
            say("without HOST: no checks of Kubeflow Pipelines; pods of the tests run the steps in its place")
        self.before = self.inventory()
        self._make_missing(_object("Namespace", self.settings.namespace, RESTRICTED))
        wait_for("the namespace has its account", lambda: kubectl.find("serviceaccount", "default"), 60)
        self._make_missing(_object("ServiceAccount", self.settings.account))
        if not self.settings.host:  # the overlay copies the keys of Kubeflow's object store
            keys = {"accesskey": "none", "secretkey": "none"}
            self._make_missing({**_object("Secret", "mlpipeline-minio-artifact"), "stringData": keys})
        self._start_controller()
        assert kubectl.find("inferenceservice", MODEL) is None, (
            f"namespace {self.settings.namespace} has an InferenceService {MODEL}: choose another NAMESPACE"
        )

    def apply_overlay(self) -> list[str]:
        """Apply the overlay `kind` and the claim of the tests' models; return the names of the objects."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder).resolve()
            (path / "kustomization.yaml").write_text(yaml.safe_dump(self._kustomization(path)))
            documents = list(yaml.safe_load_all(self.kubectl.run("kustomize", str(path))))
        present = [document for document in documents if self._finds(document)]
        assert not present, f"{_names(present)} exist: the overlay must be applied from nothing"
        documents += [self._models_claim(), *self._serving_patch()]
        documents += self._make_volumes(documents)
        self.made += documents
        self.kubectl.apply(*documents)
        return _names(documents)

    def remove(self) -> None:
        """Remove everything that the tests and the deploy step made; can be called twice."""
        kubectl = self.kubectl
        if kubectl.attempt("get", "inferenceservice", MODEL).returncode == 0:
            kubectl.run("delete", "inferenceservice", MODEL)
            wait_for("the endpoint's pods are gone", lambda: not self._endpoint_pods(), 180)
        for kind in ("pod", "configmap"):
            kubectl.run("delete", kind, "-l", ",".join(f"{key}={value}" for key, value in PART.items()))
        kubectl.run("delete", "configmap", registry_name(MODEL), "--ignore-not-found")
        has_node_folders = any(document["kind"] == "PersistentVolume" for document in self.made)
        if self.made:
            kubectl.delete(*reversed(self.made))
        self.made.clear()
        if has_node_folders:
            run_on_node(self.settings, f"rm -rf /node/{self.settings.namespace}-*")
        if self._standin:
            self._standin.send_signal(signal.SIGTERM)
            self._standin.wait(30)
            self._standin = None

    def inventory(self) -> set[str]:
        """Return the names of all objects in the namespace, and of those of the cluster that the tests may make."""
        kinds = self.kubectl.run("api-resources", "--verbs=list", "--namespaced", "-o", "name").split()
        listed = [kind for kind in kinds if not f"{kind}.".startswith(tuple(f"{name}." for name in _SYSTEM))]
        names = self.kubectl.run("get", ",".join(listed), "-o", "name", "--ignore-not-found").split()
        return {*names, *self.kubectl.run("get", _OF_THE_CLUSTER, "-o", "name").split()}

    def _make_missing(self, document: Document) -> None:
        if not self._finds(document):
            self.kubectl.apply(document)
            self.made.append(document)
            say(f"made {_names([document])[0]}")

    def _start_controller(self) -> None:
        """Start the stand-in of KServe's controller unless the cluster runs KServe."""
        controllers = json.loads(
            self.kubectl.run("get", "pods", "-A", "-l", "control-plane=kserve-controller-manager", "-o", "json")
        )["items"]
        if controllers:
            say(f"KServe's controller runs: {controllers[0]['spec']['containers'][0]['image']}")
            return
        assert self.settings.standin, "no KServe controller runs: install KServe, or set KSERVE_STANDIN to a script"
        say(f"no KServe controller runs: {self.settings.standin} stands in, without webhooks and defaults")
        if not self.kubectl.run("get", "crd", CRD, "--ignore-not-found"):
            self.kubectl.run("apply", "--server-side", "-f", str(CRD_FILE))
            self.made.append(yaml.safe_load(CRD_FILE.read_text()))
            wait_for("the CRD is served", lambda: self.kubectl.attempt("get", "inferenceservices").returncode == 0, 60)
        environment = {**os.environ, "KUBECONFIG": self.settings.kubeconfig}
        self._standin = subprocess.Popen([sys.executable, self.settings.standin], env=environment)

    def _kustomization(self, folder: Path) -> dict[str, Any]:
        """Return a kustomization of the overlay with the namespace and the images of the tests."""
        images = ("python-cpu", "serving", "monitoring")
        names = {name: self.settings.image(name).rpartition(":") for name in images}
        subject = {"kind": "ServiceAccount", "name": self.settings.account, "namespace": self.settings.namespace}
        patch = [{"op": "replace", "path": "/subjects", "value": [subject]}]  # kustomize changes no foreign accounts
        binding = {"target": {"kind": "RoleBinding", "name": "taxonflow-deployer"}, "patch": yaml.safe_dump(patch)}
        return {
            "patches": [binding],
            "namespace": self.settings.namespace,
            "resources": [os.path.relpath(OVERLAY, folder)],
            "images": [
                {"name": f"taxonflow/{name}", "newName": parts[0], "newTag": parts[2]} for name, parts in names.items()
            ],
        }

    def _models_claim(self) -> Document:
        claim = {
            "accessModes": [self.settings.access_mode],
            "resources": {"requests": {"storage": "1Gi"}},
        }
        return {**_object("PersistentVolumeClaim", MODELS_CLAIM), "spec": claim}

    def _serving_patch(self) -> list[Document]:
        """Return the patch of the endpoint that sets another server in TensorFlow Serving's place."""
        if not self.settings.serving_image:
            return []
        say(f"{self.settings.serving_image} stands in for TensorFlow Serving")
        patch = [{"op": "add", "path": "/spec/predictor/model/image", "value": self.settings.serving_image}]
        labels = {"taxonflow.dev/endpoint-patch": "true"}
        data = {"server.yaml": yaml.safe_dump(patch)}
        return [{**_object("ConfigMap", "zz-taxonflow-test-server", labels), "data": data}]

    def _make_volumes(self, documents: list[Document]) -> list[Document]:
        if not self.settings.node_folder:
            return []
        claims = claims_without_provisioner(self.kubectl, documents)
        folders = " ".join(f"/node/{self.settings.namespace}-{claim['metadata']['name']}" for claim in claims)
        run_on_node(self.settings, f"rm -rf {folders} && mkdir -p {folders}")
        return node_volumes(self.settings, claims)

    def _finds(self, document: Document) -> bool:
        group = document["apiVersion"].rpartition("/")[0]
        kind = f"{document['kind']}.{group}" if group else document["kind"]
        return self.kubectl.find(kind, document["metadata"]["name"]) is not None

    def _endpoint_pods(self) -> list[Document]:
        return self.kubectl.list("pods", {"serving.kserve.io/inferenceservice": MODEL})


def _object(kind: str, name: str, labels: dict[str, str] | None = None) -> Document:
    """Return the head of an object of the core API."""
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "labels": {**PART, **(labels or {})}}}


def _names(documents: list[Document]) -> list[str]:
    return [f"{document['kind']}/{document['metadata']['name']}" for document in documents]
