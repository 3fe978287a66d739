"""Which volumes or photographs there are: a folder of `<species>/<specimen>.<ending>`, or a `manifest.csv`.

In a folder, `train|val|test/<species>/<specimen>.<ending>` gives the split too. A manifest has the columns
`path,species,specimen` and, if wanted, `split`; other columns are ignored. The split `unseen` is for species outside
the model, on which the evaluation measures how well it refuses them. Paths are relative to the manifest and stay below
its folder. Rows with the same species and specimen are repeated scans of one individual; in a folder,
`<specimen>_scan2.nii.gz` and `<specimen>_view2.jpg` say the same.
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

from components.ingest.sources.base import Place, Source
from components.ingest.sources.file_kinds import ENDINGS, VOLUMES, ending_of, kind_of
from components.ingest.sources.opening import open_source
from components.shared.contracts import Refusal
from components.shared.errors import BadManifestError, BadSourceFileError
from components.shared.slices import SPLITS, UNSEEN

MAX_NAME_LENGTH = 120
_LONGEST_FILE_NAME = 100
_REQUIRED = ("path", "species", "specimen")
_SPLIT_WORDS = {**{split: split for split in (*SPLITS, UNSEEN)}, "val": "validation", "valid": "validation", "": ""}
_NO_NAMES = frozenset(
    {"", "?", "-", "unknown", "unidentified", "undetermined", "indet", "indet.", "none", "nan", "na", "n/a"}
)
_SCAN_SUFFIX = re.compile(r"(?<=.)[ _.-](scan|view)[ _-]?\d+$", re.IGNORECASE)


@dataclass(frozen=True)
class Scan:
    """One volume or photograph of one specimen.

    Attributes:
        path: as the manifest names it, relative to the manifest's folder.
        file: where it is: a path on this machine, or bucket and key.
        species: the species' name.
        specimen: the individual's name, unique among all species.
        split: one of SPLITS, UNSEEN for a species outside the model, or empty where the manifest leaves it open.
        size: of the file, in bytes.
        version: what changes with the file's content in an object store; empty on this machine.
    """

    path: str
    file: Path
    species: str
    specimen: str
    split: str = ""
    size: int = 0
    version: str = ""

    @property
    def place(self) -> Place:
        """Where the volume was when the list was read."""
        return Place(self.file, self.size, self.version)


@dataclass
class Manifest:
    """The scans that can be tried, and the rows that cannot.

    Attributes:
        scans: in the order of the manifest.
        refused: rows and files left out, with reasons.
        kind: of the files, see `components.ingest.sources.file_kinds`.
    """

    scans: list[Scan] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    kind: str = VOLUMES


def read_manifest(address: str | Path) -> Manifest:
    """Reads the list of volumes at an address, see `list_volumes`."""
    return list_volumes(open_source(address))


def list_volumes(source: Source) -> Manifest:
    """Reads the list of volumes and checks every row of it.

    Args:
        source: a folder of `<species>/<specimen>.nii[.gz]`, a folder with a `manifest.csv`, or such a file.

    Raises:
        BadManifestError: it names no volume, or the manifest is not a table of the right columns in UTF-8.
    """
    if any(ending_of(source.address, kind) for kind in ENDINGS) and Path(source.address).is_file():
        raise BadManifestError(f"{source.address} is a single file", "the folder above it, or a manifest.csv")
    table = source.table()
    rows = _rows_of_folder(source) if table is None else list(_rows_of_table(table, source.address))
    if not rows:
        raise BadManifestError(
            f"{source.address} names no volume and no photograph",
            "species/specimen.nii.gz files or a manifest.csv, three specimens of each of two species or more",
        )
    manifest = _check_rows(rows, source)
    manifest.kind = kind_of(row.get("path", "") for row in rows)
    if not manifest.scans and all("does not exist" in refusal.reason for refusal in manifest.refused):
        raise BadManifestError(
            f"none of the {len(rows)} files of {source.address} is there",
            "paths relative to the manifest's folder",
            "Put the manifest beside them.",
        )
    return manifest


def _rows_of_folder(source: Source) -> list[dict[str, str]]:
    """Lists the files of the folder's kind: of volumes if there is one, else of photographs."""
    names = [name for name in source.names() if not any(part.startswith(".") for part in name.split("/"))]
    kind = kind_of(names)
    return [_row_of_file(name, ending) for name in names if (ending := ending_of(name, kind))]


def _row_of_file(path: str, ending: str) -> dict[str, str]:
    """Reads species, specimen and perhaps the split from where a file is; elsewhere it has no species."""
    *folders, name = path.split("/")
    split = folders[0].lower() if len(folders) > 1 and folders[0].lower() in _SPLIT_WORDS else ""
    specimen = _shortened(_SCAN_SUFFIX.sub("", name[: -len(ending)]))
    if split:  # each split may count its files from one
        specimen = f"{_SPLIT_WORDS[split]} {specimen}"
        folders = folders[1:]
    return {"path": path, "species": folders[0] if len(folders) == 1 else "", "specimen": specimen, "split": split}


