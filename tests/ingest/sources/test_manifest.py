"""Manifests and folders: every row is a scan or is refused by name."""

import os
from pathlib import Path

import pytest

from components.ingest.config import IngestConfig
from components.ingest.plan import make_plan
from components.ingest.sources import open_source
from components.ingest.sources.manifest import list_scans
from components.shared.errors import BadManifestError


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"content is checked later")


def _manifest(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    (folder / "manifest.csv").write_bytes(text.encode(encoding))
    return folder / "manifest.csv"


def planned_files(source: Path, **parameters: object) -> list[Path]:
    """Return the files that a plan of the ingest uses; none if the source is refused."""
    fields = {"image_size": 32, "slices_per_species": 15, "planes": "random", "seed": 0}
    try:
        return [scan.file for scan in make_plan(source, IngestConfig.checked(**fields, **parameters)).scans]
    except BadManifestError:
        return []


def test_a_folder_of_species_is_a_manifest(tmp_path: Path) -> None:
    _touch(tmp_path, "Alba/one.nii.gz", "Alba/two.nii", "Nigra/three.NII.GZ", "Nigra/notes.txt", "Nigra/.hidden.nii")
    scans = list_scans(open_source(tmp_path)).scans
    assert [(scan.species, scan.specimen) for scan in scans] == [("Alba", "one"), ("Alba", "two"), ("Nigra", "three")]


def test_scan_suffixes_are_repeated_scans_of_one_specimen(tmp_path: Path) -> None:
    _touch(tmp_path, "Alba/one_scan1.nii.gz", "Alba/one-scan2.nii.gz", "Alba/two_2.nii.gz", "Alba/scan3.nii")
    assert {scan.specimen for scan in list_scans(open_source(tmp_path)).scans} == {"one", "two_2", "scan3"}


def test_volumes_outside_species_folders_are_refused(tmp_path: Path) -> None:
    _touch(tmp_path, "loose.nii", "Alba/deep/er.nii", "Alba/one.nii")
    manifest = list_scans(open_source(tmp_path))
    assert [scan.path for scan in manifest.scans] == ["Alba/one.nii"]
    assert {refusal.path for refusal in manifest.refusals} == {"loose.nii", "Alba/deep/er.nii"}


@pytest.mark.parametrize(
    "text",
    [
        "path,species,specimen\na.nii,Alba,1\n",
        "\ufeffpath,species,specimen\r\na.nii,Alba,1\r\n\r\n",
        "Path;Species;Specimen\na.nii;Alba;1\n",
        "specimen\tsplit\tpath\tspecies\textra\n1\t\ta.nii\tAlba\tx\n",
        'path,species,specimen\n"a.nii","Alba","1"',
        "\n;;\npath;species;specimen\r\na.nii;Alba;1\r\n",
    ],
)
def test_tables_of_common_spreadsheet_programs_are_read(tmp_path: Path, text: str) -> None:
    _touch(tmp_path, "a.nii")
    (scan,) = list_scans(open_source(_manifest(tmp_path, text))).scans
    assert (scan.path, scan.species, scan.specimen, scan.split) == ("a.nii", "Alba", "1", "")


def test_two_encodings_of_an_accent_are_one_species(tmp_path: Path) -> None:
    _touch(tmp_path, "a.nii", "b.nii")
    rows = "path,species,specimen\na.nii,Am\u00e9lie \u6709\u5b54\u866b,1\nb.nii,Ame\u0301lie \u6709\u5b54\u866b,2\n"
    assert len({scan.species for scan in list_scans(open_source(_manifest(tmp_path, rows))).scans}) == 1


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("missing.nii,Alba,1", "does not exist"),
        ("a.nii/b.nii,Alba,1", "does not exist"),
        (",Alba,1", "path"),
        ("a.nii", "species"),
        ("a.nii,,1", "species ''"),
        ("a.nii,unknown,1", "species 'unknown'"),
        ("a.nii,Alba/Nigra,1", "slashes"),
        ("a.nii,Alba,", "specimen ''"),
        ("a.nii,Alba,1,tset", "split 'tset'"),
        ("../outside.nii,Alba,1", "outside"),
        ("/etc/passwd,Alba,1", "outside"),
        ("link.nii,Alba,1", "outside"),
        ("folder.nii,Alba,1", "not a regular file"),
        ("pipe.nii,Alba,1", "not a regular file"),
        ("loop.nii,Alba,1", "cannot be read (a link that leads to itself)"),
        (f"{'x' * 5000}.nii,Alba,1", "cannot be read"),
        (f"a.nii,{'x' * 500},1", "at most 120"),
    ],
)
def test_a_bad_row_is_refused_and_the_others_are_used(tmp_path: Path, row: str, reason: str) -> None:
    folder = tmp_path / "set"
    _touch(folder, "a.nii", "good.nii", "../outside.nii", "folder.nii/file")
    os.mkfifo(folder / "pipe.nii")
    (folder / "link.nii").symlink_to(tmp_path / "outside.nii")
    (folder / "loop.nii").symlink_to("loop.nii")
    manifest = list_scans(open_source(_manifest(folder, f"path,species,specimen,split\n{row}\ngood.nii,Alba,2,val\n")))
    assert [(scan.path, scan.split) for scan in manifest.scans] == [("good.nii", "validation")]
    assert len(manifest.refusals) == 1
    assert reason in manifest.refusals[0].reason
    assert manifest.refusals[0].path == (row.split(",")[0] or "row 2")


