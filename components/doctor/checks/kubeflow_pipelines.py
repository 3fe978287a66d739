"""The Kubeflow Pipelines server: version, token, mode and namespace."""

import contextlib
import ssl
from functools import cache
from http import HTTPStatus
from typing import Any

import httpx

from components.doctor.checks.versions import version_numbers
from components.doctor.cluster import NotAllowedError
from components.doctor.examination import INSTALL_KUBEFLOW, KUBEFLOW_NAMESPACE, Examination
from components.doctor.findings import Answer, met, not_allowed, not_met
from components.shared.proxies import uses_proxy

SMALLEST_VERSION = (2, 16)
_TIMEOUT_S = 5.0
_MAX_BYTES = 2**20
_FORWARD = "kubectl port-forward -n kubeflow service/ml-pipeline 8888   # and HOST=http://127.0.0.1:8888"
_OLDER_HEALTH = "/apis/v1beta1/healthz"
_HEALTH = "/apis/v2beta1/healthz"


class _ServerError(Exception):
    """The server gives no usable answer; the text is the reason."""


def server(examination: Examination) -> Answer:
    """Check that Kubeflow Pipelines answers at HOST; without HOST, that the cluster has its Service."""
    host = examination.server.host
    if not host:
        return _service(examination)
    try:
        response = _get(examination, _HEALTH)
        if _rejects(response):
            return met(f"{host} answers; its version cannot be read without a valid token")
        health = _json(response)
        version = _version(examination, health)
    except _ServerError as error:
        return not_met(f"{host}: {error}", _FORWARD)
    if health.get("apiServerReady") is False:
        return not_met(
            f"{host}: the API server behind it is not ready", "kubectl get pods -n kubeflow -l app=ml-pipeline"
        )
    mode = "multi-user" if _is_multi_user(health) else "single-user"
    return met(f"{host}, version {version or 'unknown'}, {mode}")


def server_version(examination: Examination) -> Answer:
    """Check that the server is of a version whose artifact store and pods are known."""
    look = "kubectl get deployment ml-pipeline -n kubeflow -o jsonpath={.spec.template.spec.containers[0].image}"
    try:
        response = _get(examination, _HEALTH)
        version = "" if _rejects(response) else _version(examination, _json(response))
    except _ServerError as error:
        return not_allowed(f"the version cannot be read: {error}", look)
    numbers = version_numbers(version)
    if not numbers:
        return not_allowed("the server does not name its version", look)
    expectation = ".".join(map(str, SMALLEST_VERSION))
    if numbers < SMALLEST_VERSION:
        return not_met(
            f"version {version}; expected {expectation} or newer, whose artifact store is seaweedfs.kubeflow:9000",
            INSTALL_KUBEFLOW,
        )
    return met(f"version {version}")


def token(examination: Examination) -> Answer:
    """Check that the server accepts the token."""
    namespace, account = examination.namespace, examination.account
    create = f"export KUBEFLOW_TOKEN=$(kubectl -n {namespace} create token {account})"
    try:
        responses = [_get(examination, _HEALTH), _runs(examination)]
    except _ServerError as error:
        return not_allowed(f"the server does not answer: {error}", "make doctor HOST=...")
    if any(_rejects(response) for response in responses):
        kind = "the token" if examination.server.token else "a request without a token"
        return not_met(f"the server rejects {kind} ({responses[-1].status_code})", create)
    return met("the server accepts the token" if examination.server.token else "the server needs no token")


def profile(examination: Examination) -> Answer:
    """Check that the server starts runs in the namespace (with profiles, in one of the user), and lists its runs."""
    namespace = examination.namespace
    look = "kubectl get profiles; kubectl get namespaces -l app.kubernetes.io/part-of=kubeflow-profile"
    try:
        health_response = _get(examination, _HEALTH)
        response = _runs(examination)
        is_multi_user = not _rejects(health_response) and _is_multi_user(_json(health_response))
    except _ServerError as error:
        return not_allowed(f"the server does not answer: {error}", look)
    if _rejects(response):
        return not_allowed("runs cannot be listed without a valid token", look)
    if response.status_code == HTTPStatus.FORBIDDEN:
        return not_met(f"the server does not let this user list the runs of {namespace}", look)
    if not is_multi_user and namespace != _server_namespace(examination):
        return not_met(
            f"a server without profiles runs everything in {_server_namespace(examination)}, not in {namespace}",
            f"make doctor NAMESPACE={_server_namespace(examination)} HOST=...   # and submit without NAMESPACE",
        )
    if response.status_code != HTTPStatus.OK:
        return not_met(f"the server answers {response.status_code} for the runs of {namespace}", look)
    return met(
        f"multi-user, and {namespace} is a profile of this user" if is_multi_user else f"single-user, {namespace}"
    )


