"""The list of scans: a folder of `<species>/<specimen>.<suffix>`, or a `manifest.csv` or `manifest.xlsx`.

In a folder, `train|val|test/<species>/<specimen>.<suffix>` also sets the split. A manifest has the columns
`path,species,specimen` and optionally `split`, `mask` and those of `spacing`; other columns are ignored. The split
`unseen` marks species outside the model, on which the evaluation measures the detection of unknown species. Paths are
relative to the manifest, and in a confined source inside its folder. Rows with the same species and specimen are
repeated scans of one individual; in a folder, these are named `<specimen>_scan2.nii.gz` or `<specimen>_view2.jpg`.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from components.ingest.sources.base import Source, SourceFile, is_folder
from components.ingest.sources.class_names import SPLIT_OF_NAME, check_spellings, printable, to_name
from components.ingest.sources.file_kinds import SUFFIXES, VOLUMES, suffix_of
from components.ingest.sources.folder_layout import FolderContent, describe_endings, list_folder
from components.ingest.sources.manifest_table import rows_of_table
from components.ingest.sources.spacing import parse_spacing
from components.ingest.sources.volume_stacks import find_volume, kind_of_paths
from components.shared.contracts import Refusal
from components.shared.errors import BadManifestError, BadSourceFileError
from components.shared.slices import SPLITS, UNSEEN

_WINDOWS_DRIVE = re.compile(r"[A-Za-z]:\\|\\\\")
"""Start of a path on a drive (`C:\\`) or a share of another machine (`\\\\`)."""


@dataclass(frozen=True)
class Scan:
    """One volume or photograph of one specimen.

    Attributes:
        path: Path in the manifest, relative to the manifest's folder.
        file: Local path, or bucket and key.
        species: Name of the species.
        specimen: Name of the individual, unique among all species.
        split: One of SPLITS, UNSEEN for a species outside the model, or empty if the manifest sets none.
        size: Size of the file in bytes.
        version: Identifier of the content in an object store; empty for local files.
        spacing_mm: Edge lengths of a voxel along X, Y, Z that count if the file has none, or None.
        mask: Path of the user's own mask in the manifest; empty without one.
        mask_file: Location of that mask when the source was listed.
        parts: Files of a volume that consists of several, in order; `file` is the first one, or their folder.
    """

    path: str
    file: Path
    species: str
    specimen: str
    split: str = ""
    size: int = 0
    version: str = ""
    spacing_mm: tuple[float, float, float] | None = None
    mask: str = ""
    mask_file: SourceFile | None = None
    parts: tuple[SourceFile, ...] = ()

    @property
    def source_file(self) -> SourceFile:
        """Location of the file when the source was listed."""
        return SourceFile(self.file, self.size, self.version, self.parts)


@dataclass
class Manifest:
    """The usable rows of a source and the refused ones.

    Attributes:
        scans: Usable scans, in the order of the manifest.
        refusals: Rows and files that are left out, with reasons.
        kind: Kind of the files, a key of `components.ingest.source_kinds.SOURCE_KINDS`.
        passed_over: Number of files that are not read, by their endings; empty for a manifest.
    """

    scans: list[Scan] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    kind: str = VOLUMES
    passed_over: dict[str, int] = field(default_factory=dict)


def list_scans(source: Source) -> Manifest:
    """Read the list of scans of a source and check every row.

    Args:
        source: A folder of `<species>/<specimen>.<suffix>`, a folder with a `manifest.csv`, or such a file.

    Raises:
        BadManifestError: The source contains no volume and no photograph, the manifest is not a table with the required
            columns, or two species differ only in case, blanks or punctuation.
    """
    if any(suffix_of(source.address, kind) for kind in SUFFIXES) and Path(source.address).is_file():
        raise BadManifestError(f"{source.address} is a single file", "the folder above it, or a manifest.csv")
    table = source.manifest()
    content = (
        list_folder(source) if table is None else FolderContent(list(rows_of_table(table, source.address)), [], {})
    )
    rows = content.rows
    if not rows:
        other_files = f" (other files: {describe_endings(content.passed_over)})" if content.passed_over else ""
        raise BadManifestError(
            f"{source.address} names no volume and no photograph{other_files}",
            "species/specimen.nii.gz files or a manifest.csv, three specimens of each of two species or more",
        )
    manifest = _check_rows(rows, source)
    manifest.refusals += content.refusals
    manifest.passed_over = content.passed_over
    check_spellings(scan.species for scan in manifest.scans)
    has_stacks = any(is_folder(scan.source_file) for scan in manifest.scans)
    manifest.kind = VOLUMES if has_stacks else kind_of_paths(source, [row.get("path", "") for row in rows])
    if not manifest.scans and all("does not exist" in refusal.reason for refusal in manifest.refusals):
        raise BadManifestError(
            f"none of the {len(rows)} files of {source.address} exists",
            "paths relative to the manifest's folder",
            "Put the manifest beside the files.",
        )
    return manifest


def _check_rows(rows: Sequence[dict[str, str]], source: Source) -> Manifest:
    paths = [row[name] for row in rows for name in ("path", "mask") if _is_path(row.get(name, ""))]
    source.prefetch([*paths, *(_posix_path(path) for path in paths)])
    results = [_scan_or_reason(row, source) for row in rows]
    contradictory_files = _contradictory_files([scan for scan in results if isinstance(scan, Scan)])
    manifest = Manifest()
    files: set[Path] = set()
    for number, (row, scan) in enumerate(zip(rows, results, strict=True), start=2):
        if isinstance(scan, Scan) and scan.file in contradictory_files:
            scan = "rows of the same file name different specimens: expected one row for each file"
        elif isinstance(scan, Scan) and scan.file in files:
            scan = "a duplicate of an earlier row: expected one row for each file"
        if isinstance(scan, Scan):
            files.add(scan.file)
            manifest.scans.append(scan)
        else:
            path = printable(row.get("path", "")) or f"row {number}"
            manifest.refusals.append(Refusal(path=path, reason=scan))
    manifest.scans = _with_unique_specimens(manifest.scans)
    return manifest


def _contradictory_files(scans: Sequence[Scan]) -> set[Path]:
    labels_of: defaultdict[Path, set[tuple[str, str, str, str]]] = defaultdict(set)
    for scan in scans:
        labels_of[scan.file].add((scan.species, scan.specimen, scan.split, scan.mask))
    return {file for file, labels in labels_of.items() if len(labels) > 1}


def _scan_or_reason(row: dict[str, str], source: Source) -> Scan | str:
    """Return the scan of a row, or the reason why the row is refused."""
    try:
        return _to_scan(row, source)
    except BadSourceFileError as error:
        return str(error)


def _to_scan(row: dict[str, str], source: Source) -> Scan:
    split, path = row.get("split", "").lower(), row.get("path", "")
    if split not in SPLIT_OF_NAME:
        raise BadSourceFileError(f"split {split!r}", f"one of {', '.join((*SPLITS, UNSEEN))}, or an empty cell")
    if not _is_path(path):
        raise BadSourceFileError(f"path {path[:80]!r}", "the path of a file in printable characters", "Rename it.")
    path, source_file = _find(path, source)
    mask = row.get("mask", "")
    return Scan(
        path=path,
        file=source_file.file,
        species=to_name(row.get("species", ""), "species"),
        specimen=to_name(row.get("specimen", ""), "specimen"),
        split=SPLIT_OF_NAME[split],
        size=source_file.size,
        version=source_file.version,
        spacing_mm=parse_spacing(row),
        mask=mask,
        mask_file=_find_mask(mask, source) if mask else None,
        parts=source_file.parts,
    )


def _find(path: str, source: Source) -> tuple[str, SourceFile]:
    """Return the path and location of a file; backslashes separate folders unless they are part of a file's name."""
    posix_path = _posix_path(path)
    try:
        return posix_path, find_volume(source, posix_path)
    except BadSourceFileError as error:
        if posix_path == path:
            raise
        try:
            return path, source.find(path)
        except BadSourceFileError:
            if _WINDOWS_DRIVE.match(path):
                raise BadSourceFileError(f"{path[:80]!r} is on a drive of Windows", "a path on this machine") from error
            raise error from None


def _posix_path(path: str) -> str:
    return path.replace("\\", "/")


def _find_mask(path: str, source: Source) -> SourceFile:
    if not _is_path(path):
        raise BadSourceFileError(f"mask {path[:80]!r}", "the path of a file, or an empty cell")
    try:
        return source.find(_posix_path(path))
    except BadSourceFileError as error:
        raise BadSourceFileError(f"its mask {path}: {error}") from error


def _is_path(cell: str) -> bool:
    return bool(cell) and cell.isprintable()


def _with_unique_specimens(scans: Sequence[Scan]) -> list[Scan]:
    """Prefix specimen names that several species share, such as `01` in each species' folder, with the species."""
    species_of: defaultdict[str, set[str]] = defaultdict(set)
    for scan in scans:
        species_of[scan.specimen].add(scan.species)
    return [
        scan if len(species_of[scan.specimen]) == 1 else replace(scan, specimen=f"{scan.species} {scan.specimen}")
        for scan in scans
    ]
