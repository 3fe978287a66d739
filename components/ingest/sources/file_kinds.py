"""Which kinds of files there are, by the ends of their names. What is read of each kind is in `readers`."""

from collections.abc import Iterable

from components.shared.images.decoding import IMAGE_EXTENSIONS

_OTHER_PICTURES = (".tif", ".tiff", ".heic", ".heif", ".avif", ".jp2", ".jxl")
"""Refused by name rather than overlooked, unless they are among the formats that are read."""
VOLUMES, PHOTOGRAPHS = "volumes", "photographs"
ENDINGS: dict[str, tuple[str, ...]] = {
    VOLUMES: (".nii.gz", ".nii"),
    PHOTOGRAPHS: (*IMAGE_EXTENSIONS, *_OTHER_PICTURES),
}
"""In order of precedence: pictures beside volumes are no specimens."""


def ending_of(name: str, kind: str) -> str:
    """Returns the end of a file's name that belongs to a kind, as it is written, or an empty string."""
    lower = name.lower()
    return next((name[len(name) - len(ending) :] for ending in ENDINGS[kind] if lower.endswith(ending)), "")


def kind_of(names: Iterable[str]) -> str:
    """Returns the first kind that any of the names is of; VOLUMES where none is of any."""
    kept = list(names)
    return next((kind for kind in ENDINGS if any(ending_of(name, kind) for name in kept)), VOLUMES)
