"""The layout of a folder without a manifest: species and specimens by the folders and names of the files."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from components.ingest.sources.base import Source
from components.ingest.sources.class_names import SPLIT_OF_NAME, printable, specimen_of_stem
from components.ingest.sources.file_kinds import PHOTOGRAPHS, SUFFIXES, suffix_of
from components.ingest.sources.volume_stacks import kind_of_paths, list_entries
from components.shared.contracts import Refusal
from components.shared.errors import BadManifestError
from components.shared.files.system_names import is_system_file, is_system_folder
from components.shared.progress import log
from components.shared.volumes.formats.stack_names import is_numbered, is_tiff

NO_ENDING, OTHER_ENDINGS = "(none)", "(other)"
MOST_ENDINGS = 50
"""Largest number of endings that are counted by themselves, the most frequent ones."""
_MISPLACED = "not directly in a folder of its species: expected <species>/<file>, optionally below train, val and test"
_ENDING = re.compile(r"(\.[a-z0-9]{1,10})?\.[a-z0-9_~-]{1,12}$")
_COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst", ".zip", ".z")


@dataclass(frozen=True)
class Layout:
    """The folders above those of the species.

    Attributes:
        outer: Names of the folders that all files have in common, above the folders of splits.
        inner: Names of the folders that all files have in common, between the folders of splits and of species.
    """

    outer: tuple[str, ...] = ()
    inner: tuple[str, ...] = ()

    @classmethod
    def of_paths(cls, paths: Sequence[str]) -> "Layout":
        """Return the layout of the files that are read; files without a folder do not count."""
        folders = [path.split("/")[:-1] for path in paths if "/" in path]
        outer = _common_folders(folders)
        below = [names[len(outer) :] for names in folders]
        if not below or not all(_split_of(names) for names in below):
            return cls(outer)
        return cls(outer, _common_folders([names[1:] for names in below]))

    def log_wrappers(self) -> None:
        """Log the folders that are neither species nor splits."""
        wrappers = [repr(printable("/".join(names))) for names in (self.outer, self.inner) if names]
        if wrappers:
            log("ingest", f"the species are the folders in {' and '.join(wrappers)}")

    def row(self, path: str, suffix: str) -> dict[str, str] | None:
        """Return the row of a file by its folders, or None if it is not directly in a folder of a species."""
        split, names = self.folders_of_species(path)
        name = path.rpartition("/")[2]
        specimen = specimen_of_stem(name[: len(name) - len(suffix)])
        if split:  # each split may number its files from one
            specimen = f"{split} {specimen}"
        return {"path": path, "species": names[0], "specimen": specimen, "split": split} if len(names) == 1 else None

    def folders_of_species(self, path: str) -> tuple[str, list[str]]:
        """Return the split of a file and its folders from that of the species on."""
        names = _without(path.split("/")[:-1], self.outer)
        split = _split_of(names)
        return split, _without(names[1:], self.inner) if split else names


def _common_folders(folders: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return the first folders that all paths have in common and that are neither splits nor species."""
    common: list[str] = []
    while folders and all(len(names) > 1 for names in folders) and len({names[0] for names in folders}) == 1:
        if _split_of(folders[0]):
            break
        common.append(folders[0][0])
        folders = [names[1:] for names in folders]
    return tuple(common)


def _split_of(folders: Sequence[str]) -> str:
    """Return the split that the first of several folders names, or an empty string."""
    return SPLIT_OF_NAME.get(folders[0].strip().lower(), "") if len(folders) > 1 else ""


def _without(folders: Sequence[str], first: Sequence[str]) -> list[str]:
    return list(folders[len(first) :]) if tuple(folders[: len(first)]) == tuple(first) else list(folders)


@dataclass(frozen=True)
class FolderContent:
    """The files of a folder.

    Attributes:
        rows: Row of each file that is read, with the columns of a manifest.
        refusals: Files outside a species' folder, and folders of species of which no file is read, with reasons.
        passed_over: Number of files that are not read, by their endings.
    """

    rows: list[dict[str, str]]
    refusals: list[Refusal]
    passed_over: dict[str, int]


