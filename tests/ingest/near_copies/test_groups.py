"""Near-copies: rescans are grouped, different specimens are not, and each group is in one split."""

import base64
import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import zoom

from components.ingest.config import IngestConfig
from components.ingest.dataset import make_dataset
from components.ingest.near_copies.groups import (
    MAX_LOGGED_GROUPS,
    check_near_copies,
    join_near_copies,
    log_near_copies,
    search_near_copies,
)
from components.ingest.near_copies.volume_fingerprint import LARGEST_DISTANCE, fingerprint_volume, near_volumes
from components.ingest.sources.manifest import Scan
from components.phantoms.scanner import Artefacts
from components.phantoms.specimen import Phantom, make_specimen
from components.phantoms.writer import nifti_bytes
from components.shared.contracts import NearCopies
from components.shared.errors import BadManifestError
from components.shared.slices import read_index, read_info
from components.shared.volumes.formats.base import Volume
from components.shared.volumes.specimen import find_specimen
from tests.benchmarks.near_copies import RESCANS, count_groups, rescan

CONFIG = IngestConfig(image_size=32, slices_per_species=30, planes="random", seed=7, workers=1)


def _fingerprint(grey: np.ndarray, zooms: tuple[float, float, float]) -> str:
    transposed = np.ascontiguousarray(grey.T)
    return fingerprint_volume(
        find_specimen(Volume(transposed, np.array(zooms[::-1]), float(transposed.min()), float(transposed.max()), ""))
    )


def _distance(one: str, two: str, monkeypatch: pytest.MonkeyPatch) -> float:
    monkeypatch.setattr("components.ingest.near_copies.volume_fingerprint.LARGEST_DISTANCE", 2.0)
    ((_, _, distance),) = near_volumes([one, two])
    return distance


@pytest.fixture(scope="module")
def specimen() -> Phantom:
    return make_specimen("Elphidiella", 0, 48, 5, Artefacts(anisotropy=0))


