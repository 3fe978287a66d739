"""Retries and errors of requests to an object store: transient and permanent errors, and their messages."""

import random
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from components.shared.errors import BadManifestError, TaxonflowError

FIRST_DELAY_S, LONGEST_DELAY_S = 0.5, 16.0
_LIBRARIES = frozenset({"aiobotocore", "aiohttp", "botocore", "fsspec", "gcsfs", "google", "requests", "s3fs"})
_CREDENTIAL_ERRORS = frozenset(
    {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "DefaultCredentialsError"}
)
_KEYS = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (in a cluster: the secret taxonflow-volumes)"
ACCESS_REMEDIES = {
    "s3": f"{_KEYS}, or give the service account a role that may list and read.",
    "minio": "In a cluster, create the secret mlpipeline-minio-artifact (accesskey, secretkey) in the namespace of the "
    f"run, as Kubeflow does in each profile. {_KEYS} and AWS_ENDPOINT_URL for another store.",
    "gs": "Set GOOGLE_APPLICATION_CREDENTIALS, or give the service account the role Storage Object Viewer.",
}
"""Remedy for denied access, by the scheme of an address."""
_ENDPOINT_REMEDY = "Check AWS_ENDPOINT_URL and the network."
Result = TypeVar("Result")


def retry(call: Callable[..., Result], *arguments: Any, attempts: int, **options: Any) -> Result:
    """Call a function until it succeeds; only transient errors are retried, after doubling delays.

    Args:
        call: Function that sends a request.
        *arguments: Positional arguments of the function.
        attempts: Maximum number of calls.
        **options: Keyword arguments of the function.

    Raises:
        Exception: The first permanent error, or the error of the last attempt.
    """
    for attempt in range(1, attempts):
        try:
            return call(*arguments, **options)
        except Exception as error:
            if not is_transient(error):
                raise
            delay = min(FIRST_DELAY_S * 2 ** (attempt - 1), LONGEST_DELAY_S)
            time.sleep(delay * random.uniform(0.75, 1.25))  # jitter, so that many pods do not retry at the same time
    return call(*arguments, **options)


def is_transient(error: BaseException) -> bool:
    """Return whether a retry can succeed; False for a missing object, denied access or missing credentials."""
    if isinstance(error, FileNotFoundError | PermissionError) or type(error).__name__ in _CREDENTIAL_ERRORS:
        return False
    code = getattr(error, "code", None) or getattr(error, "status", None)
    if isinstance(code, int) and 400 <= code < 500:
        return code in (408, 429)
    return isinstance(error, TimeoutError | ConnectionError | EOFError) or _is_from_library(error)


def _is_from_library(error: BaseException) -> bool:
    """Return whether a client library raised the error or its cause; s3fs turns a 5xx into a plain OSError."""
    libraries = {type(link).__module__.partition(".")[0] for link in _chain(error)}
    return bool(libraries & _LIBRARIES)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def is_request_error(error: BaseException) -> bool:
    """Return whether a request caused an error, and not a defect of this program."""
    return isinstance(error, OSError | TimeoutError | ValueError) or _is_from_library(error)


def access_error(error: BaseException, address: str, scheme: str) -> BadManifestError:
    """Return the error of a source that cannot be opened.

    Args:
        error: Error of the request.
        address: Address of the source.
        scheme: Scheme of the address: `s3`, `minio` or `gs`.
    """
    if isinstance(error, FileNotFoundError):
        bucket = address.partition("://")[2].partition("/")[0]
        return BadManifestError(f"{address} does not exist", f"a bucket {bucket!r} with volumes", "Check the address.")
    if type(error).__name__ in _CREDENTIAL_ERRORS:
        return BadManifestError(f"{address}: no credentials are configured", remedy=ACCESS_REMEDIES[scheme])
    if isinstance(error, PermissionError) or getattr(error, "code", None) in (401, 403):
        return BadManifestError(f"{address}: access denied", "permission to list and to read", ACCESS_REMEDIES[scheme])
    if any(isinstance(link, socket.gaierror) for link in _chain(error)):
        return BadManifestError(f"{address}: the name of its endpoint cannot be resolved", remedy=_ENDPOINT_REMEDY)
    if any(isinstance(link, ConnectionError | TimeoutError) or _is_connection_error(link) for link in _chain(error)):
        return BadManifestError(f"{address}: its endpoint does not answer", "an object store", _ENDPOINT_REMEDY)
    return BadManifestError(f"{address} cannot be read ({_summary(error)})", remedy=_ENDPOINT_REMEDY)


def download_error(error: BaseException, name: str, attempts: int) -> TaxonflowError:
    """Return the error of a request that failed in every attempt while the step was running."""
    return TaxonflowError(
        f"{name} could not be downloaded in {attempts} attempts ({_summary(error)})",
        remedy="Run the step again when the object store is available.",
    )


def _is_connection_error(error: BaseException) -> bool:
    return "Connect" in type(error).__name__ or "Timeout" in type(error).__name__


def _summary(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
