"""The list of scans: a folder of `<species>/<specimen>.<suffix>`, or a `manifest.csv`.

In a folder, `train|val|test/<species>/<specimen>.<suffix>` also sets the split. A manifest has the columns
`path,species,specimen` and optionally `split`; other columns are ignored. The split `unseen` marks species outside the
model, on which the evaluation measures the detection of unknown species. Paths are relative to the manifest and must
be inside its folder. Rows with the same species and specimen are repeated scans of one individual; in a folder, these
are named `<specimen>_scan2.nii.gz` or `<specimen>_view2.jpg`.
"""

import csv
import hashlib
import io
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from components.ingest.sources.base import Source, SourceFile
from components.ingest.sources.file_kinds import SUFFIXES, VOLUMES, suffix_of
from components.ingest.sources.spacing import parse_spacing
from components.ingest.sources.volume_stacks import find_volume, kind_of_paths, list_entries
from components.shared.contracts import Refusal
from components.shared.errors import BadManifestError, BadSourceFileError
from components.shared.slices import SPLITS, UNSEEN

MAX_NAME_LENGTH = 120
_MAX_FILE_STEM_LENGTH = 100
_REQUIRED_COLUMNS = ("path", "species", "specimen")
_SPLIT_OF_CELL = {**{split: split for split in (*SPLITS, UNSEEN)}, "val": "validation", "valid": "validation", "": ""}
_PLACEHOLDERS = frozenset(
    {"", "?", "-", "unknown", "unidentified", "undetermined", "indet", "indet.", "none", "nan", "na", "n/a"}
)
"""Cells that are read as a missing name."""
_REPEAT_SUFFIX = re.compile(r"(?<=.)[ _.-](scan|view)[ _-]?\d+$", re.IGNORECASE)


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
    """

    scans: list[Scan] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    kind: str = VOLUMES


def list_scans(source: Source) -> Manifest:
    """Read the list of scans of a source and check every row.

    Args:
        source: A folder of `<species>/<specimen>.<suffix>`, a folder with a `manifest.csv`, or such a file.

    Raises:
        BadManifestError: The source contains no volume and no photograph, or the manifest is not a UTF-8 table with the
            required columns.
    """
    if any(suffix_of(source.address, kind) for kind in SUFFIXES) and Path(source.address).is_file():
        raise BadManifestError(f"{source.address} is a single file", "the folder above it, or a manifest.csv")
    table = source.manifest()
    rows = _rows_of_folder(source) if table is None else list(_rows_of_table(table, source.address))
    if not rows:
        raise BadManifestError(
            f"{source.address} names no volume and no photograph",
            "species/specimen.nii.gz files or a manifest.csv, three specimens of each of two species or more",
        )
    manifest = _check_rows(rows, source)
    manifest.kind = kind_of_paths(source, [row.get("path", "") for row in rows])
    if not manifest.scans and all("does not exist" in refusal.reason for refusal in manifest.refusals):
        raise BadManifestError(
            f"none of the {len(rows)} files of {source.address} exists",
            "paths relative to the manifest's folder",
            "Put the manifest beside the files.",
        )
    return manifest


def _rows_of_folder(source: Source) -> list[dict[str, str]]:
    """Return a row for each file of the folder's kind: volumes if there are any, otherwise photographs."""
    paths = [path for path in source.paths() if not any(part.startswith(".") for part in path.split("/"))]
    entries = list_entries(source, paths, _SPLIT_OF_CELL)
    return [{**_row_of_file(entry.label_path, entry.suffix), "path": entry.path} for entry in entries]


def _row_of_file(path: str, suffix: str) -> dict[str, str]:
    """Return the row of a file by its folders; the species is empty if the file is not in a species' folder."""
    *folders, name = path.split("/")
    split = folders[0].lower() if len(folders) > 1 and folders[0].lower() in _SPLIT_OF_CELL else ""
    specimen = _shorten(_REPEAT_SUFFIX.sub("", name.removesuffix(suffix)))
    if split:  # each split may number its files from one
        specimen = f"{_SPLIT_OF_CELL[split]} {specimen}"
        folders = folders[1:]
    return {"path": path, "species": folders[0] if len(folders) == 1 else "", "specimen": specimen, "split": split}


def _shorten(stem: str) -> str:
    """Return a file's stem, with a hash in place of its end if it is too long for a specimen's name."""
    if len(stem) <= _MAX_FILE_STEM_LENGTH:
        return stem
    return f"{stem[: _MAX_FILE_STEM_LENGTH - 9]}-{hashlib.sha256(stem.encode()).hexdigest()[:8]}"


