"""The digest of a source's listing, by which a changed source is recognized without reading its files."""

import hashlib
import json
from typing import Any

from components.ingest.sources import open_source
from components.ingest.sources.base import SourceFile
from components.ingest.sources.manifest import Scan, list_scans


def listing_digest(address: str, confined: bool) -> str:
    """Return the SHA-256 of the names, sizes, versions and manifest rows of a source.

    Args:
        address: Address of the source, see `components.ingest.sources`.
        confined: Whether the files of a local source must be inside its folder.

    Raises:
        BadManifestError: The source does not exist, cannot be reached, or lists no volume and no photograph.
    """
    manifest = list_scans(open_source(address, confined))
    listing = {
        "scans": [_describe(scan) for scan in manifest.scans],
        "refusals": [[refusal.path, refusal.reason] for refusal in manifest.refusals],
        "passed_over": manifest.passed_over,
    }
    return hashlib.sha256(json.dumps(listing, sort_keys=True).encode()).hexdigest()


def _describe(scan: Scan) -> list[Any]:
    files = [scan.source_file, *([scan.mask_file] if scan.mask_file else [])]
    row = [scan.path, scan.species, scan.specimen, scan.split, scan.spacing_mm, scan.mask]
    return [*row, [_state(part) for file in files for part in (file.parts or (file,))]]


def _state(file: SourceFile) -> list[Any]:
    """Return what changes with the content of a file: its version, or the time of the last change of a local file."""
    return [str(file.file), file.size, file.version or file.file.stat().st_mtime_ns]
