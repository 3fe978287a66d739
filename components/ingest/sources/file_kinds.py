"""Kinds of source files by their suffixes. `components.ingest.source_kinds` defines how each kind is processed."""

from collections.abc import Iterable

from components.shared.images.decoding import IMAGE_EXTENSIONS
from components.shared.volumes.formats import VOLUME_SUFFIXES

_OTHER_IMAGE_SUFFIXES = (".heic", ".heif", ".avif", ".jp2", ".jxl")
"""Image formats that are listed so that they are refused by name instead of being ignored."""
VOLUMES, PHOTOGRAPHS = "volumes", "photographs"
SUFFIXES: dict[str, tuple[str, ...]] = {
    VOLUMES: VOLUME_SUFFIXES,
    PHOTOGRAPHS: (*IMAGE_EXTENSIONS, *_OTHER_IMAGE_SUFFIXES),
}
"""Suffixes of each kind, in order of precedence: images beside volumes are not specimens."""


def suffix_of(name: str, kind: str) -> str:
    """Return the suffix of a file name if it belongs to a kind, in its original case, or an empty string."""
    lower = name.lower()
    return next((name[len(name) - len(suffix) :] for suffix in SUFFIXES[kind] if lower.endswith(suffix)), "")


def kind_of(names: Iterable[str]) -> str:
    """Return the first kind with a file among the names, or VOLUMES if there is none."""
    all_names = list(names)
    return next((kind for kind in SUFFIXES if any(suffix_of(name, kind) for name in all_names)), VOLUMES)
