"""Names of species: blanks around them do not count, and two spellings of one name are refused."""

from collections.abc import Callable
from pathlib import Path

import pytest

from components.ingest.sources import open_source
from components.ingest.sources.manifest import list_scans
from components.shared.errors import BadManifestError

Lister = Callable[..., list[str] | str]


def species_or_message(folder: Path) -> list[str] | str:
    try:
        return sorted({scan.species for scan in list_scans(open_source(folder)).scans})
    except BadManifestError as error:
        return str(error)


def in_folders(folder: Path, *names: str) -> list[str] | str:
    for number, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        (folder / name / f"{number}.nii").write_bytes(b"content is checked later")
    return species_or_message(folder)


def in_manifest(folder: Path, *names: str) -> list[str] | str:
    for number in range(len(names)):
        (folder / f"{number}.nii").write_bytes(b"content is checked later")
    rows = [f'{number}.nii,"{name}",{number}' for number, name in enumerate(names)]
    (folder / "manifest.csv").write_text("\n".join(["path,species,specimen", *rows]), encoding="utf-8")
    return species_or_message(folder)


@pytest.mark.parametrize("list_species", [in_folders, in_manifest])
@pytest.mark.parametrize(
    "names",
    [
        ("rock", "rock "),
        ("rock", "\u00a0rock\u2003"),
        ("Mus musculus", "Mus  musculus", "Mus\u00a0musculus"),
        ("\u00c5land", "A\u030aland", "\u212bland "),
    ],
)
def test_blanks_and_encodings_of_an_accent_give_one_species(
    list_species: Lister, names: tuple[str, ...], tmp_path: Path
) -> None:
    assert list_species(tmp_path, *names) == [names[0]]


@pytest.mark.parametrize("list_species", [in_folders, in_manifest])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Bone", "bone"),
        ("BONE ", "Bone"),
        ("Mus musculus", "Mus_musculus"),
        ("Mus-musculus", "mus musculus"),
        ("Stra\u00dfe", "STRASSE"),
        ("\u00c9lan", "e\u0301lan"),
    ],
)
def test_two_spellings_of_a_species_are_refused_with_both_names(
    list_species: Lister, one: str, other: str, tmp_path: Path
) -> None:
    message = list_species(tmp_path, one, other, "Nigra")
    assert "differ only in case" in message
    assert one.strip() in message
    assert "Nigra" not in message


def test_spellings_in_two_split_folders_are_refused_too(tmp_path: Path) -> None:
    assert "'Bone' and 'bone'" in in_folders(tmp_path, "train/Bone", "test/bone", "train/Nigra")
