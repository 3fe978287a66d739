"""The data set of slices: contract, determinism, refusals, quotas."""

import csv
import gzip
import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from components.ingest.config import IngestConfig
from components.ingest.dataset import make_dataset
from components.ingest.plan import make_plan, spread_quotas
from components.ingest.sources.manifest import Scan
from components.shared.errors import BadConfigError, BadManifestError
from components.shared.images.decoding import decode_image
from components.shared.images.descriptors import DESCRIPTORS
from components.shared.slices import SPLITS, UNSEEN, UNSEEN_LABEL, iterate_split, read_index, read_info

REAL = Path(__file__).parents[3] / "shared" / "real_volumes"
CONFIG = IngestConfig(image_size=32, slices_per_species=30, planes="random", seed=7, workers=1)


def _files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def _edit_manifest(folder: Path, *rows: str) -> None:
    with (folder / "manifest.csv").open("a", encoding="utf-8") as file:
        file.write("".join(f"{row}\n" for row in rows))


@pytest.fixture(scope="module")
def slices_folder(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slices_folder") / "slices"
    make_dataset(phantoms, folder, CONFIG)
    return folder


def test_the_folder_fulfils_the_slices_contract(slices_folder: Path) -> None:
    info, index = read_info(slices_folder), read_index(slices_folder)
    assert info.classes == ("Elphidiella", "Lockhartia", "Orbitoides")
    assert (info.image_size, info.channels, info.seed, info.refused) == (32, 1, 7, ())
    assert index["id"].is_unique
    assert (index["foreground_ratio"] >= 0.02).all()
    assert (index["spacing_mm"] > 0).all()
    for split in SPLITS:
        ids = [id_ for id_, _, _ in iterate_split(slices_folder, split)]
        assert ids == list(index.loc[index["split"] == split, "id"])


def test_a_raw_slice_is_in_the_index_without_descriptors(slices_folder: Path) -> None:
    index = read_index(slices_folder).set_index("id")
    for id_, label, png in iterate_split(slices_folder, "test"):
        image = decode_image(png, 1)
        assert image.shape == (32, 32)
        assert read_info(slices_folder).classes[label] == index.loc[id_, "species"]
    assert set(DESCRIPTORS) & set(index.columns) == {"foreground_ratio"}


def test_quotas_are_met_evenly_and_splits_are_by_specimen(slices_folder: Path) -> None:
    index = read_index(slices_folder)
    assert (index.groupby("specimen").size() == 6).all()
    assert (index.groupby("specimen")["split"].nunique() == 1).all()
    assert {(c.species, c.split): (c.specimens, c.slices) for c in read_info(slices_folder).counts} == {
        (species, split): (specimens, 6 * specimens)
        for species in read_info(slices_folder).classes
        for split, specimens in (("train", 3), ("validation", 1), ("test", 1))
    }


@pytest.mark.parametrize("planes", ["random", "published"])
def test_the_bytes_do_not_depend_on_the_number_of_workers(phantoms: Path, tmp_path: Path, planes: str) -> None:
    for workers in (1, 3):
        config = CONFIG.model_copy(update={"workers": workers, "planes": planes})
        make_dataset(phantoms, tmp_path / str(workers), config)
    assert _files(tmp_path / "1") == _files(tmp_path / "3")


def test_another_seed_gives_other_slices(phantoms: Path, slices_folder: Path, tmp_path: Path) -> None:
    make_dataset(phantoms, tmp_path / "slices", CONFIG.model_copy(update={"seed": 8}))
    assert read_info(tmp_path / "slices").sources_hash == read_info(slices_folder).sources_hash
    assert set(read_index(tmp_path / "slices")["plane"]).isdisjoint(read_index(slices_folder)["plane"])


def test_bad_volumes_are_refused_by_name_and_the_others_are_cut(
    own_phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    volumes = own_phantoms / "volumes"
    good = next(volumes.glob("Orbitoides/*.nii.gz"))
    (volumes / "empty.nii.gz").touch()
    (volumes / "cut.nii.gz").write_bytes(good.read_bytes()[:-5000])
    (volumes / "words.nii.gz").write_bytes(b"these are words")
    (volumes / "promise.nii").write_bytes(gzip.decompress(good.read_bytes())[:3000])
    (volumes / "copy.nii.gz").write_bytes(good.read_bytes())
    bad = ["missing.nii.gz", "empty.nii.gz", "cut.nii.gz", "words.nii.gz", "promise.nii", "copy.nii.gz"]
    _edit_manifest(own_phantoms, *(f"volumes/{name},Orbitoides,bad-{number}" for number, name in enumerate(bad)))
    _edit_manifest(own_phantoms, f"volumes/Orbitoides/{good.name},Orbitoides,{good.name[:-7]}", "volumes/x.nii,,1")
    result = make_dataset(own_phantoms, tmp_path / "slices", CONFIG)
    reasons = {refusal.path: refusal.reason for refusal in result.info.refused}
    assert set(reasons) == {*(f"volumes/{name}" for name in [*bad, "x.nii"]), f"volumes/Orbitoides/{good.name}"}
    assert result.metrics() == {"slices": 90, "specimens": 15, "classes": 3, "refused": 8, "near_copies": 0}
    output = capsys.readouterr().out
    for path, reason in reasons.items():
        assert f"[ingest] refused {path}: {reason}\n" in output
        assert reason in result.html
    assert "truncated" in reasons["volumes/cut.nii.gz"]
    assert good.name in reasons["volumes/copy.nii.gz"]
    assert json.loads((tmp_path / "slices" / "dataset.json").read_text())["refused"]


def test_slices_of_good_volumes_do_not_depend_on_bad_ones(
    own_phantoms: Path, slices_folder: Path, tmp_path: Path
) -> None:
    (own_phantoms / "volumes" / "words.nii.gz").write_bytes(b"these are words")
    (own_phantoms / "volumes" / "noise.nii.gz").write_bytes(gzip.compress(bytes(5000)))
    _edit_manifest(own_phantoms, "volumes/words.nii.gz,Orbitoides,w", "volumes/noise.nii.gz,Orbitoides,n")
    make_dataset(own_phantoms, tmp_path / "slices", CONFIG)
    assert read_index(tmp_path / "slices").equals(read_index(slices_folder))


def test_a_species_with_only_two_usable_specimens_is_an_error(own_phantoms: Path, tmp_path: Path) -> None:
    for file in sorted((own_phantoms / "volumes" / "Orbitoides").iterdir())[:3]:
        file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(BadManifestError, match="'Orbitoides' has 2: expected at least 3 usable ones"):
        make_dataset(own_phantoms, tmp_path / "slices", CONFIG.model_copy(update={"rare_species": "refuse"}))
    assert list(tmp_path.glob("*slices*")) == []


def test_an_impossible_split_column_is_refused_by_the_plan(own_phantoms: Path) -> None:
    header, *rows = (own_phantoms / "manifest.csv").read_text().splitlines()
    (own_phantoms / "manifest.csv").write_text("\n".join([f"{header},split", *(f"{row},train" for row in rows)]))
    with pytest.raises(BadManifestError, match="no specimen for validation and test"):
        make_plan(own_phantoms, CONFIG)


def test_copies_under_different_species_are_all_refused(own_phantoms: Path, tmp_path: Path) -> None:
    volumes = own_phantoms / "volumes"
    one = sorted(volumes.glob("Orbitoides/*"))[0]
    (volumes / "twin.nii.gz").write_bytes(one.read_bytes())
    _edit_manifest(own_phantoms, "volumes/twin.nii.gz,Lockhartia,twin")
    info = make_dataset(own_phantoms, tmp_path / "slices", CONFIG).info
    assert {refusal.path for refusal in info.refused} == {"volumes/twin.nii.gz", f"volumes/Orbitoides/{one.name}"}


def test_repeated_scans_stay_in_one_split_and_share_the_quota(own_phantoms: Path, tmp_path: Path) -> None:
    for species in ("Elphidiella", "Lockhartia", "Orbitoides"):
        one, two = sorted((own_phantoms / "volumes" / species).iterdir())[:2]
        two.rename(one.with_name(one.name.replace(".nii.gz", "_scan2.nii.gz")))
    (own_phantoms / "manifest.csv").unlink()
    index_folder = tmp_path / "slices"
    make_dataset(own_phantoms / "volumes", index_folder, CONFIG)
    index = read_index(index_folder)
    assert index["specimen"].nunique() == 12
    assert (index.groupby("specimen")["split"].nunique() == 1).all()
    assert set(index.groupby("specimen").size()) == {7, 8}


def test_the_saved_split_can_be_used_by_a_later_run(own_phantoms: Path, slices_folder: Path, tmp_path: Path) -> None:
    (own_phantoms / "manifest.csv").write_bytes((slices_folder / "split.csv").read_bytes())
    make_dataset(own_phantoms, tmp_path / "slices", CONFIG.model_copy(update={"seed": 99}))
    with (slices_folder / "split.csv").open() as file:
        saved_splits = {row["specimen"]: row["split"] for row in csv.DictReader(file)}
    assert dict(read_index(tmp_path / "slices")[["specimen", "split"]].itertuples(index=False)) == saved_splits


def test_files_of_a_killed_run_are_removed(phantoms: Path, slices_folder: Path, tmp_path: Path) -> None:
    (tmp_path / ".slices.unfinished" / "shards").mkdir(parents=True)
    (tmp_path / ".slices.unfinished" / "slices-train-00009.tfrecord").write_bytes(b"old")
    (tmp_path / "slices").mkdir()
    (tmp_path / "slices" / "slices-test-00007.tfrecord").write_bytes(b"old")
    make_dataset(phantoms, tmp_path / "slices", CONFIG)
    assert _files(tmp_path / "slices") == _files(slices_folder)


def test_a_quota_is_spread_evenly() -> None:
    scans = [Scan(f"{n}-{k}", Path(), "a", f"s{n}") for n in range(3) for k in range(1 + (n == 0))]
    assert spread_quotas(scans, 10) == {"0-0": 2, "0-1": 2, "1-0": 3, "2-0": 3}
    assert min(Counter(spread_quotas(scans, 1)).values()) >= 0
    assert spread_quotas(scans, 1) == {"0-0": 1, "0-1": 0, "1-0": 1, "2-0": 1}


@pytest.mark.parametrize(
    "fields",
    [{"image_size": 4}, {"image_size": 10**6}, {"slices_per_species": 0}, {"planes": "diagonal"}, {"seed": -1}],
)
def test_impossible_parameters_are_bad_configuration(fields: dict[str, object]) -> None:
    with pytest.raises(BadConfigError, match=next(iter(fields))):
        IngestConfig.checked(**{**CONFIG.model_dump(), **fields})


@pytest.mark.skipif(not REAL.is_dir(), reason="no real volumes beside the repository")
def test_real_volumes_make_a_data_set(tmp_path: Path) -> None:
    result = make_dataset(REAL / "manifest.csv", tmp_path / "slices", CONFIG)
    assert result.metrics() == {"slices": 150, "specimens": 44, "classes": 5, "refused": 0, "near_copies": 0}
    for _, _, png in iterate_split(tmp_path / "slices", "test"):
        assert np.ptp(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE)) > 50


def test_species_outside_the_model_get_slices_of_their_own(own_phantoms: Path, tmp_path: Path) -> None:
    header, *rows = (own_phantoms / "manifest.csv").read_text().splitlines()
    labelled_rows = [f"{row},unseen" if "Orbitoides" in row else f"{row}," for row in rows]
    (own_phantoms / "manifest.csv").write_text("\n".join([f"{header},split", *labelled_rows]))
    info = make_dataset(own_phantoms, tmp_path / "slices", CONFIG).info
    assert info.classes == ("Elphidiella", "Lockhartia")
    assert [(c.species, c.specimens, c.slices) for c in info.counts if c.split == UNSEEN] == [("Orbitoides", 5, 30)]
    labels = {label for split in SPLITS for _, label, _ in iterate_split(tmp_path / "slices", split)}
    assert labels == {0, 1}
    assert {label for _, label, _ in iterate_split(tmp_path / "slices", UNSEEN)} == {UNSEEN_LABEL}


def test_an_unseen_specimen_gets_at_most_a_model_specimens_quota() -> None:
    scans = [Scan(f"a{n}", Path(f"a{n}"), "a", f"a{n}") for n in range(10)]
    quotas = spread_quotas([*scans, Scan("u0", Path("u0"), "u", "u0", UNSEEN)], 40)
    assert quotas == {**{f"a{n}": 4 for n in range(10)}, "u0": 4}
