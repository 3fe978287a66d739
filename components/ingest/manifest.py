"""Which volumes there are: a folder of `<species>/<specimen>.nii[.gz]`, or a `manifest.csv`.

A manifest has the columns `path,species,specimen` and, if wanted, `split`; other columns are ignored. The split
`unseen` is for species outside the model, on which the evaluation measures how well it refuses them. Paths are
relative to the manifest and stay below its folder. Rows with the same species and specimen are repeated scans of one
individual; in a folder, `<specimen>_scan2.nii.gz` says the same.
"""

import csv
import io
import re
import stat
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from components.shared.contracts import Refusal
from components.shared.errors import BadManifestError, BadVolumeError

MANIFEST_FILE = "manifest.csv"
SPLITS = ("train", "validation", "test")
UNSEEN = "unseen"
MAX_MANIFEST_BYTES = 64 * 2**20
MAX_NAME_LENGTH = 120
_REQUIRED = ("path", "species", "specimen")
_SPLIT_WORDS = {**{split: split for split in (*SPLITS, UNSEEN)}, "val": "validation", "valid": "validation", "": ""}
_NO_NAMES = frozenset(
    {"", "?", "-", "unknown", "unidentified", "undetermined", "indet", "indet.", "none", "nan", "na", "n/a"}
)
_ENDINGS = (".nii.gz", ".nii")
_SCAN_SUFFIX = re.compile(r"(?<=.)[ _.-]scan[ _-]?\d+$", re.IGNORECASE)


@dataclass(frozen=True)
class Scan:
    """One volume of one specimen.

    Attributes:
        path: as the manifest names it, relative to the manifest's folder.
        file: where it is.
        species: the species' name.
        specimen: the individual's name, unique among all species.
        split: one of SPLITS, UNSEEN for a species outside the model, or empty where the manifest leaves it open.
    """

    path: str
    file: Path
    species: str
    specimen: str
    split: str = ""


@dataclass
class Manifest:
    """The scans that can be tried, and the rows that cannot.

    Attributes:
        scans: in the order of the manifest.
        refused: rows and files left out, with reasons.
    """

    scans: list[Scan] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)


def read_manifest(source: Path) -> Manifest:
    """Reads the list of volumes and checks every row of it.

    Args:
        source: a folder of `<species>/<specimen>.nii[.gz]`, a folder with a `manifest.csv`, or such a file.

    Raises:
        BadManifestError: there is no such folder or file, it names no volume, or the manifest is not a table of the
            right columns in UTF-8.
    """
    if source.is_file():
        rows = list(_rows_of_table(source))
        root = source.parent
    elif (source / MANIFEST_FILE).is_file():
        return read_manifest(source / MANIFEST_FILE)
    elif source.is_dir():
        rows, root = list(_rows_of_folder(source)), source
    else:
        raise BadManifestError(f"{source} does not exist", "a folder of volumes or a manifest.csv", "Check the path.")
    if not rows:
        raise BadManifestError(f"{source} names no volume", "at least three specimens of each of two species")
    return _check_rows(rows, root)


def _rows_of_folder(folder: Path) -> Iterator[dict[str, str]]:
    for file in sorted(folder.rglob("*")):
        relative = file.relative_to(folder)
        ending = _ending(file.name)
        if not ending or any(part.startswith(".") for part in relative.parts):
            continue
        species = relative.parts[0] if len(relative.parts) == 2 else ""
        specimen = _SCAN_SUFFIX.sub("", file.name[: -len(ending)])
        yield {"path": relative.as_posix(), "species": species, "specimen": specimen}


def _ending(name: str) -> str:
    return next((ending for ending in _ENDINGS if name.lower().endswith(ending)), "")


def _rows_of_table(file: Path) -> Iterator[dict[str, str]]:
    lines = csv.reader(io.StringIO(_text_of(file), newline=""), delimiter=_delimiter(_text_of(file)), strict=True)
    try:
        header = [name.strip().lower() for name in next(lines, [])]
        _check_header(header, file)
        for cells in lines:
            if any(cell.strip() for cell in cells):
                yield dict(zip(header, (cell.strip() for cell in cells), strict=False))
    except csv.Error as error:
        raise BadManifestError(f"{file}, line {lines.line_num}: {error}", "comma-separated values") from error


def _text_of(file: Path) -> str:
    size = file.stat().st_size
    if size > MAX_MANIFEST_BYTES:
        raise BadManifestError(f"{file} has {size} bytes", f"a manifest of at most {MAX_MANIFEST_BYTES}")
    try:
        return file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadManifestError(f"{file} is not UTF-8 ({error.reason})", "text", "Save it as CSV in UTF-8.") from error


