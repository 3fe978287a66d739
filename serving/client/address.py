"""Addresses of endpoints as users have them: of a server, behind a path, or of a model's predictions."""

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from components.shared.errors import BadInputError
from components.shared.proxies import uses_proxy

CERTIFICATE_ERROR = "CERTIFICATE_VERIFY_FAILED"
_EXAMPLE = "http://127.0.0.1:8081"
_REMEDY = "Set URL, or --url, to the address of the server."
_API = re.compile(r"(?P<prefix>.*?)/v1(/models(/(?P<model>[^/:]+)(/metadata|:predict)?)?)?")
_OTHER_API = re.compile(r".*?/(v2(/.*)?|v1/models/[^/:]+[/:].+)")
_CLUSTER_HOST = re.compile(r"(?P<service>[a-z0-9-]+)\.(?P<namespace>[a-z0-9-]+)\.svc(\.cluster\.local)?")


@dataclass(frozen=True)
class Address:
    """An endpoint.

    Attributes:
        url: Address of the server, with the path in front of `/v1` if it has one.
        model: Name of the model in the address; empty if it names none.
    """

    url: str
    model: str = ""


def parse_address(text: str) -> Address:
    """Return the endpoint of an address, such as that of the server, or one that ends with `/v1/models/name:predict`.

    Raises:
        BadInputError: The address is not that of an HTTP server, has a query or a password, or belongs to another API.
    """
    try:
        parts = urlsplit(text.strip())
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise BadInputError(f"the address {text!r}", f"http:// or https:// and a host, such as {_EXAMPLE}", _REMEDY)
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise BadInputError("an address with a query, a fragment or a password", f"one such as {_EXAMPLE}", _REMEDY)
    server, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    if match := _API.fullmatch(path):
        return Address(f"{server}{match['prefix']}", unquote(match["model"] or ""))
    if _OTHER_API.fullmatch(path):
        expectation = f"{server}, or {server}/v1/models/<model>:predict"
        raise BadInputError(f"the path {parts.path} of the address", expectation, _REMEDY)
    return Address(f"{server}{path}")


def connection_remedy(url: str, reason: str) -> str:
    """Return what a user does if a server cannot be reached.

    Args:
        url: Address of the server.
        reason: Text of the error.
    """
    host = urlsplit(url).hostname or ""
    if CERTIFICATE_ERROR in reason:
        return "Set CA, or --ca, to the certificate of the server's authority."
    if match := _CLUSTER_HOST.fullmatch(host):
        forward = f"kubectl -n {match['namespace']} port-forward svc/{match['service']} 8081:80"
        return f"Only pods reach this address: run `{forward}`, and set URL={_EXAMPLE}."
    if uses_proxy(url):
        return "Check URL, or --url, and the network."
    return (
        "Start it with `make serve`, or forward the port of a cluster's endpoint: "
        "kubectl -n NAMESPACE port-forward svc/MODEL-transformer 8081:80."
    )