@pytest.mark.parametrize(
    "change",
    [
        lambda grey, zooms: (grey.astype(np.float32) * 0.01 - 7, zooms),
        lambda grey, zooms: (np.pad(grey, ((3, 0), (0, 5), (9, 1)), mode="edge"), zooms),
        lambda grey, zooms: (zoom(grey.astype(np.float32), (1, 1, 0.6), order=1), (*zooms[:2], zooms[2] * 47 / 28)),
        lambda grey, zooms: (zoom(grey.astype(np.float32), 1.5, order=1), tuple(edge * 47 / 71 for edge in zooms)),
        lambda grey, zooms: (grey, tuple(edge * 1000 for edge in zooms)),
    ],
    ids=["grey scale", "margins", "thicker slices", "finer voxels", "another unit"],
)
def test_the_fingerprint_depends_on_the_form_only(
    specimen: Phantom,
    change: Callable[..., tuple[np.ndarray, tuple[float, float, float]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = _fingerprint(*change(specimen.volume, specimen.zooms))
    assert _distance(_fingerprint(specimen.volume, specimen.zooms), other, monkeypatch) < LARGEST_DISTANCE


def test_specimens_of_a_species_are_far_apart(specimen: Phantom, monkeypatch: pytest.MonkeyPatch) -> None:
    other = make_specimen("Elphidiella", 1, 48, 5, Artefacts())
    pair = _fingerprint(specimen.volume, specimen.zooms), _fingerprint(other.volume, other.zooms)
    assert _distance(*pair, monkeypatch) > 3 * LARGEST_DISTANCE


@pytest.mark.slow
def test_rescans_of_96_specimens_are_found_without_false_matches(tmp_path: Path) -> None:
    matches, wrong = count_groups(tmp_path, size=48, seed=4)
    assert matches >= RESCANS - 2
    assert wrong == 0


def _add_rescan(folder: Path, species: str, index: int, label: str, split: str = "") -> None:
    """Add a rescan of a phantom of the fixture under another name, labelled with the same or another species."""
    specimen = make_specimen(species, index, 40, 3, Artefacts())
    again = rescan(specimen, np.random.default_rng(index))
    (folder / f"{label}-again.nii.gz").write_bytes(nifti_bytes(again, specimen.affine))
    with (folder / "manifest.csv").open("a", encoding="utf-8") as file:
        file.write(f"{label}-again.nii.gz,{label},{label}-again{f',{split}' if split else ''}\n")


def test_a_rescan_counts_as_its_specimen(
    own_phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _add_rescan(own_phantoms, "Orbitoides", 1, "Orbitoides")
    result = make_dataset(own_phantoms, tmp_path / "slices", CONFIG)
    (group,) = read_info(tmp_path / "slices").near_copies
    assert (group.specimens, group.species) == (("orbitoides-001", "Orbitoides-again"), ("Orbitoides",))
    assert result.metrics() == {"slices": 90, "specimens": 15, "classes": 3, "refused": 0, "near_copies": 1}
    index = read_index(tmp_path / "slices")
    assert (index["specimen"] == "orbitoides-001").sum() == 10
    assert (index.groupby("specimen")["split"].nunique() == 1).all()
    assert "near-copies orbitoides-001, Orbitoides-again" in capsys.readouterr().out
    assert "they count as one specimen, orbitoides-001" in result.html


def test_a_rescan_under_another_species_is_reported_and_in_training(own_phantoms: Path, tmp_path: Path) -> None:
    _add_rescan(own_phantoms, "Orbitoides", 1, "Lockhartia")
    result = make_dataset(own_phantoms, tmp_path / "slices", CONFIG)
    assert result.info.near_copies[0].species == ("Orbitoides", "Lockhartia")
    index = read_index(tmp_path / "slices").set_index("specimen")
    assert set(index.loc[["orbitoides-001", "Lockhartia-again"], "split"]) == {"train"}
    assert "a label is wrong, or the specimens only look alike" in result.html


def test_a_later_run_with_the_saved_split_makes_the_same_slices(own_phantoms: Path, tmp_path: Path) -> None:
    _add_rescan(own_phantoms, "Orbitoides", 1, "Orbitoides")
    make_dataset(own_phantoms, tmp_path / "first", CONFIG)
    split = own_phantoms / "split.csv"
    split.write_bytes((tmp_path / "first" / "split.csv").read_bytes())
    make_dataset(split, tmp_path / "second", CONFIG)
    make_dataset(split, tmp_path / "other seed", CONFIG.model_copy(update={"seed": 99}))
    files = {file.name: file.read_bytes() for file in (tmp_path / "first").iterdir()}
    assert files == {file.name: file.read_bytes() for file in (tmp_path / "second").iterdir()}
    assert _split_of_specimens(tmp_path / "first") == _split_of_specimens(tmp_path / "other seed")
    with split.open() as file:
        assert {row["specimen"] for row in csv.DictReader(file)} >= {"orbitoides-001", "Orbitoides-again"}


def _split_of_specimens(folder: Path) -> dict[str, str]:
    return dict(read_index(folder)[["specimen", "split"]].drop_duplicates().itertuples(index=False))


def test_a_saved_split_in_another_folder_is_refused_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "split.csv").write_text("path,species,specimen,split\na.nii,A,1,train\n")
    with pytest.raises(BadManifestError, match="Put the manifest beside the files"):
        make_dataset(tmp_path / "split.csv", tmp_path / "slices", CONFIG)


SCANS = [
    Scan(f"{species}{number}.nii", Path(f"{species}{number}.nii"), species, f"{species}{number}")
    for species in "ab"
    for number in range(4)
]
TWINS = NearCopies(specimens=("a1", "a3"), species=("a",), distance=0.05)


def test_manifest_splits_that_separate_near_copies_are_refused() -> None:
    labelled_scans = [replace(scan, split={"a1": "train", "a3": "test"}.get(scan.specimen, "")) for scan in SCANS]
    with pytest.raises(BadManifestError, match=r"leak: 'a3' \(a3.nii\) in test and 'a1' \(a1.nii\) in train"):
        join_near_copies(labelled_scans, [TWINS])


def test_a_near_copy_of_a_species_outside_the_model_is_refused() -> None:
    unseen = [*SCANS, Scan("c.nii", Path("c.nii"), "c", "c0", "unseen")]
    group = NearCopies(specimens=("a1", "c0"), species=("a", "c"), distance=0.05)
    with pytest.raises(BadManifestError, match=r"'a1' \(a1.nii\) in the model and 'c0' \(c.nii\) in unseen"):
        join_near_copies(unseen, [group])


def test_near_copies_get_the_split_of_the_one_that_has_one() -> None:
    labelled_scans = [replace(scan, split="test" if scan.specimen == "a3" else "") for scan in SCANS]
    individuals = {scan.path: (scan.specimen, scan.split) for scan in join_near_copies(labelled_scans, [TWINS])}
    assert individuals["a1.nii"] == individuals["a3.nii"] == ("a1", "test")


def test_too_few_individuals_are_refused_with_the_near_copies() -> None:
    few = [scan for scan in SCANS if scan.specimen != "a0"]
    with pytest.raises(BadManifestError, match=r"'a' has 2, if near-copies count as one specimen \(a1, a3"):
        join_near_copies(few, [TWINS])


def test_the_check_rejects_near_copies_in_two_splits() -> None:
    with pytest.raises(BadManifestError, match=r"a1, a3 .* are in test and train"):
        check_near_copies(SCANS, [TWINS], ["train", "train", "train", "test"] * 2)


def test_near_copies_of_near_copies_are_one_individual() -> None:
    rng = np.random.default_rng(0)
    base, noise = rng.normal(size=(2, 4704)) * 30
    levels = {"a0": 0.0, "a2": 0.45, "b1": 0.9}
    fingerprints = [
        _as_text(base + levels[scan.specimen] * noise if scan.specimen in levels else rng.normal(size=4704) * 30)
        for scan in SCANS
    ]
    (group,) = search_near_copies(SCANS, fingerprints).groups
    assert (group.specimens, group.species) == (("a0", "a2", "b1"), ("a", "b"))
    assert 0 < group.distance < LARGEST_DISTANCE


def _as_text(values: np.ndarray) -> str:
    return base64.b64encode(np.clip(np.rint(values), -127, 127).astype(np.int8).tobytes()).decode()


def test_repeated_scans_of_a_specimen_are_not_near_copies(specimen: Phantom) -> None:
    text = _fingerprint(specimen.volume, specimen.zooms)
    scans = [replace(SCANS[0], path=f"{number}.nii") for number in range(3)]
    assert search_near_copies(scans, [text] * 3).groups == ()


def test_groups_with_contradictory_species_are_logged_first(capsys: pytest.CaptureFixture[str]) -> None:
    groups = [
        NearCopies(specimens=(f"{n}", f"{n}b"), species=("One",), distance=0.1) for n in range(MAX_LOGGED_GROUPS + 1)
    ]
    contradiction = NearCopies(specimens=("x", "y"), species=("One", "Two"), distance=0.1)
    log_near_copies([*groups, contradiction])
    first, *_, last = capsys.readouterr().out.splitlines()
    assert "near-copies x, y" in first
    assert last == "[ingest] near-copies: 2 more groups, all of them on the page of the slices"
