"""Connections to a cluster: from a pod with its service account, from elsewhere with the user's kubeconfig."""

import contextlib
import logging
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3
from kubernetes.client import ApiClient, Configuration
from kubernetes.config import ConfigException, list_kube_config_contexts, load_incluster_config, load_kube_config

from components.doctor.cluster import Cluster, ClusterError, NotAllowedError
from components.shared.proxies import uses_proxy

_ACCOUNT_FOLDER = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_CONNECTIONS = 8


def connect(context: str | None = None) -> Cluster:
    """Return the cluster of the user's kubeconfig, after one request to it.

    Args:
        context: Context of the kubeconfig; None for the current one.

    Raises:
        ClusterError: There is no kubeconfig, it is invalid, the cluster does not answer or rejects the credentials.
    """
    configuration, place = Configuration(), _kubeconfig()
    messages = _Messages()
    logging.getLogger().addHandler(messages)
    try:
        name = context or list_kube_config_contexts(place)[1]["name"]
        load_kube_config(place, context, configuration, persist_config=False)
    except Exception as error:  # of any class: a file of another shape, or what a login plugin of a cloud raises
        raise _no_kubeconfig(error) from error
    finally:
        logging.getLogger().removeHandler(messages)
    if messages.texts:
        raise ClusterError(
            f"the login of context {name} failed ({_one_line(messages.texts[0])})",
            remedy="Log in to the cluster again.",
        )
    return _probed(configuration, name)


class _Messages(logging.Handler):
    """Errors that kubernetes logs in place of raising them, such as a login plugin that fails."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the text of a record."""
        self.texts.append(record.getMessage())


def connect_from_pod() -> tuple[Cluster, str]:
    """Return the cluster of this pod and the pod's namespace.

    Raises:
        ClusterError: The pod has no service account token, or the API does not answer.
    """
    configuration = Configuration()
    try:
        load_incluster_config(client_configuration=configuration)
        namespace = (_ACCOUNT_FOLDER / "namespace").read_text().strip()
    except (ConfigException, OSError) as error:
        raise ClusterError(
            f"this pod has no token of a service account ({error})",
            remedy="Set automountServiceAccountToken of the run's account to true.",
        ) from error
    return _probed(configuration, "of this pod"), namespace


def _probed(configuration: Any, context: str) -> Cluster:
    _check_address(configuration.host)
    configuration.retries = False
    configuration.connection_pool_maxsize = _CONNECTIONS
    if uses_proxy(configuration.host):
        environment = {key.lower(): value for key, value in os.environ.items()}
        configuration.proxy = environment.get("https_proxy") or None
        configuration.no_proxy = environment.get("no_proxy") or None
    cluster = Cluster(ApiClient(configuration), context)
    try:
        cluster.read("/version")
    except NotAllowedError as error:
        raise ClusterError(
            f"the cluster of context {context} at {configuration.host} cannot be asked: {error}",
            remedy="Start the cluster, or choose another with `kubectl config use-context`.",
        ) from error
    except (ValueError, urllib3.exceptions.HTTPError) as error:
        raise _no_kubeconfig(error) from error
    return cluster


def _check_address(address: str) -> None:
    """Check the address of the API.

    Raises:
        ClusterError: It is not a URL of a host.
    """
    with contextlib.suppress(ValueError):
        url = urlsplit(address)
        if url.scheme in ("http", "https") and url.hostname and (url.port is None or url.port):
            return
    raise _no_kubeconfig(ValueError(f"the server {address!r} is no URL"))


def _kubeconfig() -> str:
    return os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")


def _no_kubeconfig(error: Exception) -> ClusterError:
    reason = _one_line(str(error)) or type(error).__name__
    return ClusterError(
        f"no cluster is configured: {_kubeconfig()} cannot be used ({reason})",
        remedy="Set KUBECONFIG to the kubeconfig file of a cluster.",
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]
