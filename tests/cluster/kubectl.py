"""kubectl as a subprocess, and the lines that the cluster tests print."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

Document = dict[str, Any]
_Found = TypeVar("_Found")
_START = time.monotonic()


def say(text: str) -> None:
    """Print a line with the seconds since the start of the tests."""
    sys.stdout.write(f"[cluster {time.monotonic() - _START:6.0f} s] {text}\n")
    sys.stdout.flush()


def wait_for(what: str, condition: Callable[[], _Found], timeout: float, pause: float = 1.0) -> _Found:
    """Return the first true result of a condition, and print how long it took.

    Raises:
        AssertionError: The condition was false for `timeout` seconds.
    """
    start = time.monotonic()
    while not (found := condition()):
        assert time.monotonic() - start < timeout, f"{what}: not within {timeout:g} s"
        time.sleep(pause)
    say(f"{what}: {time.monotonic() - start:.1f} s")
    return found


class Kubectl:
    """kubectl for one namespace.

    Args:
        kubeconfig: File with the address and the credentials of the cluster.
        namespace: Namespace of the commands.
    """

    def __init__(self, kubeconfig: str, namespace: str) -> None:
        self.namespace = namespace
        self._environment = {**os.environ, "KUBECONFIG": kubeconfig}

    def run(self, *arguments: str, given: bytes | None = None) -> str:
        """Run a command and return its output.

        Raises:
            AssertionError: The command failed.
        """
        result = self.attempt(*arguments, given=given)
        error = result.stderr.decode(errors="replace").strip()
        assert result.returncode == 0, f"kubectl {' '.join(arguments)[:200]}: {error[:2000]}"
        return result.stdout.decode(errors="replace")

    def attempt(self, *arguments: str, given: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        """Run a command that may fail."""
        command = ["kubectl", "--namespace", self.namespace, *arguments]
        return subprocess.run(command, input=given, capture_output=True, check=False, env=self._environment)

    def start(self, *arguments: str, **pipes: Any) -> subprocess.Popen[bytes]:
        """Start a command in the background."""
        return subprocess.Popen(["kubectl", "--namespace", self.namespace, *arguments], env=self._environment, **pipes)

    def find(self, kind: str, name: str) -> Document | None:
        """Return an object, or None if it does not exist."""
        output = self.run("get", kind, name, "--ignore-not-found", "-o", "json")
        return dict(json.loads(output)) if output.strip() else None

    def list(self, kind: str, labels: Mapping[str, str] | None = None) -> list[Document]:
        """Return the objects of a kind that have the given labels."""
        selector = ",".join(f"{key}={value}" for key, value in (labels or {}).items())
        output = self.run("get", kind, "-o", "json", *(("-l", selector) if selector else ()))
        return list(json.loads(output)["items"])

    def apply(self, *documents: Document) -> None:
        """Apply documents.

        Raises:
            AssertionError: A document was refused, or its pods would violate the Pod Security of the namespace.
        """
        result = self.attempt("apply", "-f", "-", given=_as_list(documents))
        error = result.stderr.decode(errors="replace").strip()
        assert result.returncode == 0, f"kubectl apply: {error[:2000]}"
        assert "would violate PodSecurity" not in error, error

    def delete(self, *documents: Document) -> None:
        """Delete documents and wait until they are gone."""
        self.run("delete", "--ignore-not-found", "-f", "-", given=_as_list(documents))

    def logs(self, pod: str) -> str:
        """Return the log of a pod, "" before its container has started."""
        return self.attempt("logs", pod).stdout.decode(errors="replace")


def _as_list(documents: tuple[Document, ...]) -> bytes:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(documents)}).encode()
