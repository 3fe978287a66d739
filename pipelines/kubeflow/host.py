"""The address and the mode of a Kubeflow Pipelines server, found by requests for its health.

Kubeflow's platform serves the API below `/pipeline` of its address, an installation without profiles at the root of its
API server, and its UI at both. An address is therefore tried as given, then with the other path.
"""

import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from components.shared.errors import BadConfigError, TaxonflowError
from components.shared.proxies import proxy_of
from serving.client.certificates import trusted_context

TOKEN_VARIABLE = "KUBEFLOW_TOKEN"  # noqa: S105 a variable's name
_HEALTH, _PLATFORM_PATH = "/apis/v2beta1/healthz", "/pipeline"
_TIMEOUT_S = 15.0
_FORWARD = (
    "Set HOST to the address of Kubeflow Pipelines, such as http://127.0.0.1:8888 after `kubectl -n kubeflow "
    "port-forward svc/ml-pipeline 8888:8888`."
)


@dataclass(frozen=True)
class Credentials:
    """What a user needs to reach a server.

    Attributes:
        token: Bearer token; None for none.
        namespace: Namespace of the user; None for an installation without profiles.
        authority: File with the certificates of the server's authority; None for the usual authorities.
    """

    token: str | None = None
    namespace: str | None = None
    authority: Path | None = None

    @property
    def token_remedy(self) -> str:
        """Sentence on how to get a valid token."""
        command = f"kubectl -n {self.namespace or 'PROFILE'} create token default-editor"
        return f"Set {TOKEN_VARIABLE} or --token-file to a valid token, which `{command}` prints."


@dataclass(frozen=True)
class Server:
    """A server that answered.

    Attributes:
        url: Address of the API, without a slash at its end.
        has_profiles: Whether each user has a namespace (the multi-user mode).
        proxy: Address of the proxy between this machine and the server; None for none.
        context: TLS context of requests to the server.
    """

    url: str
    has_profiles: bool
    proxy: str | None
    context: ssl.SSLContext


def find_server(host: str, credentials: Credentials) -> Server:
    """Return the server at an address, with or without the path of the API.

    Raises:
        BadConfigError: The address is not a URL, or the proxy or the certificates cannot be used.
        TaxonflowError: The server cannot be reached, rejects the credentials, or is not Kubeflow Pipelines.
    """
    url = _checked_url(host)
    context, proxy = trusted_context(credentials.authority), _checked_proxy(url)
    headers = {"Authorization": f"Bearer {credentials.token}"} if credentials.token else {}
    answers = []
    with httpx.Client(headers=headers, timeout=_TIMEOUT_S, trust_env=False, proxy=proxy, verify=context) as client:
        for address in (url, _other_path(url)):
            answer = _health(client, address, credentials)
            if answer.error is None:
                return Server(address, answer.has_profiles, proxy, context)
            answers.append(answer)
    error = next((answer.error for answer in answers if answer.is_rejection), answers[0].error)
    assert error is not None
    raise error


@dataclass(frozen=True)
class _Answer:
    """Answer to a request for the health: the mode, or an error.

    Attributes:
        has_profiles: Whether each user has a namespace.
        error: Reason why the address cannot be used.
        is_rejection: Whether the reason is the token or a right, not the path.
    """

    has_profiles: bool = False
    error: TaxonflowError | None = None
    is_rejection: bool = False


def _checked_url(host: str) -> str:
    try:
        urlsplit(host)
        url = httpx.URL(host)
    except (httpx.InvalidURL, ValueError):  # urlsplit finds unbalanced brackets
        url = httpx.URL()
    if url.scheme not in ("http", "https") or not url.host or url.query or url.fragment:
        raise BadConfigError(
            f"host {host!r}", "a URL such as https://kubeflow.example.org/pipeline", "Set HOST or --host."
        )
    return host.rstrip("/")


def _checked_proxy(url: str) -> str | None:
    proxy = proxy_of(url)
    if proxy and not proxy.startswith(("http://", "https://")):
        remedy = "Set NO_PROXY to the host of Kubeflow, or HTTPS_PROXY to an HTTP proxy."
        raise BadConfigError(f"the proxy of {url} ({proxy.partition(':')[0]})", "an HTTP proxy", remedy)
    return proxy


def _other_path(url: str) -> str:
    return url.removesuffix(_PLATFORM_PATH) if url.endswith(_PLATFORM_PATH) else f"{url}{_PLATFORM_PATH}"


def _health(client: httpx.Client, url: str, credentials: Credentials) -> _Answer:
    """Request the health at an address; raises TaxonflowError if no server answers."""
    try:
        response = client.get(f"{url}{_HEALTH}")
    except httpx.HTTPError as error:
        raise connection_error(url, error) from error
    if response.is_redirect:
        login = TaxonflowError(f"{url} redirects to a login page", "a valid token", credentials.token_remedy)
        return _Answer(error=login, is_rejection=True)
    if (status := response.status_code) != httpx.codes.OK:
        rejection = rejection_error(url, status, response.reason_phrase, response.text, credentials)
        return _Answer(error=rejection, is_rejection=status in (401, 403))
    try:
        return _Answer(has_profiles=response.json().get("multi_user") is True)
    except (ValueError, AttributeError):
        expectation = f"JSON from {_HEALTH}"
        return _Answer(error=TaxonflowError(f"{url} does not answer like Kubeflow Pipelines", expectation, _FORWARD))


def rejection_error(url: str, status: int, reason: str, body: str, credentials: Credentials) -> TaxonflowError:
    """Return the error of a response that is not successful."""
    remedies = {
        401: credentials.token_remedy,
        403: f"Request the right to create runs in the namespace {credentials.namespace or 'of the user'}.",
        404: "Check the host's path and the namespace.",
    }
    message = " ".join(body.split())[:300] or "no message"
    remedy = remedies.get(status, "See the log of the ml-pipeline service.")
    return TaxonflowError(f"{url} responded {status} {reason}: {message}", remedy=remedy)


def connection_error(url: str, error: Exception) -> TaxonflowError:
    """Return the error of a request without a response."""
    is_certificate = "CERTIFICATE_VERIFY_FAILED" in str(error)
    remedy = "Set CA, or --ca, to the certificate of its authority." if is_certificate else ""
    return TaxonflowError(f"{url} cannot be reached ({error})", remedy=remedy or "Check HOST and the network.")
