"""Near-copies never end a run: those that cannot share a split are reported, and the species stay as they are."""

import csv
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from components.ingest.config import IngestConfig
from components.ingest.dataset import IngestResult, make_dataset
from components.ingest.near_copies.groups import search_near_copies
from components.ingest.near_copies.treatment import mark_obstacles
from components.ingest.sources.manifest import Scan
from components.phantoms.scanner import Artefacts
from components.phantoms.specimen import make_specimen
from components.phantoms.writer import nifti_bytes
from components.shared.contracts import NearCopies
from components.shared.errors import BadManifestError
from components.shared.slices import read_index
from tests.benchmarks.near_copies import rescan
from tests.ingest.test_photograph_slices import CONFIG, resave, save, scene


def _photographs(folder: Path, counts: dict[str, int]) -> Path:
    for place, (species, count) in enumerate(counts.items()):
        for number in range(count):
            save(folder / species / f"{species}{number}.png", scene(50 * place + number))
    return folder


def _result(source: Path, folder: Path, config: IngestConfig = CONFIG) -> tuple[IngestResult | None, str]:
    """Return the data set, or the message with which the run ends."""
    try:
        return make_dataset(source, folder, config), ""
    except BadManifestError as error:
        return None, str(error)


@pytest.mark.parametrize("rule", ["unseen", "train", "refuse"])
def test_near_copies_leave_a_species_its_individuals(
    rule: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = _photographs(tmp_path / "photos", {"Alba": 5, "Nigra": 2})
    save(source / "Nigra" / "again.jpg", resave(scene(50)))
    config = CONFIG.model_copy(update={"rare_species": rule})
    result, message = _result(source, tmp_path / "slices", config)
    assert message == ""
    assert result is not None
    (group,) = result.info.near_copies
    assert set(group.specimens) == {"Nigra0", "again"}
    assert "Nigra would have fewer than 3 specimens" in group.obstacle
    assert (result.info.classes, result.info.rare_species) == (("Alba", "Nigra"), {})
    assert read_index(tmp_path / "slices").query("species == 'Nigra'")["specimen"].nunique() == 3
    assert "only reported" in capsys.readouterr().out
    assert "only reported" in result.html


def test_all_groups_are_joined_if_three_individuals_remain(tmp_path: Path) -> None:
    source = _photographs(tmp_path / "photos", {"Alba": 5, "Nigra": 3})
    save(source / "Nigra" / "exact.bmp", scene(50))
    save(source / "Nigra" / "small.jpg", resave(scene(51)))
    save(source / "Nigra" / "smaller.jpg", resave(scene(52)).resize((45, 30)))
    result, message = _result(source, tmp_path / "slices")
    assert message == ""
    assert result is not None
    assert [group.obstacle for group in result.info.near_copies] == ["", "", ""]
    assert read_index(tmp_path / "slices").query("species == 'Nigra'")["specimen"].nunique() == 3


def test_contradictory_copies_do_not_take_a_species_its_splits(tmp_path: Path) -> None:
    source = _photographs(tmp_path / "photos", {"Alba": 8, "Nigra": 3})
    for number in range(2):
        save(source / "Nigra" / f"wrong{number}.jpg", resave(scene(number)))
    for name in ("Nigra1", "Nigra2"):
        (source / "Nigra" / f"{name}.png").unlink()
    result, message = _result(source, tmp_path / "slices")
    assert message == ""
    assert result is not None
    assert [group.obstacle == "" for group in result.info.near_copies].count(True) == 1
    index = read_index(tmp_path / "slices")
    assert set(index.query("species == 'Nigra'")["split"]) == {"train", "validation", "test"}


def test_a_near_copy_of_a_rare_species_is_reported_and_used(tmp_path: Path) -> None:
    source = _photographs(tmp_path / "photos", {"Alba": 5, "Nigra": 5, "Rara": 1})
    save(source / "Rara" / "wrong.jpg", resave(scene(1)))
    result, message = _result(source, tmp_path / "slices")
    assert message == ""
    assert result is not None
    assert result.info.refused == ()
    assert result.info.rare_species == {"Rara": 2}
    assert "given for the model and unseen" in result.info.near_copies[0].obstacle


def test_volumes_keep_different_splits_of_the_manifest(own_phantoms: Path, tmp_path: Path) -> None:
    specimen = make_specimen("Orbitoides", 1, 40, 3, Artefacts())
    again = rescan(specimen, np.random.default_rng(1))
    (own_phantoms / "again.nii.gz").write_bytes(nifti_bytes(again, specimen.affine))
    rows = list(csv.DictReader((own_phantoms / "manifest.csv").read_text().splitlines()))
    rows.append({"path": "again.nii.gz", "species": "Orbitoides", "specimen": "again"})
    splits = {"orbitoides-001": "train", "again": "test"}
    text = [f"{r['path']},{r['species']},{r['specimen']},{splits.get(r['specimen'], '')}" for r in rows]
    (own_phantoms / "manifest.csv").write_text("\n".join(["path,species,specimen,split", *text]))
    config = IngestConfig(image_size=32, slices_per_species=30, planes="random", seed=7, workers=1)
    result, message = _result(own_phantoms, tmp_path / "slices", config)
    assert message == ""
    assert result is not None
    assert result.info.near_copies[0].obstacle == "they are given for test and train"
    index = read_index(tmp_path / "slices").drop_duplicates("specimen").set_index("specimen")
    assert (index.loc["orbitoides-001", "split"], index.loc["again", "split"]) == ("train", "test")


def test_copies_in_given_splits_leave_a_species_its_specimens(tmp_path: Path) -> None:
    for place, split in enumerate(("train", "val", "test")):
        for other, species in enumerate(("Alba", "Nigra")):
            save(tmp_path / "set" / split / species / "one.jpg", scene(100 * place + 10 * other))
    save(tmp_path / "set" / "train" / "Alba" / "one.jpg", resave(scene(200)))
    result, message = _result(tmp_path / "set", tmp_path / "slices")
    assert message == ""
    assert result is not None
    assert result.info.refused == ()
    assert result.info.near_copies[0].obstacle == "they are given for test and train"


def test_exact_copies_count_as_one_individual_of_a_rare_species(tmp_path: Path) -> None:
    source = _photographs(tmp_path / "photos", {"Alba": 5, "Nigra": 5})
    for name, seed in (("first", 100), ("again", 200), ("other", 300)):
        save(source / "Rara" / f"{name}_view1.png", scene(seed))
    for name in ("first", "again"):
        save(source / "Rara" / f"{name}_view2.png", scene(400))
    shutil.copy(source / "Rara" / "first_view2.png", source / "Rara" / "again_view2.png")
    result, message = _result(source, tmp_path / "slices")
    assert message == ""
    assert result is not None
    assert result.info.rare_species == {"Rara": 2}


def _scans(counts: dict[str, int]) -> list[Scan]:
    names = [(species, f"{species}{number}") for species, count in counts.items() for number in range(count)]
    return [Scan(name, Path(name), species, name) for species, name in names]


def _infeasible(groups: Sequence[NearCopies]) -> bool:
    """Return that a data set cannot be split if more than three individuals of species b are in training."""
    return sum(name.startswith("b") for group in groups for name in group.specimens) <= 3


def test_a_minimal_number_of_groups_is_only_reported() -> None:
    groups = [
        NearCopies(specimens=(f"a{number}", f"b{number}"), species=("a", "b"), distance=0.01 * number)
        for number in range(9)
    ]
    marked = mark_obstacles(_scans({"a": 20, "b": 20}), groups, (), _infeasible)
    assert Counter(group.obstacle == "" for group in marked) == {True: 3, False: 6}
    assert all(group.obstacle == "" for group in marked[:3])


def test_a_chain_of_alike_specimens_does_not_become_one_individual() -> None:
    scans = _scans({"a": 10, "b": 10})
    fingerprints = [scan.specimen for scan in scans]
    chain = [(number, number + 1, 0.1) for number in range(9)]
    groups = search_near_copies(scans, fingerprints, lambda _: iter(chain)).groups
    (group,) = mark_obstacles(scans, groups, (), lambda _: True)
    assert len(group.specimens) == 10
    assert group.obstacle == "otherwise a would have fewer than 3 specimens"
    assert mark_obstacles([replace(s, split="train") for s in scans], groups, (), lambda _: True)[0].obstacle