def test_a_link_within_the_folder_is_followed(tmp_path: Path) -> None:
    _touch(tmp_path, "store/x1.nii")
    (tmp_path / "one.nii").symlink_to("store/x1.nii")
    manifest = list_scans(open_source(_manifest(tmp_path, "path,species,specimen\none.nii,Alba,1\n")))
    assert [scan.path for scan in manifest.scans] == ["one.nii"]


def test_volumes_of_a_linked_folder_elsewhere_are_refused_one_by_one(tmp_path: Path) -> None:
    _touch(tmp_path, "elsewhere/one.nii", "elsewhere/two.nii.gz", "set/Alba/three.nii")
    (tmp_path / "set" / "Nigra").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "Again").symlink_to("Alba")
    (tmp_path / "set" / "Alba" / "up").symlink_to("..")
    manifest = list_scans(open_source(tmp_path / "set"))
    assert [scan.path for scan in manifest.scans] == ["Alba/three.nii"]
    assert [refusal.path for refusal in manifest.refusals] == ["Nigra/one.nii", "Nigra/two.nii.gz"]
    assert all("outside" in refusal.reason for refusal in manifest.refusals)


def test_files_anywhere_are_read_only_where_the_source_is_not_confined(own_phantoms: Path, tmp_path: Path) -> None:
    set_folder = tmp_path / "lists"
    set_folder.mkdir()
    rows = (own_phantoms / "manifest.csv").read_text().splitlines()
    paths = [row.split(",")[0] for row in rows[1:]]
    (set_folder / "link.nii.gz").symlink_to(own_phantoms / paths[0])
    places = {paths[0]: "link.nii.gz", paths[1]: f"../{own_phantoms.name}/{paths[1]}"}
    for path in paths:
        rows = [row.replace(f"{path},", f"{places.get(path, own_phantoms / path)},") for row in rows]
    (set_folder / "manifest.csv").write_text("\n".join(rows))
    assert planned_files(set_folder, confined=False) == [own_phantoms / path for path in paths]
    assert planned_files(set_folder, confined=True) == []


def test_a_linked_species_folder_is_read_where_the_source_is_not_confined(own_phantoms: Path, tmp_path: Path) -> None:
    set_folder = tmp_path / "links"
    set_folder.mkdir()
    for species in (own_phantoms / "volumes").iterdir():
        (set_folder / species.name).symlink_to(species)
    (own_phantoms / "volumes" / "Orbitoides" / "round").symlink_to(set_folder)
    assert len(planned_files(set_folder, confined=False)) == 15
    assert planned_files(set_folder, confined=True) == []


