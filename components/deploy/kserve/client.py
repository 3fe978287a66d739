"""The few calls of the Kubernetes API that a roll-out needs, with errors that say what to do."""

import os
from collections.abc import Callable
from typing import Any

import urllib3
import yaml
from kserve import KServeClient, constants
from kubernetes.client import ApiException
from kubernetes.config import ConfigException

from components.shared.errors import DeployError

_REQUEST_TIMEOUT_S = (5, 30)
_GROUP = (constants.KSERVE_GROUP, constants.KSERVE_V1BETA1_VERSION)


class ConflictError(DeployError):
    """Somebody else changed the object since it was read; read it again."""


class UnreachableError(DeployError):
    """The API did not answer or asks for patience; what was asked may have happened. Look and ask again."""


class Cluster:
    """InferenceServices of one namespace, their Deployments and ConfigMaps.

    Inside a pod it uses the pod's service account, elsewhere the file that KUBECONFIG names or the user's own.

    Args:
        namespace: the namespace of the InferenceServices.

    Raises:
        DeployError: there is neither a service account nor a usable kubeconfig.
    """

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        try:
            client = KServeClient(config_file=os.environ.get("KUBECONFIG"))
        except (ConfigException, OSError, yaml.YAMLError) as error:
            raise DeployError(
                f"no Kubernetes cluster is configured ({error})",
                remedy="Run the step in the cluster, or let KUBECONFIG name a kubeconfig file.",
            ) from error
        self._custom, self._apps, self._core = client.api_instance, client.app_api, client.core_api

    def service(self, name: str) -> dict[str, Any] | None:
        """Returns an InferenceService, or None where there is none."""
        return self._call(self._custom.get_namespaced_custom_object, *self._where(), name)

    def create_service(self, body: dict[str, Any]) -> dict[str, Any]:
        """Creates an InferenceService and returns it.

        Raises:
            ConflictError: there is one of this name.
        """
        made = self._call(self._custom.create_namespaced_custom_object, *self._where(), body)
        if made is None:
            raise DeployError(
                f"the cluster knows no InferenceService or no namespace {self.namespace!r}",
                remedy="Install KServe and create the namespace first.",
            )
        return made

    def patch_service(self, name: str, patch: dict[str, Any], resource_version: str) -> dict[str, Any]:
        """Merges a patch into an InferenceService if nobody changed it since `resource_version`, and returns it.

        Raises:
            ConflictError: it was changed or deleted meanwhile.
        """
        body = {**patch, "metadata": {**patch.get("metadata", {}), "resourceVersion": resource_version}}
        changed = self._call(self._custom.patch_namespaced_custom_object, *self._where(), name, body)
        if changed is None:
            raise ConflictError(f"InferenceService {self.namespace}/{name} was deleted meanwhile")
        return changed

    def deployment(self, name: str) -> dict[str, Any] | None:
        """Returns a Deployment that KServe made, or None."""
        return self._plain(self._call(self._apps.read_namespaced_deployment, name, self.namespace))

    def config_map(self, name: str) -> dict[str, Any] | None:
        """Returns a ConfigMap, or None where there is none."""
        return self._plain(self._call(self._core.read_namespaced_config_map, name, self.namespace))

    def create_config_map(self, body: dict[str, Any]) -> None:
        """Creates a ConfigMap.

        Raises:
            ConflictError: there is one of this name.
        """
        if self._call(self._core.create_namespaced_config_map, self.namespace, body) is None:
            raise DeployError(f"the cluster knows no namespace {self.namespace!r}", remedy="Create it first.")

    def patch_config_map(self, name: str, patch: dict[str, Any], resource_version: str) -> None:
        """Merges a patch into a ConfigMap if nobody changed it since `resource_version`.

        Raises:
            ConflictError: it was changed or deleted meanwhile.
        """
        body = {**patch, "metadata": {"resourceVersion": resource_version}}
        if self._call(self._core.patch_namespaced_config_map, name, self.namespace, body) is None:
            raise ConflictError(f"ConfigMap {self.namespace}/{name} was deleted meanwhile")

    def _plain(self, found: Any) -> dict[str, Any] | None:
        """Returns the client's object as the API wrote it."""
        return None if found is None else self._apps.api_client.sanitize_for_serialization(found)

    def _where(self) -> tuple[str, str, str, str]:
        return (*_GROUP, self.namespace, constants.KSERVE_PLURAL_INFERENCESERVICE)

    def _call(self, method: Callable[..., Any], *arguments: Any) -> Any:
        """Calls the API; None stands for "not found"."""
        try:
            return method(*arguments, _request_timeout=_REQUEST_TIMEOUT_S)
        except ApiException as error:
            if error.status == 404:
                return None
            raise self._explained(error) from error
        except urllib3.exceptions.HTTPError as error:
            raise UnreachableError(
                f"the Kubernetes API of namespace {self.namespace!r} cannot be reached ({error})",
                remedy="Check the cluster's address and network, then run the step again.",
            ) from error

    def _explained(self, error: ApiException) -> DeployError:
        said = f"the Kubernetes API answered {error.status} {error.reason} for namespace {self.namespace!r}"
        if error.status == 409:
            return ConflictError(said)
        if error.status == 429 or error.status >= 500:
            return UnreachableError(f"{said}: {_message(error)}", remedy="Wait for the cluster, then run again.")
        remedies = {
            401: "Give the step a valid token.",
            403: "Bind the role taxonflow-deployer to the run's service account.",
        }
        return DeployError(f"{said}: {_message(error)}", remedy=remedies.get(error.status, "Correct it and run again."))


def _message(error: ApiException) -> str:
    """Returns the first 500 characters of what the API says, without line breaks."""
    return " ".join(str(error.body or "no message").split())[:500]