def list_folder(source: Source) -> FolderContent:
    """List the files of the folder's kind: volumes if there are any, otherwise photographs; count the others.

    Raises:
        BadManifestError: There are such files, but none is in a folder of its species.
    """
    paths = _paths_of_specimens(source)
    wrappers = len(Layout.of_paths([path for path in paths if _may_be_read(path)]).outer)
    entries, other_paths = list_entries(source, paths, SPLIT_OF_NAME, wrappers)
    layout = Layout.of_paths([entry.label_path for entry in entries])
    layout.log_wrappers()
    rows_of_entries = [(entry, layout.row(entry.label_path, entry.suffix)) for entry in entries]
    rows = [{**row, "path": entry.path} for entry, row in rows_of_entries if row]
    other_places = [Refusal(path=printable(entry.path), reason=_MISPLACED) for entry, row in rows_of_entries if not row]
    if other_places and not rows:
        raise BadManifestError(
            f"none of the {len(other_places)} files of {source.address} is in a folder of its species, for example "
            f"{other_places[0].path}",
            "<species>/<file>, also below train, val and test, or below one other folder",
            "Move the files, or list them in a manifest.csv. Slices of a volume have to be numbered TIFF files.",
        )
    _log_photographs_in_tiff(source, [row["path"] for row in rows])
    lost_species = _lost_species(other_paths, layout, {row["species"] for row in rows})
    return FolderContent(rows, [*other_places, *lost_species], count_endings(other_paths))


def _log_photographs_in_tiff(source: Source, paths: Sequence[str]) -> None:
    """Log that numbered TIFF files are read as photographs: they may be the slices of a volume."""
    if all(is_tiff(path) and is_numbered(path) for path in paths) and kind_of_paths(source, paths) == PHOTOGRAPHS:
        log(
            "ingest",
            f"the numbered TIFF files, such as {printable(paths[0])}, are read as photographs, one specimen each; "
            "a folder of slices of one volume has to be below the folder of its species",
        )


def _may_be_read(path: str) -> bool:
    return any(suffix_of(path, kind) for kind in SUFFIXES)


def _paths_of_specimens(source: Source) -> list[str]:
    """Return the paths outside hidden folders and those of the file system; log the latter once."""
    paths: list[str] = []
    system_folders: set[str] = set()
    for path in source.paths():
        system_folders.update(part for part in path.split("/") if is_system_folder(part))
        if not is_system_file(path):
            paths.append(path)
    if system_folders:
        log("ingest", f"passed over the folders of the file system: {', '.join(sorted(system_folders))}")
    return paths


def count_endings(paths: Iterable[str]) -> dict[str, int]:
    """Return the number of files by ending in lower case, the most frequent first."""
    counts = Counter(_ending(path) for path in paths).most_common()
    counts.sort(key=lambda entry: (-entry[1], entry[0]))
    endings = dict(counts[:MOST_ENDINGS])
    others = sum(count for _, count in counts[MOST_ENDINGS:])
    return {**endings, OTHER_ENDINGS: others} if others else endings


def describe_endings(endings: Mapping[str, int]) -> str:
    """Return the counts of files by ending as text."""
    return ", ".join(f"{count} {suffix}" for suffix, count in endings.items())


def _ending(path: str) -> str:
    """Return the ending of a file's name with its dot, two endings of a compressed file, or NO_ENDING."""
    name = path.rpartition("/")[2].lower()
    stem, dot, last = name.rpartition(".")
    if not stem or not _ENDING.search(f".{last}") or last.isdigit():
        return NO_ENDING
    match = _ENDING.search(name)
    return match[0] if match and f".{last}" in _COMPRESSIONS else f"{dot}{last}"


def _lost_species(paths: Sequence[str], layout: Layout, species: set[str]) -> list[Refusal]:
    """Return a refusal for each folder at the place of a species that has files at any depth, but none is read."""
    paths_of: defaultdict[str, list[str]] = defaultdict(list)
    for path in paths:
        _, names = layout.folders_of_species(path)
        if names and names[0] not in species:
            paths_of[names[0]].append(path)
    return [
        Refusal(
            path=printable(name),
            reason=f"none of the species' {len(files)} files is read ({describe_endings(count_endings(files))}): "
            "expected files with a known ending, and slices of a volume as TIFF. Convert them, or move the folder "
            "elsewhere",
        )
        for name, files in sorted(paths_of.items())
    ]
