"""Pods of the tests: as restricted as Pod Security asks, and as Kubeflow Pipelines makes those of its steps."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.cluster.kubectl import Document, Kubectl, wait_for
from tests.cluster.settings import PART, Settings

SCRIPTS = Path(__file__).parent / "in_cluster"
_ENDED = ("Succeeded", "Failed")


def pod(
    name: str,
    image: str,
    command: Sequence[str],
    claims: Mapping[str, str] | None = None,
    account: str = "default",
    files: str = "",
    variables: Mapping[str, str] | None = None,
) -> Document:
    """Return the document of a pod.

    Args:
        name: Name of the pod.
        image: Address of the image.
        command: Command of the only container.
        claims: Folders of the container by the name of the claim that they show.
        account: Service account.
        files: Name of a ConfigMap that the folder /files shows; "" for none.
        variables: Environment variables of the container.
    """
    places: dict[str, tuple[str, Document]] = {"temporary": ("/tmp", {"emptyDir": {}})}
    for claim, folder in (claims or {}).items():
        places[claim] = (folder, {"persistentVolumeClaim": {"claimName": claim}})
    if files:
        places["files"] = ("/files", {"configMap": {"name": files}})
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": list(command),
        "env": [{"name": key, "value": value} for key, value in (variables or {}).items()],
        "resources": {"requests": {"cpu": "50m", "memory": "256Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True},
        "volumeMounts": [{"name": volume, "mountPath": place[0]} for volume, place in places.items()],
    }
    specification = {
        "restartPolicy": "Never",
        "serviceAccountName": account,
        "terminationGracePeriodSeconds": 5,
        "securityContext": {
            "runAsUser": 1000,
            "runAsGroup": 1000,
            "fsGroup": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": volume, **place[1]} for volume, place in places.items()],
    }
    labels = {**PART, "pipelines.kubeflow.org/v2_component": "true"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels, "annotations": {"sidecar.istio.io/inject": "false"}},
        "spec": specification,
    }


def script_pod(
    settings: Settings, name: str, image: str, call: Mapping[str, object], claims: Mapping[str, str]
) -> Document:
    """Return the document of a pod that runs the script of tests/cluster/in_cluster that its image names.

    Args:
        settings: Settings of the tests.
        name: Name of the pod.
        image: Name of the image: "python-cpu" runs the deploy step, "monitoring" the drift check.
        call: Arguments of the script.
        claims: Folders of the container by claim.
    """
    script = {"python-cpu": "deploy_step.py", "monitoring": "drift_step.py"}[image]
    command = ["python", "-c", (SCRIPTS / script).read_text(), json.dumps(call)]
    return pod(name, settings.image(image), command, claims, settings.account)


def phase(kubectl: Kubectl, name: str) -> str:
    """Return the phase of a pod, "" if it does not exist."""
    found = kubectl.find("pod", name)
    return str(found["status"].get("phase", "")) if found else ""


def wait_until_running(kubectl: Kubectl, name: str, timeout: float = 300.0) -> None:
    """Wait until a pod is ready."""
    wait_for(f"pod {name} runs", lambda: phase(kubectl, name) == "Running", timeout)


def wait_for_facts(kubectl: Kubectl, name: str, timeout: float) -> dict[str, object]:
    """Wait for the end of a script's pod and return the facts in its last line.

    Raises:
        AssertionError: The script failed.
    """
    wait_for(f"pod {name} ended", lambda: phase(kubectl, name) in _ENDED, timeout)
    log = kubectl.logs(name)
    assert phase(kubectl, name) == "Succeeded", f"pod {name} failed:\n{log[-4000:]}"
    return dict(json.loads(log.splitlines()[-1]))
