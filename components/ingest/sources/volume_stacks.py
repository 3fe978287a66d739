"""Volumes that consist of several files: folders of TIFF slices, and DICOM series, which are refused by name.

Rules: a folder below a species' folder whose TIFF files are numbered is one stack, `species/specimen/0001.tif`. A TIFF
file directly in a species' folder is a volume if it has several pages, and a photograph otherwise.
"""

import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from components.ingest.sources.base import Source, SourceFile
from components.ingest.sources.file_kinds import PHOTOGRAPHS, VOLUMES, kind_of, suffix_of
from components.shared.errors import BadSourceFileError
from components.shared.volumes.formats.hints import DICOM, content_of
from components.shared.volumes.formats.nifti import DATA_SUFFIXES, PAIR_SUFFIX
from components.shared.volumes.formats.stack_names import is_numbered, is_tiff, sort_slices
from components.shared.volumes.formats.tiff import has_several_pages

_DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
_RAW_SUFFIXES = (".raw", ".zraw", ".raw.gz", ".raw.bz2")
_VOXEL_SUFFIXES = (".img", ".img.gz", *_RAW_SUFFIXES, ".bin", ".dat", ".gz")
"""Endings of files with the voxels of a volume beside its header file."""
_DATA_SUFFIXES = {PAIR_SUFFIX: DATA_SUFFIXES, ".mhd": _RAW_SUFFIXES, ".nhdr": _RAW_SUFFIXES}
"""Endings of the data file of each header file."""
_TIFF_SAMPLE = 8
"""Number of TIFF files, spread over all, whose pages are counted: in an object store each is a request."""


@dataclass(frozen=True)
class Entry:
    """A file of a folder, or several files that are one volume.

    Attributes:
        path: Path of the file, or of the folder of a stack.
        label_path: Path whose folders and name give species and specimen.
        suffix: Suffix of the label path.
    """

    path: str
    label_path: str
    suffix: str


def list_entries(
    source: Source, paths: Sequence[str], split_names: Iterable[str], wrappers: int
) -> tuple[list[Entry], list[str]]:
    """Return the volumes among the files of a folder, or its photographs if it has no volume, and all other files.

    Args:
        source: Source of the files.
        paths: Relative paths of all files, sorted.
        split_names: Names of folders that set the split, in lower case.
        wrappers: Number of folders above those of the species and of the splits.
    """
    files_of: defaultdict[str, list[str]] = defaultdict(list)
    for path in paths:
        files_of[str(PurePosixPath(path).parent)].append(path)
    series = _find_series(source, files_of, frozenset(split_names), wrappers)
    parts = {part for folder in series for part in files_of[folder] if is_tiff(part) or _is_dicom(source, part)}
    names = [path for path in paths if path not in parts]
    kind = VOLUMES if series else kind_of_paths(source, names)
    entries = [Entry(path, folder, "") for folder, path in series.items()]
    entries += [Entry(path, path, suffix) for path in names if (suffix := _suffix_of(source, path, kind)) is not None]
    stems = {entry.path[: len(entry.path) - len(entry.suffix)] for entry in entries}
    entry_paths = {entry.path for entry in entries}
    others = [path for path in names if path not in entry_paths and not _is_companion(path, stems)]
    return sorted(entries, key=lambda entry: entry.path), others


def _is_companion(path: str, stems: set[str]) -> bool:
    """Return whether a file contains the voxels of a header file with the same name."""
    suffix = next((suffix for suffix in _VOXEL_SUFFIXES if path.lower().endswith(suffix)), "")
    return bool(suffix) and path[: -len(suffix)] in stems


def kind_of_paths(source: Source, paths: Sequence[str]) -> str:
    """Return the kind of the files at some paths; if all of them are TIFF, the pages of most of a sample decide."""
    kind = kind_of(paths)
    photographs = [path for path in paths if suffix_of(path, PHOTOGRAPHS)]
    if kind == VOLUMES or not all(map(is_tiff, photographs)):
        return kind
    sample = photographs[:: max(1, len(photographs) // _TIFF_SAMPLE)]
    return VOLUMES if 2 * sum(_is_volume(source, path) for path in sample) >= len(sample) else PHOTOGRAPHS


def find_volume(source: Source, path: str) -> SourceFile:
    """Return the location of a file, or of the folder of a stack with its slices in order; a pair has two parts.

    Raises:
        BadSourceFileError: The file is missing or outside the source's folder, or the slices have no clear order.
    """
    header_suffix = next((suffix for suffix in _DATA_SUFFIXES if path.lower().endswith(suffix)), "")
    if header_suffix:
        return _find_header(source, path, header_suffix)
    try:
        return source.find(path)
    except BadSourceFileError:
        names = [name for name in source.files_in(path) if is_tiff(name)]
        if not names:
            raise
    slices = tuple(source.find(f"{path.rstrip('/')}/{name}") for name in sort_slices(names))
    folder = slices[0].file.parent
    return replace(SourceFile(folder, sum(part.size for part in slices), slices[0].version), parts=slices)


def _find_header(source: Source, path: str, header_suffix: str) -> SourceFile:
    """Return the location of a header file with its data file of the same name, or alone if there is none."""
    header, stem = source.find(path), path[: -len(header_suffix)]
    for suffix in _DATA_SUFFIXES[header_suffix]:
        try:
            data = source.find(f"{stem}{suffix}")
        except BadSourceFileError:
            continue
        return replace(header, size=header.size + data.size, parts=(header, data))
    return header


def _find_series(
    source: Source, files_of: Mapping[str, list[str]], split_names: frozenset[str], wrappers: int
) -> dict[str, str]:
    """Return the path to list for each folder that is one volume: the folder itself, or a file of a DICOM series."""
    series = {}
    for folder, paths in files_of.items():
        parts = folder.split("/")[wrappers:]
        depth = len(parts) - (bool(parts) and parts[0].strip().lower() in split_names)
        slices = [path for path in paths if is_tiff(path)]
        if depth >= 2 and slices and 2 * sum(map(is_numbered, slices)) > len(slices):
            series[folder] = folder
            continue
        first_dicom = next((path for path in paths if _is_dicom(source, path)), None)
        if first_dicom and depth >= 2:
            series[folder] = first_dicom
    return series


def _suffix_of(source: Source, path: str, kind: str) -> str | None:
    """Return the suffix of a file that belongs to a kind, or None for any other file."""
    suffix = suffix_of(path, kind) or None
    if kind == VOLUMES and not suffix and (_is_dicom(source, path) or (is_tiff(path) and _is_volume(source, path))):
        return PurePosixPath(path).suffix
    return suffix


def _is_dicom(source: Source, path: str) -> bool:
    """Return whether a file is DICOM by its suffix or, without a suffix, by its first bytes."""
    suffix = PurePosixPath(path).suffix.lower()
    if suffix:
        return suffix in _DICOM_SUFFIXES
    try:
        source_file = source.find(path)
        with tempfile.TemporaryDirectory() as scratch, source.header_file(source_file, Path(scratch)) as file:
            return content_of(file) is DICOM
    except BadSourceFileError:
        return False


def _is_volume(source: Source, path: str) -> bool:
    """Return whether a TIFF file has several pages."""
    try:
        source_file = source.find(path)
        with tempfile.TemporaryDirectory() as scratch, source.header_file(source_file, Path(scratch)) as file:
            return has_several_pages(file)
    except BadSourceFileError:
        return False
