"""The rule by which requests to an address use the proxy of the environment."""

import ipaddress
import os
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

_CLUSTER_SUFFIXES = (".svc", ".svc.cluster.local", ".cluster.local", ".localhost")
_CLUSTER_NAMES = frozenset({"localhost", "kubernetes", "kubernetes.default"})


def uses_proxy(url: str) -> bool:
    """Return whether requests to an address use the proxy of the environment.

    Those to this machine and to addresses of the cluster do not: no proxy can reach them.
    """
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host in _CLUSTER_NAMES or host.endswith(_CLUSTER_SUFFIXES) or host == os.environ.get("KUBERNETES_SERVICE_HOST"):
        return False
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return "." in host  # a name without a dot is a service of the same namespace


def proxy_of(url: str) -> str | None:
    """Return the proxy of the environment for requests to an address, or None to connect directly.

    NO_PROXY, and HTTP_PROXY, HTTPS_PROXY and ALL_PROXY in upper or lower case, are read as by other programs.
    """
    parts = urlsplit(url)
    if not uses_proxy(url) or proxy_bypass(parts.hostname or ""):
        return None
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"