def _delimiter(text: str) -> str:
    """Returns what separates the columns: spreadsheets of many countries write semicolons."""
    first_line = text.split("\n", 1)[0]
    return max(",;\t", key=first_line.count)


def _check_header(header: Sequence[str], file: Path) -> None:
    missing = [name for name in _REQUIRED if name not in header]
    if missing:
        raise BadManifestError(
            f"{file} has the columns {', '.join(map(repr, header[:8])) or 'of an empty file'}",
            f"path,species,specimen[,split]; {', '.join(missing)} missing",
        )
    twice = [name for name, count in Counter(header).items() if count > 1 and name in (*_REQUIRED, "split")]
    if twice:
        raise BadManifestError(f"{file} has the column {twice[0]!r} twice", "each column once")


def _check_rows(rows: Sequence[dict[str, str]], root: Path) -> Manifest:
    manifest = Manifest()
    contradictory = _contradictory_files(rows, root)
    seen: set[Path] = set()
    for number, row in enumerate(rows, start=2):
        try:
            scan = _to_scan(row, root)
            if scan.file in contradictory:
                raise BadVolumeError("rows of the same file name different specimens", "one row for each file")
            if scan.file in seen:
                raise BadVolumeError("a duplicate of an earlier row", "one row for each file")
            seen.add(scan.file)
            manifest.scans.append(scan)
        except BadVolumeError as error:
            manifest.refused.append(Refusal(path=row.get("path") or f"row {number}", reason=str(error)))
    manifest.scans = _with_unique_specimens(manifest.scans)
    return manifest


def _contradictory_files(rows: Sequence[dict[str, str]], root: Path) -> set[Path]:
    owners: defaultdict[Path, set[tuple[str, str, str]]] = defaultdict(set)
    for row in rows:
        try:
            scan = _to_scan(row, root)
        except BadVolumeError:
            continue
        owners[scan.file].add((scan.species, scan.specimen, scan.split))
    return {file for file, names in owners.items() if len(names) > 1}


def _to_scan(row: dict[str, str], root: Path) -> Scan:
    split = row.get("split", "").lower()
    if split not in _SPLIT_WORDS:
        raise BadVolumeError(f"split {split!r}", f"one of {', '.join((*SPLITS, UNSEEN))}, or an empty cell")
    return Scan(
        path=row.get("path", ""),
        file=_file_below(row.get("path", ""), root),
        species=_name(row.get("species", ""), "species"),
        specimen=_name(row.get("specimen", ""), "specimen"),
        split=_SPLIT_WORDS[split],
    )


def _name(cell: str, column: str) -> str:
    """Returns a name in Unicode's composed form, so that two spellings of an accent are one name."""
    name = unicodedata.normalize("NFC", cell)
    if name.casefold() in _NO_NAMES:
        raise BadVolumeError(f"{column} {cell!r}", "a name", "Name it or take the row out.")
    if not name.isprintable() or len(name) > MAX_NAME_LENGTH or "/" in name or "\\" in name:
        raise BadVolumeError(
            f"{column} {name[:40]!r}", f"at most {MAX_NAME_LENGTH} printable characters without slashes"
        )
    return name


def _file_below(path: str, root: Path) -> Path:
    if not path or not path.isprintable():
        raise BadVolumeError(f"path {path[:80]!r}", "the path of a volume")
    try:
        file = (root / path).resolve()
        if not file.is_relative_to(root.resolve()):
            raise BadVolumeError("leads out of the manifest's folder", "a file below it", "Move or mount it there.")
        mode = file.stat().st_mode
    except (OSError, RuntimeError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        reason = "the file does not exist" if missing else f"the file cannot be read ({_short(error)})"
        raise BadVolumeError(reason) from error
    if not stat.S_ISREG(mode):
        raise BadVolumeError("not a regular file", "a NIfTI volume")
    return file


def _short(error: Exception) -> str:
    return (getattr(error, "strerror", None) or type(error).__name__).lower()


def _with_unique_specimens(scans: Sequence[Scan]) -> list[Scan]:
    """Puts the species in front of specimen names that several species use, as `01` in a folder for each species."""
    species_of: defaultdict[str, set[str]] = defaultdict(set)
    for scan in scans:
        species_of[scan.specimen].add(scan.species)
    return [
        scan
        if len(species_of[scan.specimen]) == 1
        else Scan(scan.path, scan.file, scan.species, f"{scan.species} {scan.specimen}", scan.split)
        for scan in scans
    ]
