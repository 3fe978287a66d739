"""Names of species, specimens and splits, as cells of manifests and folders contain them."""

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable

from components.shared.errors import BadManifestError, BadSourceFileError
from components.shared.slices import SPLITS, UNSEEN

MAX_NAME_LENGTH = 120
SPLIT_OF_NAME = {
    **{split: split for split in (*SPLITS, UNSEEN)},
    "training": "train",
    "testing": "test",
    "val": "validation",
    "valid": "validation",
    "": "",
}
_MAX_FILE_STEM_LENGTH = 100
_PLACEHOLDERS = frozenset(
    {"", "?", "-", "unknown", "unidentified", "undetermined", "indet", "indet.", "none", "nan", "na", "n/a", "#n/a"}
    | {"#name?", "#ref!", "#value!", "#null!", "#num!", "#div/0!"}
)
"""Cells that are read as a missing name."""
_SEPARATORS = re.compile(r"[\s_.-]+")
_MOST_NAMED_TWINS = 5
_REPEAT_SUFFIX = re.compile(r"(?<=.)[ _.-](scan|view)[ _-]?\d+$", re.IGNORECASE)


def specimen_of_stem(stem: str) -> str:
    """Return the specimen of a file's stem, without the suffix of repeated scans; a long end becomes a hash."""
    name = _REPEAT_SUFFIX.sub("", stem)
    if len(name) <= _MAX_FILE_STEM_LENGTH:
        return name
    digest = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()
    return f"{name[: _MAX_FILE_STEM_LENGTH - 9]}-{digest[:8]}"


def to_name(cell: str, column: str) -> str:
    """Return a checked name in Unicode's composed form, with single blanks between words and none around them."""
    name = " ".join(unicodedata.normalize("NFC", cell).split())
    if name.casefold() in _PLACEHOLDERS:
        raise BadSourceFileError(f"{column} {cell!r}", "a name, from <species>/<specimen>.nii.gz or a manifest")
    if not name.isprintable() or len(name) > MAX_NAME_LENGTH or "/" in name or "\\" in name:
        raise BadSourceFileError(
            f"{column} {name[:40]!r}", f"at most {MAX_NAME_LENGTH} printable characters without slashes"
        )
    return name


def check_spellings(species: Iterable[str]) -> None:
    """Check that no two species differ only by upper and lower case or by blanks, underscores, hyphens and dots.

    Raises:
        BadManifestError: There are two spellings of one name.
    """
    spellings_of: defaultdict[str, set[str]] = defaultdict(set)
    for name in species:
        folded_name = unicodedata.normalize("NFKC", name).casefold()
        spellings_of[_SEPARATORS.sub(" ", folded_name).strip()].add(name)
    twins = [" and ".join(map(repr, sorted(names))) for names in spellings_of.values() if len(names) > 1]
    if twins:
        raise BadManifestError(
            f"the species {'; '.join(sorted(twins)[:_MOST_NAMED_TWINS])} differ only in case, blanks or punctuation",
            "one spelling of each species",
            "Rename one of each pair, or put their files together.",
        )


def printable(path: str) -> str:
    """Return a path as one line of text, with escapes for bytes that are not text."""
    return path if path.isprintable() else path.encode("unicode_escape").decode()