def _shortened(name: str) -> str:
    """Returns a file's name short enough for a specimen, and still unlike all others."""
    if len(name) <= _LONGEST_FILE_NAME:
        return name
    return f"{name[: _LONGEST_FILE_NAME - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _rows_of_table(content: bytes, address: str) -> Iterator[dict[str, str]]:
    text = _decoded(content, address)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    try:
        header = [name.strip().lower() for name in next(lines, [])]
        _check_header(header, address)
        for cells in lines:
            if any(cell.strip() for cell in cells):
                yield dict(zip(header, (cell.strip() for cell in cells), strict=False))
    except csv.Error as error:
        raise BadManifestError(f"{address}, line {lines.line_num}: {error}", "comma-separated values") from error


def _decoded(content: bytes, address: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadManifestError(
            f"{address} is not UTF-8 ({error.reason})", "text", "Save it as CSV in UTF-8."
        ) from error


def _delimiter(text: str) -> str:
    """Returns what separates the columns: spreadsheets of many countries write semicolons."""
    first_line = text.split("\n", 1)[0]
    return max(",;\t", key=first_line.count)


def _check_header(header: Sequence[str], address: str) -> None:
    missing = [name for name in _REQUIRED if name not in header]
    if missing:
        raise BadManifestError(
            f"{address} has the columns {', '.join(map(repr, header[:8])) or 'of an empty file'}",
            f"path,species,specimen[,split]; {', '.join(missing)} missing",
        )
    twice = [name for name, count in Counter(header).items() if count > 1 and name in (*_REQUIRED, "split")]
    if twice:
        raise BadManifestError(f"{address} has the column {twice[0]!r} twice", "each column once")


def _check_rows(rows: Sequence[dict[str, str]], source: Source) -> Manifest:
    source.look_up([row["path"] for row in rows if _is_path(row.get("path", ""))])
    checked = [_scan_or_reason(row, source) for row in rows]
    contradictory = _contradictory_files([scan for scan in checked if isinstance(scan, Scan)])
    manifest = Manifest()
    seen: set[Path] = set()
    for number, (row, scan) in enumerate(zip(rows, checked, strict=True), start=2):
        if isinstance(scan, Scan) and scan.file in contradictory:
            scan = "rows of the same file name different specimens: expected one row for each file"
        elif isinstance(scan, Scan) and scan.file in seen:
            scan = "a duplicate of an earlier row: expected one row for each file"
        if isinstance(scan, Scan):
            seen.add(scan.file)
            manifest.scans.append(scan)
        else:
            manifest.refused.append(Refusal(path=_shown(row.get("path", "")) or f"row {number}", reason=scan))
    manifest.scans = _with_unique_specimens(manifest.scans)
    return manifest


def _contradictory_files(scans: Sequence[Scan]) -> set[Path]:
    owners: defaultdict[Path, set[tuple[str, str, str]]] = defaultdict(set)
    for scan in scans:
        owners[scan.file].add((scan.species, scan.specimen, scan.split))
    return {file for file, names in owners.items() if len(names) > 1}


def _scan_or_reason(row: dict[str, str], source: Source) -> Scan | str:
    """Returns the scan that a row describes, or why it describes none."""
    try:
        return _to_scan(row, source)
    except BadSourceFileError as error:
        return str(error)


def _to_scan(row: dict[str, str], source: Source) -> Scan:
    split, path = row.get("split", "").lower(), row.get("path", "")
    if split not in _SPLIT_WORDS:
        raise BadSourceFileError(f"split {split!r}", f"one of {', '.join((*SPLITS, UNSEEN))}, or an empty cell")
    if not _is_path(path):
        raise BadSourceFileError(f"path {path[:80]!r}", "the path of a file")
    place = source.find(path)
    return Scan(
        path=path,
        file=place.file,
        species=_name(row.get("species", ""), "species"),
        specimen=_name(row.get("specimen", ""), "specimen"),
        split=_SPLIT_WORDS[split],
        size=place.size,
        version=place.version,
    )


def _shown(path: str) -> str:
    """Returns a path as one line of text, whatever bytes a file name is made of."""
    return path if path.isprintable() else path.encode("unicode_escape").decode()


def _is_path(cell: str) -> bool:
    return bool(cell) and cell.isprintable()


def _name(cell: str, column: str) -> str:
    """Returns a name in Unicode's composed form, so that two spellings of an accent are one name."""
    name = unicodedata.normalize("NFC", cell)
    if name.casefold() in _NO_NAMES:
        raise BadSourceFileError(f"{column} {cell!r}", "a name, from <species>/<specimen>.nii.gz or a manifest")
    if not name.isprintable() or len(name) > MAX_NAME_LENGTH or "/" in name or "\\" in name:
        raise BadSourceFileError(
            f"{column} {name[:40]!r}", f"at most {MAX_NAME_LENGTH} printable characters without slashes"
        )
    return name


def _with_unique_specimens(scans: Sequence[Scan]) -> list[Scan]:
    """Puts the species in front of specimen names that several species use, as `01` in a folder for each species."""
    species_of: defaultdict[str, set[str]] = defaultdict(set)
    for scan in scans:
        species_of[scan.specimen].add(scan.species)
    return [
        scan if len(species_of[scan.specimen]) == 1 else replace(scan, specimen=f"{scan.species} {scan.specimen}")
        for scan in scans
    ]