def _service(examination: Examination) -> Answer:
    """Return the answer from the server's Service in the cluster."""
    try:
        document = examination.cluster.read(f"/api/v1/namespaces/{KUBEFLOW_NAMESPACE}/services/ml-pipeline")
    except NotAllowedError as error:
        return not_allowed(f"no HOST is given, and its Service cannot be read: {error}", "make doctor HOST=...")
    if document is None:
        return not_met(
            f"no HOST is given, and there is no Service ml-pipeline in {KUBEFLOW_NAMESPACE}", INSTALL_KUBEFLOW
        )
    return met(f"Service ml-pipeline of {KUBEFLOW_NAMESPACE}; with HOST the version, token and profile are checked too")


def _server_namespace(examination: Examination) -> str:
    """Return the namespace of an installation without profiles: the first label of a cluster address, or kubeflow."""
    labels = (httpx.URL(examination.server.host).host or "").split(".")
    return labels[1] if len(labels) > 1 and labels[0] in ("ml-pipeline", "ml-pipeline-ui") else "kubeflow"


def _runs(examination: Examination) -> httpx.Response:
    """Request one run of the namespace; a server without profiles takes no namespace."""
    health = _get(examination, _HEALTH)
    is_multi_user = _rejects(health) or _is_multi_user(_json(health))
    namespace = {"namespace": examination.namespace} if is_multi_user else {}
    return _get(examination, "/apis/v2beta1/runs", {"page_size": "1", **namespace})


def _get(examination: Examination, path: str, query: dict[str, str] | None = None) -> httpx.Response:
    host, token, ca = examination.server.host.rstrip("/"), examination.server.token, examination.server.ca
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with httpx.Client(timeout=_TIMEOUT_S, trust_env=uses_proxy(host), verify=_tls(host, ca)) as client:
            response = client.get(f"{host}{path}", params=query, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        raise _ServerError(f"cannot be reached ({' '.join(str(error).split()) or type(error).__name__})") from error
    if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise _ServerError(f"answers {response.status_code} for {path}")
    return response


@cache
def _tls(host: str, ca: str) -> ssl.SSLContext | bool:
    """Return the settings of TLS for a host: the usual certificate authorities and those of a file."""
    if not host.startswith("https:"):
        return False
    context = httpx.create_ssl_context()
    if ca:
        context.load_verify_locations(ca)
    return context


def _rejects(response: httpx.Response) -> bool:
    """Return whether the server wants another token: it says so, or leads to a page for logging in."""
    return response.is_redirect or response.status_code == HTTPStatus.UNAUTHORIZED


def _json(response: httpx.Response) -> dict[str, Any]:
    try:
        document = response.json() if len(response.content) <= _MAX_BYTES else None
    except ValueError:
        document = None
    if not isinstance(document, dict) or response.status_code != HTTPStatus.OK:
        raise _ServerError(
            f"does not answer like Kubeflow Pipelines ({response.status_code}); is the path /pipeline missing?"
        )
    return document


def _version(examination: Examination, health: dict[str, Any]) -> str:
    """Return the server's version from its health; the API server itself names it in the older interface only."""
    older_health: dict[str, Any] = {}
    if not {"apiServerTagName", "tag_name"} & health.keys():
        with contextlib.suppress(_ServerError):
            older_health = _json(_get(examination, _OLDER_HEALTH))
    return str(health.get("apiServerTagName") or health.get("tag_name") or older_health.get("tag_name") or "")


def _is_multi_user(health: dict[str, Any]) -> bool:
    return bool(health.get("multi_user") or health.get("apiServerMultiUser"))
