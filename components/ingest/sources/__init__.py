"""Sources of volumes and photographs: a folder or a manifest, local or in an object store.

An address is a path, `file://`, `s3://bucket/prefix`, `gs://bucket/prefix`, or `minio://bucket/prefix`, the form in
which Kubeflow Pipelines writes the artifacts of its own store.
"""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from components.ingest.sources.base import Source
from components.ingest.sources.local import LocalSource
from components.ingest.sources.object_store import STORES, ObjectStoreSource
from components.shared.errors import BadManifestError


def open_source(address: str | Path, confined: bool = True) -> Source:
    """Open the source at an address.

    Args:
        address: Path or address of a folder or of a manifest.
        confined: Whether the files of a local source must be inside its folder. Object stores are always confined.

    Raises:
        BadManifestError: The address does not exist, cannot be reached, has an unknown scheme, or is not text.
    """
    _check_text(str(address))
    scheme = _scheme(address)
    if scheme in STORES:
        return ObjectStoreSource(str(address))
    if scheme not in ("", "file"):
        schemes = ", ".join(f"{name}://" for name in ("file", *sorted(STORES)))
        raise BadManifestError(f"{scheme}:// of {address}", f"a path or {schemes}")
    return LocalSource(_local_path(address), confined)


def absolute_address(address: str) -> str:
    """Return an address that is valid in any working directory."""
    return str(_local_path(address)) if _scheme(address) in ("", "file") else address


def _scheme(address: str | Path) -> str:
    """Return the part before `://` in lower case, or an empty string for a path."""
    prefix, separator, _ = str(address).partition("://") if not isinstance(address, Path) else ("", "", "")
    return prefix.lower() if separator and prefix.isalnum() else ""


def _check_text(address: str) -> None:
    """Check that an address is UTF-8 without NUL, so that it can be opened and written into documents."""
    if "\0" in unquote(address) or any("\ud800" <= character <= "\udfff" for character in address):
        raise BadManifestError(f"the address {ascii(address)[:200]}", "characters of UTF-8", "Rename the folder.")


def _local_path(address: str | Path) -> Path:
    """Return the absolute path of a local address."""
    text = str(address)
    return Path(unquote(urlsplit(text).path) if _scheme(address) == "file" else text).resolve()
