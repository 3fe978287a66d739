"""Folders without a manifest: what is read, what is passed over and counted, and where the species are."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from components.ingest.config import IngestConfig
from components.ingest.dataset import make_dataset
from components.ingest.sources import open_source
from components.ingest.sources.manifest import list_scans
from components.shared.errors import BadManifestError

CONFIG = IngestConfig(image_size=32, slices_per_species=15, planes="random", seed=0)


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"content is checked later")


def labels_or_message(folder: Path) -> list[tuple[str, str, str]] | str:
    try:
        return [(scan.species, scan.specimen, scan.split) for scan in list_scans(open_source(folder)).scans]
    except BadManifestError as error:
        return str(error)


def test_files_that_are_not_read_are_counted_by_their_endings(
    own_phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = own_phantoms / "volumes"
    names = [
        "a.XYZ",
        "b.xyz",
        "c.nii.bz9",
        "d.tar.gz",
        "notes",
        "scan.0001",
        "x" * 40 + ". a name",
        ".hidden",
        "Thumbs.db",
    ]
    touch(folder, *(f"Orbitoides/{name}" for name in names), "Orbitoides/._a.nii.gz", "__MACOSX/Orbitoides/a.nii.gz")
    touch(folder, "Nummulites/1.xyz", "Nummulites/2.xyz", "read me.txt")
    result = make_dataset(
        folder, tmp_path / "slices", IngestConfig(image_size=32, slices_per_species=15, planes="random", seed=0)
    )
    document = json.loads((tmp_path / "slices" / "dataset.json").read_text())
    counts = {".xyz": 4, "(none)": 3, ".bz9": 1, ".tar.gz": 1, ".txt": 1}
    assert document.get("passed_over") == counts
    assert [item["path"] for item in document["refused"]] == ["Nummulites"]
    assert "2 .xyz" in document["refused"][0]["reason"]
    output = capsys.readouterr().out
    assert "passed over files that are no volumes: 4 .xyz, 3 (none), 1 .bz9, 1 .tar.gz, 1 .txt" in output
    assert "refused Nummulites: none of the species' 2 files is read" in output
    assert "Files that were not read" in result.html


def test_a_folder_without_a_readable_file_names_the_endings(tmp_path: Path) -> None:
    touch(tmp_path, "Alba/1.xyz", "Alba/2.xyz", "Nigra/1.abc")
    assert "names no volume and no photograph (other files: 2 .xyz, 1 .abc)" in labels_or_message(tmp_path)


def test_a_species_of_slices_that_are_not_tiff_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "Alba/1.nii", *(f"Nigra/drawer 1/{number:03d}.jpg" for number in range(9)))
    refusals = {refusal.path: refusal.reason for refusal in list_scans(open_source(tmp_path)).refusals}
    assert list(refusals) == ["Nigra"]
    assert "9 .jpg" in refusals["Nigra"]
    assert "slices of a volume as TIFF" in refusals["Nigra"]


def test_folders_of_slices_that_are_not_tiff_give_the_format(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{name}/drawer {name}/{number:03d}.png" for name in "ab" for number in range(9)))
    assert "numbered TIFF files" in labels_or_message(tmp_path)


def test_numbered_tiff_files_that_are_photographs_are_logged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    touch(tmp_path, *(f"{name}/rec{number:03d}.tif" for name in "ab" for number in range(3)))
    assert len(labels_or_message(tmp_path)) == 6
    assert "a/rec000.tif, are read as photographs" in capsys.readouterr().out


def test_photographs_with_the_ending_jfif_are_read(tmp_path: Path) -> None:
    touch(tmp_path, "Alba/1.jfif", "Nigra/2.JFIF")
    assert labels_or_message(tmp_path) == [("Alba", "1", ""), ("Nigra", "2", "")]


@pytest.mark.parametrize("wrapper", ["dataset", "data/My set"])
def test_folders_above_the_species_are_passed_through(wrapper: str, tmp_path: Path) -> None:
    touch(tmp_path, f"{wrapper}/Alba/1.nii", f"{wrapper}/Nigra/2.nii", "readme.txt", "papers/a.pdf")
    assert labels_or_message(tmp_path) == [("Alba", "1", ""), ("Nigra", "2", "")]


@pytest.mark.parametrize("training", ["Training", "TRAIN", "train"])
@pytest.mark.parametrize("testing", ["Testing", "test"])
@pytest.mark.parametrize("validation", ["valid", "Validation", "VAL"])
@pytest.mark.parametrize(("above", "below"), [("", ""), ("archive/", ""), ("", "images/")])
def test_folders_of_splits_are_understood(
    training: str, testing: str, validation: str, above: str, below: str, tmp_path: Path
) -> None:
    for folder in (training, testing, validation):
        touch(tmp_path, f"{above}{folder}/{below}Alba/1.nii", f"{above}{folder}/{below}Nigra/2.nii")
    labels = labels_or_message(tmp_path)
    assert {label[0] for label in labels} == {"Alba", "Nigra"}
    assert sorted(label[2] for label in labels) == ["test"] * 2 + ["train"] * 2 + ["validation"] * 2


def test_a_structure_that_is_not_understood_gives_one_sentence(tmp_path: Path) -> None:
    touch(tmp_path, *(f"lab {lab}/Alba/drawer {number}/scan.nii" for lab in "ab" for number in range(120)))
    message = labels_or_message(tmp_path)
    assert isinstance(message, str)
    assert "none of the 240 files" in message


def test_many_files_with_one_reason_give_few_lines(
    own_phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    touch(own_phantoms / "volumes", *(f"Orbitoides/deep/{number}.nii" for number in range(240)))
    result = make_dataset(own_phantoms / "volumes", tmp_path / "slices", CONFIG)
    assert len(result.info.refused) == 240
    assert len([line for line in capsys.readouterr().out.splitlines() if "refused" in line]) <= 6


SYSTEM = ["lost+found", "System Volume Information", "$RECYCLE.BIN"]


def test_folders_of_the_file_system_are_passed_over_and_named_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    touch(tmp_path, "Alba/1.nii", "Nigra/2.nii", *(f"{name}/{number}.nii" for name in SYSTEM for number in "12"))
    touch(tmp_path, ".Trashes/501/Alba/3.nii")
    assert labels_or_message(tmp_path) == [("Alba", "1", ""), ("Nigra", "2", "")]
    (line,) = capsys.readouterr().out.splitlines()
    assert all(line.count(name) == 1 for name in [*SYSTEM, ".Trashes"])


@pytest.mark.parametrize("name", [*SYSTEM, ".Trashes", ".private"])
def test_a_system_folder_that_cannot_be_listed_does_not_end_the_run(name: str, tmp_path: Path) -> None:
    touch(tmp_path, "Alba/1.nii", f"{name}/2.nii")
    (tmp_path / name).chmod(0)
    command = [sys.executable, "-c", LISTING, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    (tmp_path / name).chmod(0o755)
    assert result.stdout.splitlines()[-1:] == ["Alba"], result.stderr


LISTING = """
import os, sys
from components.ingest.sources import open_source
from components.ingest.sources.manifest import list_scans
if os.getuid() == 0:
    parent = sys.argv[1]
    while parent != "/tmp" and parent != "/":
        os.chmod(parent, os.stat(parent).st_mode | 0o055)
        parent = os.path.dirname(parent)
    os.setuid(65534)
print(*(scan.species for scan in list_scans(open_source(sys.argv[1])).scans))
"""
"""Program that lists a folder as a user without the rights of root."""
