"""A set of specimens on disk."""

import csv
import hashlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from components.phantoms import generate
from components.phantoms.anatomy.forms import FORMS
from components.phantoms.anatomy.growth import GROWTH_RULES
from components.phantoms.generate import PhantomConfig, generate_phantoms
from components.shared.errors import BadConfigError


def rows_of(manifest: Path) -> list[dict[str, str]]:
    with manifest.open(newline="") as file:
        return list(csv.DictReader(file))


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_bytes_do_not_depend_on_the_number_of_workers(phantom_folder: Path, tmp_path: Path, small: PhantomConfig):
    generate_phantoms(tmp_path / "elsewhere", small, workers=2)
    assert digests(tmp_path / "elsewhere") == digests(phantom_folder)


def test_another_seed_gives_other_specimens(phantom_folder: Path, tmp_path: Path, small: PhantomConfig):
    other = small.model_copy(update={"seed": 4, "species": ("Minoxia",), "unseen_per_species": 0})
    generate_phantoms(tmp_path / "set", other, workers=1)
    name = "volumes/Minoxia/minoxia-000.nii.gz"
    assert digests(tmp_path / "set")[name] != digests(phantom_folder)[name]


def test_a_specimen_does_not_depend_on_the_others_of_the_set(
    phantom_folder: Path, tmp_path: Path, small: PhantomConfig
):
    fewer = small.model_copy(update={"species": ("Lockhartia",), "unseen_per_species": 0, "specimens_per_species": 1})
    generate_phantoms(tmp_path / "set", fewer, workers=1)
    name = "volumes/Lockhartia/lockhartia-000.nii.gz"
    assert digests(tmp_path / "set")[name] == digests(phantom_folder)[name]


def test_the_manifest_lists_every_volume_and_marks_unseen_species(phantom_folder: Path):
    manifest_rows = rows_of(phantom_folder / "manifest.csv")
    assert list(manifest_rows[0]) == ["path", "species", "specimen", "split"]
    assert {row["split"] for row in manifest_rows} == {"", "unseen"}
    assert {row["species"] for row in manifest_rows if row["split"]} == set(GROWTH_RULES)
    rows = [row for row in manifest_rows if not row["split"]]
    assert {row["species"] for row in rows} == set(FORMS)
    on_disk = {str(path.relative_to(phantom_folder)) for path in (phantom_folder / "volumes").rglob("*.nii.gz")}
    assert {row["path"] for row in rows} == on_disk
    assert len({row["specimen"] for row in rows}) == len(rows) == 2 * len(FORMS)


def test_unseen_species_have_a_list_and_a_folder_of_their_own(phantom_folder: Path):
    rows = rows_of(phantom_folder / "unseen.csv")
    assert {row["species"] for row in rows} == set(GROWTH_RULES)
    assert all(row["path"].startswith("unseen/") and (phantom_folder / row["path"]).is_file() for row in rows)
    assert not set(GROWTH_RULES) & set(FORMS)


def test_every_volume_has_a_mask_of_the_same_shape_and_affine(phantom_folder: Path):
    for tree in ("volumes", "unseen"):
        for path in (phantom_folder / tree).rglob("*.nii.gz"):
            volume = nib.load(path)
            mask = nib.load(phantom_folder / "masks" / path.relative_to(phantom_folder / tree))
            assert mask.shape == volume.shape
            np.testing.assert_array_equal(mask.affine, volume.affine)
            assert set(np.unique(np.asarray(mask.dataobj))) == {0, 1}


def test_headers_of_some_volumes_have_thicker_slices(phantom_folder: Path):
    headers = [nib.load(path).header for path in (phantom_folder / "volumes").rglob("*.nii.gz")]
    ratios = np.array([header.get_zooms()[2] / header.get_zooms()[0] for header in headers])
    assert (ratios > 1.05).any()
    assert np.isclose(ratios, 1.0).any()
    assert all(header.get_xyzt_units()[0] == "mm" for header in headers)


def test_an_interrupted_run_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: PhantomConfig):
    calls = []

    def stop_at_third(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(generate, "write_specimen", stop_at_third)
    with pytest.raises(KeyboardInterrupt):
        generate_phantoms(tmp_path / "set", small, workers=1)
    assert list(tmp_path.iterdir()) == []


def test_an_older_set_is_replaced(tmp_path: Path):
    folder = tmp_path / "set"
    folder.mkdir()
    for name in ("manifest.csv", "unseen.csv", "left-over"):
        (folder / name).write_text("old")
    smaller = PhantomConfig(specimens_per_species=1, unseen_per_species=0, size=32, species=("Orbitoides",))
    generate_phantoms(folder, smaller, workers=1)
    assert not (folder / "left-over").exists()
    assert len(rows_of(folder / "manifest.csv")) == 1


def test_a_folder_with_other_files_is_rejected_and_kept(tmp_path: Path, small: PhantomConfig):
    (tmp_path / "manifest.csv").write_text("path,species,specimen\n")
    (tmp_path / "scan.nii.gz").write_bytes(b"precious")
    with pytest.raises(BadConfigError, match="contains other files"):
        generate_phantoms(tmp_path, small, workers=1)
    assert (tmp_path / "scan.nii.gz").read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("change", "clause"),
    [
        ({"size": 16}, "size 16: expected 32 to 512"),
        ({"size": 1024}, "size 1024: expected 32 to 512"),
        ({"specimens_per_species": 0}, "specimens_per_species 0: expected 1 to 999"),
        ({"unseen_per_species": -1}, "unseen_per_species -1"),
        ({"species": ("Alveolina", "Trilobita")}, "species Trilobita: expected some of Alveolina"),
        ({"species": ()}, "no species"),
        ({"species": ("Fallotia", "Fallotia")}, "a species twice"),
        ({"seed": -1}, "seed -1"),
    ],
)
def test_an_invalid_configuration_is_rejected(tmp_path: Path, change, clause, small: PhantomConfig):
    with pytest.raises(BadConfigError, match=clause):
        generate_phantoms(tmp_path / "set", small.model_copy(update=change), workers=1)
    assert not (tmp_path / "set").exists()


def test_an_unknown_key_is_rejected():
    with pytest.raises(ValueError, match="wall"):
        PhantomConfig(wall=3)  # type: ignore[call-arg]
