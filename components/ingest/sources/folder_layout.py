"""The layout of a folder without a manifest: species and specimens by the folders and names of the files."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from components.ingest.sources.base import Source
from components.ingest.sources.class_names import SPLIT_OF_NAME, printable, specimen_of_stem
from components.ingest.sources.file_kinds import kind_of, suffix_of
from components.shared.contracts import Refusal

NO_ENDING, OTHER_ENDINGS = "(none)", "(other)"
MOST_ENDINGS = 50
"""Largest number of endings that are counted by themselves, the most frequent ones."""
_IGNORED_NAMES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir"})
"""Files and folders of operating systems; they are not counted, like hidden ones."""
_ENDING = re.compile(r"(\.[a-z0-9]{1,10})?\.[a-z0-9_~-]{1,12}$")
_COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst", ".zip", ".z")


@dataclass(frozen=True)
class FolderContent:
    """The files of a folder.

    Attributes:
        rows: Row of each file that is read, with the columns of a manifest.
        refusals: Folders of species of which no file is read, with reasons.
        passed_over: Number of files that are not read, by their endings.
    """

    rows: list[dict[str, str]]
    refusals: list[Refusal]
    passed_over: dict[str, int]


def list_folder(source: Source) -> FolderContent:
    """List the files of the folder's kind: volumes if there are any, otherwise photographs; count the others."""
    paths = [path for path in source.paths() if not any(_is_ignored(part) for part in path.split("/"))]
    kind = kind_of(paths)
    suffixes = {path: suffix_of(path, kind) for path in paths}
    rows = [_row_of_file(path, suffix) for path, suffix in suffixes.items() if suffix]
    other_paths = [path for path, suffix in suffixes.items() if not suffix]
    lost_species = _lost_species(other_paths, {row["species"] for row in rows})
    return FolderContent(rows, lost_species, count_endings(other_paths))


def count_endings(paths: Iterable[str]) -> dict[str, int]:
    """Return the number of files by ending in lower case, the most frequent first."""
    counts = Counter(_ending(path) for path in paths).most_common()
    counts.sort(key=lambda entry: (-entry[1], entry[0]))
    endings = dict(counts[:MOST_ENDINGS])
    others = sum(count for _, count in counts[MOST_ENDINGS:])
    return {**endings, OTHER_ENDINGS: others} if others else endings


def describe_endings(endings: Mapping[str, int]) -> str:
    """Return the counts of files by ending as text."""
    return ", ".join(f"{count} {ending}" for ending, count in endings.items())


def _ending(path: str) -> str:
    """Return the ending of a file's name with its dot, two endings of a compressed file, or NO_ENDING."""
    name = path.rpartition("/")[2].lower()
    stem, dot, last = name.rpartition(".")
    if not stem or not _ENDING.search(f".{last}") or last.isdigit():
        return NO_ENDING
    match = _ENDING.search(name)
    return match[0] if match and f".{last}" in _COMPRESSIONS else f"{dot}{last}"


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or name.lower() in _IGNORED_NAMES


def _lost_species(paths: Sequence[str], species: set[str]) -> list[Refusal]:
    """Return a refusal for each folder at the place of a species that has files, but none that is read."""
    paths_of: defaultdict[str, list[str]] = defaultdict(list)
    for path in paths:
        name = _row_of_file(path, "")["species"]
        if name and name not in species:
            paths_of[name].append(path)
    return [
        Refusal(
            path=printable(name),
            reason=f"none of the species' {len(lost)} files is read ({describe_endings(count_endings(lost))}): "
            "expected files with a known ending. Convert them, or move the folder elsewhere",
        )
        for name, lost in sorted(paths_of.items())
    ]


def _row_of_file(path: str, suffix: str) -> dict[str, str]:
    """Return the row of a file by its folders; the species is empty if the file is not in a species' folder."""
    *folders, name = path.split("/")
    split = folders[0].lower() if len(folders) > 1 and folders[0].lower() in SPLIT_OF_NAME else ""
    specimen = specimen_of_stem(name[: len(name) - len(suffix)])
    if split:  # each split may number its files from one
        specimen = f"{SPLIT_OF_NAME[split]} {specimen}"
        folders = folders[1:]
    return {"path": path, "species": folders[0] if len(folders) == 1 else "", "specimen": specimen, "split": split}