def _rows_of_table(content: bytes, address: str) -> Iterator[dict[str, str]]:
    text = _decode(content, address)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    try:
        header = [name.strip().lower() for name in next(lines, [])]
        _check_header(header, address)
        for cells in lines:
            if any(cell.strip() for cell in cells):
                yield dict(zip(header, (cell.strip() for cell in cells), strict=False))
    except csv.Error as error:
        raise BadManifestError(f"{address}, line {lines.line_num}: {error}", "comma-separated values") from error


def _decode(content: bytes, address: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadManifestError(
            f"{address} is not UTF-8 ({error.reason})", "text", "Save it as CSV in UTF-8."
        ) from error


def _delimiter(text: str) -> str:
    """Return the most frequent delimiter in the header: in many countries, spreadsheets write semicolons."""
    first_line = text.split("\n", 1)[0]
    return max(",;\t", key=first_line.count)


def _check_header(header: Sequence[str], address: str) -> None:
    missing_names = [name for name in _REQUIRED_COLUMNS if name not in header]
    if missing_names:
        raise BadManifestError(
            f"{address} has the columns {', '.join(map(repr, header[:8]))}"
            if header
            else f"{address} is an empty file",
            f"path,species,specimen[,split]; {', '.join(missing_names)} missing",
        )
    repeated_names = [
        name for name, count in Counter(header).items() if count > 1 and name in (*_REQUIRED_COLUMNS, "split")
    ]
    if repeated_names:
        raise BadManifestError(f"{address} has the column {repeated_names[0]!r} twice", "each column once")


def _check_rows(rows: Sequence[dict[str, str]], source: Source) -> Manifest:
    source.prefetch([row["path"] for row in rows if _is_path(row.get("path", ""))])
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
            path = _printable(row.get("path", "")) or f"row {number}"
            manifest.refusals.append(Refusal(path=path, reason=scan))
    manifest.scans = _with_unique_specimens(manifest.scans)
    return manifest


def _contradictory_files(scans: Sequence[Scan]) -> set[Path]:
    labels_of: defaultdict[Path, set[tuple[str, str, str]]] = defaultdict(set)
    for scan in scans:
        labels_of[scan.file].add((scan.species, scan.specimen, scan.split))
    return {file for file, labels in labels_of.items() if len(labels) > 1}


def _scan_or_reason(row: dict[str, str], source: Source) -> Scan | str:
    """Return the scan of a row, or the reason why the row is refused."""
    try:
        return _to_scan(row, source)
    except BadSourceFileError as error:
        return str(error)


def _to_scan(row: dict[str, str], source: Source) -> Scan:
    split, path = row.get("split", "").lower(), row.get("path", "")
    if split not in _SPLIT_OF_CELL:
        raise BadSourceFileError(f"split {split!r}", f"one of {', '.join((*SPLITS, UNSEEN))}, or an empty cell")
    if not _is_path(path):
        raise BadSourceFileError(f"path {path[:80]!r}", "the path of a file")
    source_file = find_volume(source, path)
    return Scan(
        path=path,
        file=source_file.file,
        species=_to_name(row.get("species", ""), "species"),
        specimen=_to_name(row.get("specimen", ""), "specimen"),
        split=_SPLIT_OF_CELL[split],
        size=source_file.size,
        version=source_file.version,
        spacing_mm=parse_spacing(row),
        parts=source_file.parts,
    )


def _printable(path: str) -> str:
    """Return a path as one line of text, with escapes for bytes that are not text."""
    return path if path.isprintable() else path.encode("unicode_escape").decode()


def _is_path(cell: str) -> bool:
    return bool(cell) and cell.isprintable()


def _to_name(cell: str, column: str) -> str:
    """Return a checked name in Unicode's composed form, so that two encodings of an accent are one name."""
    name = unicodedata.normalize("NFC", cell)
    if name.casefold() in _PLACEHOLDERS:
        raise BadSourceFileError(f"{column} {cell!r}", "a name, from <species>/<specimen>.nii.gz or a manifest")
    if not name.isprintable() or len(name) > MAX_NAME_LENGTH or "/" in name or "\\" in name:
        raise BadSourceFileError(
            f"{column} {name[:40]!r}", f"at most {MAX_NAME_LENGTH} printable characters without slashes"
        )
    return name


def _with_unique_specimens(scans: Sequence[Scan]) -> list[Scan]:
    """Prefix specimen names that several species share, such as `01` in each species' folder, with the species."""
    species_of: defaultdict[str, set[str]] = defaultdict(set)
    for scan in scans:
        species_of[scan.specimen].add(scan.species)
    return [
        scan if len(species_of[scan.specimen]) == 1 else replace(scan, specimen=f"{scan.species} {scan.specimen}")
        for scan in scans
    ]
