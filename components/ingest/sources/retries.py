"""What can go wrong with an object store: which errors pass, which stay, and how a user is told."""

import random
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from components.shared.errors import BadManifestError, TaxonflowError

FIRST_DELAY_S, LONGEST_DELAY_S = 0.5, 16.0
_LIBRARIES = frozenset({"aiobotocore", "aiohttp", "botocore", "fsspec", "gcsfs", "google", "requests", "s3fs"})
_NO_CREDENTIALS = frozenset(
    {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "DefaultCredentialsError"}
)
_KEYS = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (in a cluster: the secret taxonflow-volumes)"
_RIGHTS = {
    "s3": f"{_KEYS}, or give the service account a role that may list and read.",
    "minio": f"{_KEYS} as Kubeflow's own secret mlpipeline-minio-artifact has them.",
    "gs": "Set GOOGLE_APPLICATION_CREDENTIALS, or give the service account the role Storage Object Viewer.",
}
_ENDPOINT = "Check AWS_ENDPOINT_URL and the network."
Result = TypeVar("Result")


def patiently(call: Callable[..., Result], *arguments: Any, attempts: int, **options: Any) -> Result:
    """Calls until there is an answer; only errors that may pass are tried again, after doubling pauses.

    Raises:
        Exception: the last error, if none of the attempts was answered, or the first that will not pass.
    """
    for attempt in range(1, attempts):
        try:
            return call(*arguments, **options)
        except Exception as error:
            if not is_transient(error):
                raise
            pause = min(FIRST_DELAY_S * 2 ** (attempt - 1), LONGEST_DELAY_S)
            time.sleep(pause * random.uniform(0.75, 1.25))  # so that many pods do not return at once
    return call(*arguments, **options)


def is_transient(error: BaseException) -> bool:
    """Returns whether an error of a request may pass: not a missing object, missing rights, or a full disk."""
    if isinstance(error, FileNotFoundError | PermissionError) or type(error).__name__ in _NO_CREDENTIALS:
        return False
    code = getattr(error, "code", None) or getattr(error, "status", None)
    if isinstance(code, int) and 400 <= code < 500:
        return code in (408, 429)
    return isinstance(error, TimeoutError | ConnectionError | EOFError) or _of_a_library(error)


def _of_a_library(error: BaseException) -> bool:
    """Returns whether an error was made by a client library; s3fs turns a store's 5xx into a plain OSError of it."""
    libraries = {type(link).__module__.partition(".")[0] for link in _chain(error)}
    return bool(libraries & _LIBRARIES)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def is_of_store(error: BaseException) -> bool:
    """Returns whether an error came from a request, and not from this program."""
    return isinstance(error, OSError | TimeoutError | ValueError) or _of_a_library(error)


def explained(error: BaseException, address: str, kind: str) -> BadManifestError:
    """Makes one sentence of why a source cannot be opened.

    Args:
        error: what the request ended with.
        address: of the source.
        kind: `s3`, `minio` or `gs`.
    """
    if isinstance(error, FileNotFoundError):
        bucket = address.partition("://")[2].partition("/")[0]
        return BadManifestError(f"{address} does not exist", f"a bucket {bucket!r} with volumes", "Check the address.")
    if type(error).__name__ in _NO_CREDENTIALS:
        return BadManifestError(f"{address}: no credentials were found", remedy=_RIGHTS[kind])
    if isinstance(error, PermissionError) or getattr(error, "code", None) in (401, 403):
        return BadManifestError(f"{address}: access denied", "the right to list and to read", _RIGHTS[kind])
    if any(isinstance(link, socket.gaierror) for link in _chain(error)):
        return BadManifestError(f"{address}: the name of its endpoint cannot be resolved", remedy=_ENDPOINT)
    if any(isinstance(link, ConnectionError | TimeoutError) or _is_connection(link) for link in _chain(error)):
        return BadManifestError(f"{address}: its endpoint does not answer", "an object store", _ENDPOINT)
    return BadManifestError(f"{address} cannot be read ({_in_short(error)})", remedy=_ENDPOINT)


def lost(error: BaseException, name: str, attempts: int) -> TaxonflowError:
    """Makes one sentence of an answer that stayed away in the middle of the work."""
    return TaxonflowError(
        f"{name} could not be downloaded in {attempts} attempts ({_in_short(error)})",
        remedy="Run the step again when the store answers.",
    )


def _is_connection(error: BaseException) -> bool:
    return "Connect" in type(error).__name__ or "Timeout" in type(error).__name__


def _in_short(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
