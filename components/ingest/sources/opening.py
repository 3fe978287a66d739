"""Where volumes come from: a folder or a manifest on this machine, or in an object store.

An address is a path, `file://`, `s3://bucket/prefix`, `gs://bucket/prefix`, or `minio://bucket/prefix`, as Kubeflow
Pipelines writes the artifacts of its own store.
"""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from components.ingest.sources.base import Source
from components.ingest.sources.local import LocalSource
from components.ingest.sources.object_store import STORES, RemoteSource
from components.shared.errors import BadManifestError


def open_source(address: str | Path) -> Source:
    """Opens a source.

    Raises:
        BadManifestError: there is no such place, it cannot be reached, or its kind is not known.
    """
    kind = scheme(address)
    if kind in STORES:
        return RemoteSource(str(address))
    if kind not in ("", "file"):
        known = ", ".join(f"{name}://" for name in ("file", *sorted(STORES)))
        raise BadManifestError(f"{kind}:// of {address}", f"a path or {known}")
    return LocalSource(local_path(address))


def scheme(address: str | Path) -> str:
    """Returns what stands before `://`, in lower case, or an empty string for a path."""
    before, separator, _ = str(address).partition("://") if not isinstance(address, Path) else ("", "", "")
    return before.lower() if separator and before.isalnum() else ""


def absolute_address(address: str) -> str:
    """Returns an address that means the same in another working directory."""
    return str(local_path(address)) if scheme(address) in ("", "file") else address


def local_path(address: str | Path) -> Path:
    """Returns the path of a local address, absolute."""
    text = str(address)
    return Path(unquote(urlsplit(text).path) if scheme(address) == "file" else text).resolve()
