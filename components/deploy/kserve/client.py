"""Client of the Kubernetes API for rollouts; its errors name a remedy."""

import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import urllib3
import yaml
from kserve import KServeClient, constants
from kubernetes.client import ApiException
from kubernetes.config import ConfigException

from components.deploy.canary.settings import Retries
from components.shared.errors import DeployError

REQUEST_TIMEOUT_S = (5, 30)
_GROUP = (constants.KSERVE_GROUP, constants.KSERVE_V1BETA1_VERSION)
_ATTEMPTS = 5
_MAX_BACKOFF_S = 60.0
_MAX_ITEMS = 500
_Result = TypeVar("_Result")


class ConflictError(DeployError):
    """The object was changed since it was read. Read it again before the next write."""


class UnreachableError(DeployError):
    """The API did not answer or is overloaded. The request may have been executed: read the state, then retry."""


def retry_conflicts(action: Callable[[], _Result], name: str, retries: Retries) -> _Result:
    """Call a function; retry with a growing pause on conflicts and while the API is unreachable.

    Args:
        action: Function that reads the current state at each call.
        name: Object that the function changes, for the error message.
        retries: Waiting times.

    Raises:
        DeployError: All attempts failed.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return action()
        except (ConflictError, UnreachableError) as error:
            if attempt == _ATTEMPTS:
                raise _final_error(name, error) from error
            time.sleep(min(retries.pause * 2 ** (attempt - 1), _MAX_BACKOFF_S))
    raise AssertionError("the last attempt returns or raises")


def _final_error(name: str, error: DeployError) -> DeployError:
    if isinstance(error, UnreachableError):
        return error
    return DeployError(
        f"{name} was changed by other writers during {_ATTEMPTS} consecutive attempts",
        remedy="Stop the other deployments and run the step again.",
    )


class Cluster:
    """Access to the InferenceServices of one namespace, and the Deployments, pods, events and ConfigMaps beside them.

    Authenticates with the service account inside a pod, elsewhere with the file in KUBECONFIG or the user's kubeconfig.

    Args:
        namespace: Namespace of the InferenceServices.

    Raises:
        DeployError: There is neither a service account nor a usable kubeconfig.
    """

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        try:
            client = KServeClient(config_file=os.environ.get("KUBECONFIG"))
        except (ConfigException, OSError, yaml.YAMLError) as error:
            raise DeployError(
                f"no Kubernetes cluster is configured ({error})",
                remedy="Run the step in the cluster, or set KUBECONFIG to a kubeconfig file.",
            ) from error
        self._custom, self._apps, self._core = client.api_instance, client.app_api, client.core_api

    def service(self, name: str) -> dict[str, Any] | None:
        """Return an InferenceService, or None if it does not exist."""
        return self._call(self._custom.get_namespaced_custom_object, *self._resource(), name)

    def create_service(self, body: dict[str, Any]) -> dict[str, Any]:
        """Create an InferenceService and return it.

        Raises:
            ConflictError: The name is in use.
        """
        service = self._call(self._custom.create_namespaced_custom_object, *self._resource(), body)
        if service is None:
            raise DeployError(
                f"the cluster has no InferenceServices or no namespace {self.namespace!r}",
                remedy="Install KServe and create the namespace first.",
            )
        return service

    def patch_service(self, name: str, patch: dict[str, Any], resource_version: str) -> dict[str, Any]:
        """Merge a patch into an InferenceService of version `resource_version` and return the result.

        Raises:
            ConflictError: The service was changed or deleted since that version.
        """
        body = {**patch, "metadata": {**patch.get("metadata", {}), "resourceVersion": resource_version}}
        service = self._call(self._custom.patch_namespaced_custom_object, *self._resource(), name, body)
        if service is None:
            raise ConflictError(f"InferenceService {self.namespace}/{name} was deleted")
        return service

    def preview_patch(self, name: str, patch: dict[str, Any]) -> dict[str, Any]:
        """Return the InferenceService that the API would store after a merge patch, without storing it.

        Raises:
            ConflictError: The service was deleted.
        """
        service = self._call(
            partial(self._custom.patch_namespaced_custom_object, dry_run="All"), *self._resource(), name, patch
        )
        if service is None:
            raise ConflictError(f"InferenceService {self.namespace}/{name} was deleted")
        return service

    def deployment(self, name: str) -> dict[str, Any] | None:
        """Return a Deployment, or None if it does not exist."""
        return self._as_json(self._call(self._apps.read_namespaced_deployment, name, self.namespace))

    def pods(self, selector: str) -> list[dict[str, Any]]:
        """Return the pods with labels, those that are terminating among them.

        Args:
            selector: Label selector, for example `app=isvc.foraminifera-predictor`.
        """
        return self._items(self._core.list_namespaced_pod, label_selector=selector)

    def replica_sets(self, selector: str) -> list[dict[str, Any]]:
        """Return the ReplicaSets with labels."""
        return self._items(self._apps.list_namespaced_replica_set, label_selector=selector)

    def events(self, kind: str, name: str) -> list[dict[str, Any]]:
        """Return the events of one object, oldest first.

        Args:
            kind: Kind of the object, for example `ReplicaSet`.
            name: Name of the object.
        """
        selector = f"involvedObject.kind={kind},involvedObject.name={name}"
        return sorted(self._items(self._core.list_namespaced_event, field_selector=selector), key=_last_seen)

    def config_maps(self, selector: str) -> list[dict[str, Any]]:
        """Return the ConfigMaps with labels.

        Args:
            selector: Label selector, for example `taxonflow.dev/endpoint-patch=true`.
        """
        return self._items(self._core.list_namespaced_config_map, label_selector=selector)

    def config_map(self, name: str) -> dict[str, Any] | None:
        """Return a ConfigMap, or None if it does not exist."""
        return self._as_json(self._call(self._core.read_namespaced_config_map, name, self.namespace))

    def create_config_map(self, body: dict[str, Any]) -> None:
        """Create a ConfigMap.

        Raises:
            ConflictError: The name is in use.
        """
        if self._call(self._core.create_namespaced_config_map, self.namespace, body) is None:
            raise DeployError(f"the cluster has no namespace {self.namespace!r}", remedy="Create it first.")

    def patch_config_map(self, name: str, patch: dict[str, Any], resource_version: str) -> None:
        """Merge a patch into a ConfigMap of version `resource_version`.

        Raises:
            ConflictError: The ConfigMap was changed or deleted since that version.
        """
        body = {**patch, "metadata": {"resourceVersion": resource_version}}
        if self._call(self._core.patch_namespaced_config_map, name, self.namespace, body) is None:
            raise ConflictError(f"ConfigMap {self.namespace}/{name} was deleted")

    def _items(self, method: Callable[..., Any], **selectors: str) -> list[dict[str, Any]]:
        """Return the objects of a list.

        Raises:
            DeployError: There are more than _MAX_ITEMS.
        """
        page = self._as_json(self._call(method, self.namespace, limit=_MAX_ITEMS, **selectors)) or {}
        if page.get("metadata", {}).get("continue"):
            raise DeployError(
                f"namespace {self.namespace!r} has too many objects with {' '.join(selectors.values())}",
                f"at most {_MAX_ITEMS}",
                "Delete those that are not used.",
            )
        return list(page.get("items") or [])

    def _as_json(self, document: Any) -> dict[str, Any] | None:
        """Return an object of the client in the form of the API's JSON."""
        return None if document is None else self._apps.api_client.sanitize_for_serialization(document)

    def _resource(self) -> tuple[str, str, str, str]:
        return (*_GROUP, self.namespace, constants.KSERVE_PLURAL_INFERENCESERVICE)

    def _call(self, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Call the API; return None for status 404."""
        try:
            return method(*arguments, **options, _request_timeout=REQUEST_TIMEOUT_S)
        except ApiException as error:
            if error.status == 404:
                return None
            raise self._deploy_error(error) from error
        except urllib3.exceptions.HTTPError as error:
            raise UnreachableError(
                f"the Kubernetes API of namespace {self.namespace!r} is unreachable ({error})",
                remedy="Check the cluster's address and network, then run the step again.",
            ) from error

    def _deploy_error(self, error: ApiException) -> DeployError:
        status = f"the Kubernetes API returned {error.status} {error.reason} for namespace {self.namespace!r}"
        if error.status == 409:
            return ConflictError(status)
        if error.status == 429 or error.status >= 500:
            return UnreachableError(
                f"{status}: {_message(error)}", remedy="Wait until the API is available, then run the step again."
            )
        remedies = {
            401: "Give the step a valid token.",
            403: "Bind the role taxonflow-deployer to the run's service account.",
        }
        remedy = remedies.get(error.status, "Correct the cause and run the step again.")
        return DeployError(f"{status}: {_message(error)}", remedy=remedy)


def _last_seen(event: dict[str, Any]) -> str:
    """Return the time of an event's last occurrence as text that sorts by time."""
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp") or "")


def _message(error: ApiException) -> str:
    """Return the first 500 characters of the API's message on one line."""
    return " ".join(str(error.body or "no message").split())[:500]
