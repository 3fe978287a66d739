"""Folders without a manifest: what is read, what is passed over and counted, and where the species are."""

import json
from pathlib import Path

import pytest

from components.ingest.config import IngestConfig
from components.ingest.dataset import make_dataset
from components.ingest.sources import open_source
from components.ingest.sources.manifest import list_scans
from components.shared.errors import BadManifestError


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


def test_photographs_with_the_ending_jfif_are_read(tmp_path: Path) -> None:
    touch(tmp_path, "Alba/1.jfif", "Nigra/2.JFIF")
    assert labels_or_message(tmp_path) == [("Alba", "1", ""), ("Nigra", "2", "")]
