"""Manifests as spreadsheet programs and Windows write them: each gives the same scans."""

import io
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pytest

from components.ingest.sources import open_source
from components.ingest.sources.manifest import list_scans
from components.shared.errors import BadManifestError

HEADER = ("path", "species", "specimen")
ROWS = [
    (f"{species}/{number}.jpg", species, f"{species} {number}") for species in ("B\u00e4r", "roach") for number in "012"
]
CASES = Path(__file__).parents[4] / "shared" / "cases"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for path, _, _ in ROWS:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(b"content is checked later")
    return tmp_path


def csv_text(delimiter: str = ",", rows: list[tuple[str, str, str]] = ROWS) -> str:
    return "".join(f"{delimiter.join(row)}\r\n" for row in [HEADER, *rows])


def workbook(rows: list[tuple[object, ...]] | None = None) -> bytes:
    book, content = openpyxl.Workbook(), io.BytesIO()
    for row in [HEADER, *ROWS] if rows is None else rows:
        book.active.append(row)
    book.save(content)
    return content.getvalue()


def scans_or_message(source: Path) -> list[tuple[str, str, str]] | str:
    try:
        return [(scan.path, scan.species, scan.specimen) for scan in list_scans(open_source(source)).scans]
    except BadManifestError as error:
        return str(error)


@pytest.mark.parametrize(
    "content",
    [
        f"sep=;\r\n{csv_text(';')}".encode(),
        f"\ufeffSEP=|\n{csv_text('|')}".encode(),
        f'"sep=\t"\r\n{csv_text(chr(9))}'.encode("utf-16"),
        csv_text(";").encode("cp1252"),
        csv_text("\t").encode("utf-16"),
    ],
)
def test_the_dialects_of_excel_give_the_same_scans(folder: Path, content: bytes) -> None:
    (folder / "manifest.csv").write_bytes(content)
    assert scans_or_message(folder) == ROWS


def test_a_manifest_that_is_not_utf_8_is_reported(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "manifest.csv").write_bytes(csv_text().encode("cp1252"))
    assert scans_or_message(folder) == ROWS
    assert "read as Windows-1252" in capsys.readouterr().out


def test_paths_of_windows_give_the_same_scans(folder: Path) -> None:
    rows = [(path.replace("/", "\\"), species, specimen) for path, species, specimen in ROWS]
    (folder / "odd\\name.jpg").write_bytes(b"a backslash is allowed here")
    (folder / "manifest.csv").write_text(csv_text(rows=[*rows, ("odd\\name.jpg", "roach", "odd")]))
    assert scans_or_message(folder) == [*ROWS, ("odd\\name.jpg", "roach", "odd")]


def test_a_path_on_a_drive_of_windows_is_refused_by_name(folder: Path) -> None:
    (folder / "manifest.csv").write_text(csv_text(rows=[*ROWS, ("C:\\scans\\a.jpg", "roach", "a")]))
    (refusal,) = list_scans(open_source(folder)).refusals
    assert "drive of Windows" in refusal.reason


def test_a_faulty_stack_with_a_path_of_windows_keeps_its_reason(folder: Path) -> None:
    (folder / "roach" / "stack").mkdir()
    for number in (1, 2, 4):
        (folder / "roach" / "stack" / f"{number}.tif").write_bytes(b"content is checked later")
    (folder / "manifest.csv").write_text(csv_text(rows=[*ROWS, ("roach\\stack", "roach", "s")]))
    (refusal,) = list_scans(open_source(folder)).refusals
    assert "1 slices are missing between '2.tif' and '4.tif'" in refusal.reason


@pytest.mark.parametrize("name", ["Manifest.CSV", "MANIFEST.csv"])
def test_the_case_of_the_manifests_name_does_not_matter(folder: Path, name: str) -> None:
    (folder / name).write_text(csv_text(rows=[*ROWS[:-1], ("roach/2.jpg", "roach", "other")]))
    assert scans_or_message(folder) == [*ROWS[:-1], ("roach/2.jpg", "roach", "other")]


def test_two_manifests_in_a_folder_are_refused_with_both_names(folder: Path) -> None:
    for name in ("Manifest.csv", "manifest.CSV"):
        (folder / name).write_text(csv_text())
    assert "Manifest.csv and manifest.CSV" in scans_or_message(folder)


@pytest.mark.parametrize("name", ["Manifest.XLSX", "table.xlsx"])
def test_a_workbook_gives_the_scans_of_its_first_sheet(folder: Path, name: str) -> None:
    (folder / name).write_bytes(workbook([(), HEADER, *ROWS[:-1], (None,), ("roach/2.jpg", "roach", 7.0)]))
    source = folder / name if name == "table.xlsx" else folder
    assert scans_or_message(source) == [*ROWS[:-1], ("roach/2.jpg", "roach", "7")]


def bomb() -> bytes:
    return rewritten(lambda name, part: part + b" " * 10**8 if name == "xl/worksheets/sheet1.xml" else part)


def with_entities() -> bytes:
    entities = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">]>'
    return rewritten(lambda _, part: part.replace(b"<worksheet", entities + b"<worksheet", 1))


def rewritten(change: Callable[[str, bytes], bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(workbook())) as old, zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return content.getvalue()


def with_a_wrong_size() -> bytes:
    """Return a workbook whose directory declares a sheet of 100 bytes that has millions."""
    content = bytearray(bomb())
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        size = archive.getinfo("xl/worksheets/sheet1.xml").file_size
    return bytes(content).replace(size.to_bytes(4, "little"), (100).to_bytes(4, "little"))


@pytest.mark.parametrize(
    "make",
    [
        bomb,
        with_entities,
        with_a_wrong_size,
        lambda: workbook()[:-200],
        lambda: b"PK\x03\x04" + bytes(100),
        lambda: bytes.fromhex("d0cf11e0a1b11ae1") + bytes(1000),
        lambda: rewritten(lambda name, part: b"<" if name == "xl/workbook.xml" else part),
        lambda: workbook([(*[None] * 64, *HEADER)]),
    ],
)
def test_an_unusable_workbook_is_refused_in_one_sentence(folder: Path, make: Callable[[], bytes]) -> None:
    (folder / "manifest.xlsx").write_bytes(make())
    message = scans_or_message(folder)
    assert isinstance(message, str)
    assert "manifest.xlsx" in message


@pytest.mark.parametrize("case", ["m01", "m02"])
def test_the_reported_manifests_are_read(case: str, tmp_path: Path) -> None:
    if not CASES.is_dir():
        pytest.skip("the reported cases are not beside the repository")
    own = shutil.copytree(CASES / case, tmp_path / case)
    scans = scans_or_message(Path(own))
    assert len(scans) == 6
    assert {scan[1] for scan in scans} == {"bream", "roach"}