@pytest.mark.parametrize(("name", "text"), [(b"a\nb.nii", "a\\nb.nii"), (b"\xff.nii", "\\udcff.nii")])
def test_an_unprintable_file_name_is_refused_in_one_printable_line(tmp_path: Path, name: bytes, text: str) -> None:
    _touch(tmp_path, "Alba/one.nii", f"Alba/{os.fsdecode(name)}")
    (refusal,) = list_scans(open_source(tmp_path)).refusals
    assert refusal.path == f"Alba/{text}"
    assert (refusal.path + refusal.reason).isprintable()


@pytest.mark.parametrize(
    "name",
    [
        b"Alba/" + b"\xff" * 120 + b".nii",
        b"Al\\ba/1.nii",
        b"Alba/\xe2\x80\xae1.nii",
        b"\xff\n/1.nii",
        b"y" * 200 + b"/1.nii",
    ],
)
def test_a_path_with_odd_characters_is_refused_by_name(tmp_path: Path, name: bytes) -> None:
    _touch(tmp_path, "Alba/one.nii", os.fsdecode(name))
    try:
        refusals = list_scans(open_source(tmp_path)).refusals
    except UnicodeError:
        refusals = []
    assert [(refusal.path + refusal.reason).isprintable() for refusal in refusals] == [True]


@pytest.mark.parametrize("address", [os.fsdecode(b"scans-\xff"), "scans\0", "file:///scans%00", "s3://lab/scans\0"])
def test_an_address_that_is_not_text_is_refused(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if "\0" not in address and "%" not in address:
        _touch(tmp_path, f"{address}/Alba/one.nii")
    try:
        message = f"opened {open_source(address)}"
    except (BadManifestError, ValueError) as error:
        message = str(error)
    assert "expected characters of UTF-8" in message


def test_a_duplicate_row_and_all_contradictory_rows_are_refused(tmp_path: Path) -> None:
    _touch(tmp_path, "a.nii", "b.nii")
    text = "path,species,specimen\na.nii,Alba,1\n./a.nii,Alba,1\nb.nii,Alba,2\nb.nii,Nigra,2\n"
    manifest = list_scans(open_source(_manifest(tmp_path, text)))
    assert [scan.path for scan in manifest.scans] == ["a.nii"]
    assert [refusal.path for refusal in manifest.refusals] == ["./a.nii", "b.nii", "b.nii"]


def test_specimen_names_used_by_two_species_get_the_species_as_prefix(tmp_path: Path) -> None:
    _touch(tmp_path, "Alba/01.nii", "Nigra/01.nii", "Nigra/02.nii")
    assert [scan.specimen for scan in list_scans(open_source(tmp_path)).scans] == ["Alba 01", "Nigra 01", "02"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"path,species\na,b\n", "specimen missing"),
        (b"path,path,species,specimen\na,b,c,d\n", "twice"),
        (b"path,species,specimen\n", "names no volume"),
        ("path,species,specimen\n\u00e9\u00ef,b\x81,c\n".encode("latin-1"), "UTF-8"),
        ("path,species,specimen\na,b,c\n".encode("utf-16-le"), "NUL"),
        (b'path,species,specimen\n"a,b,c\n', "line"),
        (b"\0" * 200, "NUL"),
    ],
)
def test_a_file_that_is_not_a_manifest_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "manifest.csv").write_bytes(content)
    with pytest.raises(BadManifestError, match=reason):
        list_scans(open_source(tmp_path))


def test_a_huge_manifest_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "manifest.csv").open("wb") as file:
        file.truncate(10**10)
    with pytest.raises(BadManifestError, match="at most"):
        list_scans(open_source(tmp_path))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nowhere", "does not exist"),
        ("empty", "names no volume"),
        ("volume.nii.gz", "is a single file"),
        ("x" * 5000, "cannot be read"),
    ],
)
def test_a_source_without_volumes_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "empty").mkdir()
    _touch(tmp_path, "volume.nii.gz")
    with pytest.raises(BadManifestError, match=reason):
        list_scans(open_source(tmp_path / name))
