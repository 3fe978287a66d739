"""Read-only client of the Kubernetes API: documents as JSON, each requested once, and what must not be read."""

import json
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import urllib3
from kubernetes.client import ApiClient, ApiException

from components.shared.errors import TaxonflowError

REQUEST_TIMEOUT_S = (3, 5)
MAX_DOCUMENT_BYTES = 64 * 2**20
MAX_PAGES = 20
_PAGE_ITEMS = 500
_MAX_FAILURES = 3
"""Number of requests without an answer after which no other is sent: each may take several seconds."""
Document = dict[str, Any]


class NotAllowedError(Exception):
    """The API refuses to show a document, or does not answer for it."""


class AbsentNamespaceError(Exception):
    """A namespace whose content is asked for does not exist; the text is its name."""


class ClusterError(TaxonflowError):
    """The cluster cannot be asked at all."""


class Cluster:
    """Documents of a cluster; several threads may read at the same time.

    Args:
        client: Client with the address and the credentials.
        context: Name of the cluster for the user, such as the context of the kubeconfig.
    """

    def __init__(self, client: ApiClient, context: str) -> None:
        self.context = context
        self._client = client
        self._lock = threading.Lock()
        self._failures = 0
        self._answers: dict[str, Future[Document | None]] = {}

    def read(self, path: str, **query: str) -> Document | None:
        """Return a document, or None if it does not exist.

        Args:
            path: Path in the API, such as /api/v1/namespaces/kubeflow.
            query: Query parameters.

        Raises:
            NotAllowedError: The account may not read it, or the API did not answer.
        """
        target = f"{path}?{urlencode(query)}" if query else path
        with self._lock:
            is_first = target not in self._answers
            answer = self._answers.setdefault(target, Future())
        if is_first:
            try:
                answer.set_result(self._request("GET", target, None))
            except Exception as error:  # every reader of the same document gets it
                answer.set_exception(error)
        return answer.result()

    def items(self, path: str, **query: str) -> list[Document] | None:
        """Return the items of a list, or None if the cluster does not have this kind.

        Raises:
            NotAllowedError: The account may not list them, or the API did not answer.
        """
        items: list[Document] = []
        page = self.read(path, limit=str(_PAGE_ITEMS), **query)
        for _ in range(MAX_PAGES):
            if page is None:
                return None
            items += page.get("items") or []
            mark = (page.get("metadata") or {}).get("continue")
            if not mark:
                break
            page = self.read(path, limit=str(_PAGE_ITEMS), **{"continue": mark}, **query)
        return items

    def review(self, kind: str, specification: Mapping[str, Any]) -> bool:
        """Return whether the API's authorization allows something; a review changes nothing.

        Args:
            kind: Either SubjectAccessReview or SelfSubjectAccessReview.
            specification: Account and request, as in `spec` of the review.

        Raises:
            NotAllowedError: The account may not ask, or the API did not answer.
        """
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": specification}
        answer = self._request("POST", f"/apis/authorization.k8s.io/v1/{kind.lower()}s", body)
        return bool(((answer or {}).get("status") or {}).get("allowed"))

    def user(self) -> str:
        """Return the name by which the API knows this account, "" if it does not say it."""
        path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        try:
            status = (self._request("POST", path, body) or {}).get("status") or {}
        except NotAllowedError:
            return ""
        return str((status.get("userInfo") or {}).get("username") or "")

    def _request(self, method: str, target: str, body: Any) -> Document | None:
        if self._failures >= _MAX_FAILURES:
            raise NotAllowedError(f"the Kubernetes API did not answer {self._failures} other requests")
        try:
            response = self._client.call_api(
                target,
                method,
                header_params={"Accept": "application/json", "Content-Type": "application/json"},
                body=body,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _return_http_data_only=True,
                _request_timeout=REQUEST_TIMEOUT_S,
            )
            text = response.read(MAX_DOCUMENT_BYTES + 1)
        except ApiException as error:
            if not error.status:  # the client's form of an error of TLS
                self._failures += 1
                raise NotAllowedError(f"the Kubernetes API did not answer for {target} ({_one_line(error)})") from error
            _check_status(error.status, target, str(error.reason))
            return None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            self._failures += 1
            raise NotAllowedError(f"the Kubernetes API did not answer for {target} ({_reason(error)})") from error
        if response.status >= HTTPStatus.BAD_REQUEST:
            _check_status(response.status, target, str(response.reason))
            return None
        return _document(text, target)


def _check_status(status: int, target: str, reason: str) -> None:
    """Raise the error of a status of 400 or more, except that of a document that does not exist."""
    if status == HTTPStatus.UNAUTHORIZED:
        raise ClusterError(
            "the Kubernetes API rejects the credentials (401)", "a valid token", "Log in to the cluster again."
        )
    if status == HTTPStatus.FORBIDDEN:
        raise NotAllowedError("the account may not read it")
    if status != HTTPStatus.NOT_FOUND:
        raise NotAllowedError(f"the Kubernetes API answered {status} {reason} for {target}")


def _document(text: bytes, target: str) -> Document:
    try:
        document = json.loads(text) if len(text) <= MAX_DOCUMENT_BYTES else None
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise NotAllowedError(f"the answer for {target} is no JSON object of at most {MAX_DOCUMENT_BYTES // 2**20} MiB")
    return document


def _reason(error: Exception) -> str:
    """Return the cause of a failed connection on one line, without the addresses of Python objects."""
    cause = getattr(error, "reason", None) or error
    text = _one_line(cause)
    return text.rpartition(">: ")[2] or type(cause).__name__


def _one_line(error: object) -> str:
    return " ".join(str(getattr(error, "reason", None) or error).split())
