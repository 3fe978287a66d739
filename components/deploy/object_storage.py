"""Object storage to which the deploy step writes: file systems by URL, and their errors in one sentence.

Credentials and endpoints come from the environment, as for volumes (`components.shared.object_stores`), and are never
part of a URL or a message.
"""

import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import fsspec

from components.shared.errors import BadConfigError, DeployError
from components.shared.object_stores import minio_options, s3_options

ATTEMPTS = 5
FIRST_PAUSE_S = 0.5
_OPTIONS: dict[str, tuple[str, Callable[[], dict[str, Any]]]] = {
    "s3": ("s3", s3_options),
    "minio": ("s3", minio_options),
    "gs": ("gs", dict),
}
_PERMANENT = (
    "NoCredentialsError",
    "PartialCredentialsError",
    "CredentialRetrievalError",
    "DefaultCredentialsError",
    "ParamValidationError",
)
_REMEDY = (
    "Check the address and the network, and that the keys of the deploy step (in a cluster: the secret "
    "mlpipeline-minio-artifact or taxonflow-volumes) may write there; then run the step again."
)
_Result = TypeVar("_Result")


def open_storage(url: str) -> tuple[Any, str]:
    """Return the file system of a URL, and the path in it.

    Args:
        url: URL such as `s3://bucket/prefix`, `minio://bucket/prefix`, `gs://bucket/prefix`, or of another protocol of
            fsspec.

    Raises:
        BadConfigError: The URL has no bucket, contains credentials or options, or has an unknown protocol.
    """
    parts = urlsplit(url)
    if not parts.netloc or parts.username is not None or parts.query or parts.fragment:
        scheme = parts.scheme
        raise BadConfigError(
            f"an address of {scheme}://", f"{scheme}://bucket/prefix, without credentials or options", "Correct it."
        )
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # it logs tracebacks of errors that are reported here
    protocol, options = _OPTIONS.get(parts.scheme, (parts.scheme, dict))
    try:
        files = fsspec.filesystem(protocol, skip_instance_cache=True, use_listings_cache=False, **options())
    except (ValueError, ImportError) as error:
        raise BadConfigError(
            f"the protocol {protocol!r} of {url} is not available ({error})", "s3://, minio:// or gs://", "Correct it."
        ) from error
    return files, str(files._strip_protocol(f"{protocol}://{parts.netloc}{parts.path}")).rstrip("/")


def request(call: Callable[..., _Result], url: str, *arguments: Any, **options: Any) -> _Result:
    """Send a request to a store; repeat it with growing pauses while the store does not answer.

    Args:
        call: Method of a file system.
        url: URL of the folder, for messages.
        *arguments: Positional arguments of the method.
        **options: Keyword arguments of the method.

    Raises:
        FileNotFoundError: The object does not exist.
        DeployError: Access is denied, or the store did not answer in ATTEMPTS attempts.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return call(*arguments, **options)
        except FileNotFoundError:
            raise
        except Exception as error:  # each client library has errors of its own
            if attempt == ATTEMPTS or isinstance(error, PermissionError) or type(error).__name__ in _PERMANENT:
                reason = " ".join(str(error).split())[:200] or type(error).__name__
                raise DeployError(f"{url} cannot be read or written ({reason})", remedy=_REMEDY) from error
            time.sleep(FIRST_PAUSE_S * 2 ** (attempt - 1))
    raise AssertionError("the last attempt returns or raises")
