"""Photographs: folders and manifests become a data set of colour slices."""

import csv
import io
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.ingest.config import IngestConfig
from components.ingest.dataset import IngestResult, make_dataset
from components.ingest.near_copies.fingerprints import near_pairs
from components.ingest.near_copies.photograph_fingerprint import fingerprint_photograph
from components.ingest.photograph_slices import photograph_memory
from components.ingest.sources.file_kinds import kind_of
from components.phantoms.fishes.dataset import PhotoConfig, generate_photographs
from components.shared.errors import BadManifestError, BadSourceFileError
from components.shared.images.decoding import MAX_PIXELS, decode_image
from components.shared.images.photographs import read_photograph
from components.shared.slices import iterate_split, read_index, read_info

CONFIG = IngestConfig(image_size=32, slices_per_species=5, planes="random", seed=7, workers=1)
SPECIES = ("Alba", "Nigra")


def scene(seed: int, size: tuple[int, int] = (120, 80)) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def save(file: Path, image: Image.Image, **options: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    image.save(file, **options)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Write five photographs of each of two species."""
    for place, species in enumerate(SPECIES):
        for number in range(5):
            save(tmp_path / "photos" / species / f"{number}.jpg", scene(10 * place + number))
    return tmp_path / "photos"


def make(source: Path, name: str = "slices", shards: int = 1, workers: int = 1) -> tuple[IngestResult, Path]:
    folder = source.parent / name
    return make_dataset(source, folder, CONFIG.model_copy(update={"workers": workers}), shards), folder


def test_each_photograph_is_one_colour_slice_scaled_as_in_serving(photos: Path) -> None:
    result, folder = make(photos)
    info, index = read_info(folder), read_index(folder)
    assert (info.channels, info.classes, len(index)) == (3, SPECIES, 10)
    assert info.preprocessing["ingest"]["kind"] == "photographs"
    images = {id_: png for split in ("train", "validation", "test") for id_, _, png in iterate_split(folder, split)}
    row = index[index["specimen"] == "Nigra 3"].iloc[0]
    scaled_photograph = read_photograph((photos / "Nigra" / "3.jpg").read_bytes(), 32).framed
    np.testing.assert_array_equal(decode_image(images[row["id"]], 3), scaled_photograph)
    assert result.metrics()["slices"] == 10


def test_the_bytes_do_not_depend_on_shards_or_workers(photos: Path) -> None:
    _, one = make(photos)
    _, several = make(photos, "again", shards=3, workers=2)
    files = sorted(file.name for file in one.iterdir())
    assert files == sorted(file.name for file in several.iterdir())
    assert all((one / name).read_bytes() == (several / name).read_bytes() for name in files)


def test_split_folders_are_kept_and_may_contain_equal_file_names(tmp_path: Path) -> None:
    for place, (split, count) in enumerate((("train", 3), ("val", 2), ("test", 2))):
        for other, species in enumerate(SPECIES):
            for number in range(count):
                save(tmp_path / "set" / split / species / f"{number}.png", scene(100 * place + 10 * other + number))
    _, folder = make(tmp_path / "set")
    index = read_index(folder)
    assert index.groupby("split").size().to_dict() == {"test": 4, "train": 6, "validation": 4}
    assert index["specimen"].nunique() == 14


def test_a_manifest_names_photographs_and_their_specimens(photos: Path) -> None:
    rows = [f"{species}/{n}.jpg,{species},{species}-{n // 2}" for species in SPECIES for n in range(5)]
    (photos / "manifest.csv").write_text("path,species,specimen\n" + "\n".join(rows))
    _, folder = make(photos)
    index = read_index(folder)
    assert index.groupby("specimen")["split"].nunique().max() == 1
    assert index["specimen"].nunique() == 6


def test_views_of_a_specimen_in_a_folder_stay_together(photos: Path) -> None:
    for number in range(1, 4):
        save(photos / "Alba" / f"king_view{number}.png", scene(50 + number))
    _, folder = make(photos)
    assert len(read_index(folder).query("specimen == 'king'")) == 3
    assert read_index(folder).query("specimen == 'king'")["split"].nunique() == 1


def test_bad_files_are_refused_by_name_and_unusual_ones_are_used(photos: Path) -> None:
    alba = photos / "Alba"
    whole = (alba / "0.jpg").read_bytes()
    (alba / "zero.jpg").write_bytes(b"")
    (alba / "truncated.jpg").write_bytes(whole[:-500])
    (alba / "page.jpg").write_text("<!doctype html><title>Not found</title>")
    save(alba / "wide.png", Image.new("L", (30000, 2)))
    save(alba / "moving.gif", scene(60), save_all=True, append_images=[scene(61)])
    save(alba / "stack.tif", scene(62), save_all=True, append_images=[scene(66)])
    shutil.copy(alba / "1.jpg", photos.parent / "outside.jpg")
    (alba / "link.jpg").symlink_to(photos.parent / "outside.jpg")
    save(photos / "lonely.jpg", scene(63))
    save(alba / ("ü鯉" + "n" * 190 + ".jpg"), scene(64))
    save(alba / "cmyk.jpg", scene(65).convert("CMYK"))
    save(alba / "deep.png", Image.fromarray(np.random.default_rng(1).integers(0, 65535, (40, 50)).astype(np.uint16)))
    (alba / "notes.txt").write_text("caught in May")
    result, folder = make(photos)
    reasons = {refusal.path: refusal.reason for refusal in result.info.refused}
    assert set(reasons) == {
        *(f"Alba/{name}" for name in ("zero.jpg", "truncated.jpg", "page.jpg", "wide.png", "moving.gif", "stack.tif")),
        *("Alba/link.jpg", "lonely.jpg"),
    }
    texts = {"zero.jpg": "empty", "wide.png": "30000 x 2", "moving.gif": "animated", "stack.tif": "2 pages"}
    assert all(text in reasons[f"Alba/{name}"] for name, text in texts.items())
    specimens = read_index(folder)["specimen"]
    assert len(specimens) == 13
    assert any(name.startswith("ü鯉n") and len(name) <= 120 for name in specimens)


def test_tiff_photographs_are_read_whatever_their_name(photos: Path) -> None:
    alba = photos / "Alba"
    save(alba / "micrograph.tif", scene(70))
    save(alba / "named.jpg", scene(71), format="TIFF", compression="tiff_lzw")
    save(alba / "deep.TIFF", Image.fromarray(np.arange(4096, dtype=np.uint16).reshape(64, 64)))
    result, folder = make(photos)
    assert result.info.refused == ()
    assert {"micrograph", "named", "deep"} <= set(read_index(folder)["specimen"])


def test_jfif_is_an_extension_of_photographs(photos: Path) -> None:
    save(photos / "Alba" / "saved.jfif", scene(72), format="JPEG")
    _, folder = make(photos)
    assert "saved" in set(read_index(folder)["specimen"])


def resave(image: Image.Image) -> Image.Image:
    sink = io.BytesIO()
    image.resize((90, 60)).save(sink, "JPEG", quality=50)
    return Image.open(sink)


def test_a_photograph_saved_again_smaller_counts_as_the_same_specimen(photos: Path) -> None:
    save(photos / "Alba" / "repost.webp", resave(Image.open(photos / "Alba" / "3.jpg")))
    result, folder = make(photos)
    (group,) = result.info.near_copies
    assert set(group.specimens) == {"Alba 3", "repost"}
    assert read_index(folder).query("specimen == 'Alba 3'")["split"].nunique() == 1
    assert read_index(folder)["specimen"].nunique() == 10


def test_a_near_copy_of_a_test_photograph_is_excluded_from_training(tmp_path: Path) -> None:
    for place, split in enumerate(("train", "val", "test")):
        for other, species in enumerate(SPECIES):
            for number in range(2):
                save(tmp_path / "set" / split / species / f"{number}.jpg", scene(100 * place + 10 * other + number))
    copy = resave(Image.open(tmp_path / "set" / "test" / "Alba" / "1.jpg"))
    save(tmp_path / "set" / "train" / "Alba" / "leak.jpg", copy)
    result, folder = make(tmp_path / "set")
    assert [(r.path, r.reason) for r in result.info.refused] == [
        ("train/Alba/leak.jpg", "a near-copy of test/Alba/1.jpg, which is in test")
    ]
    assert len(read_index(folder, "test")) == 4
    assert result.info.near_copies == ()


def test_different_photographs_of_one_species_are_far_apart(tmp_path: Path) -> None:
    generate_photographs(tmp_path / "set", PhotoConfig(specimens_per_species=4, imbalance=2, size=96), workers=1)
    files = [file for file in sorted(tmp_path.rglob("*-00?_view1.*")) if file.is_file()]
    fingerprints = [fingerprint_photograph(read_photograph(file.read_bytes(), 96).content) for file in files]
    assert len(fingerprints) > 30
    assert list(near_pairs(fingerprints, 1, 0.3)) == []


def test_specimens_that_share_a_file_are_one_individual(photos: Path) -> None:
    for number in range(6):
        for view, seed in (("first", 100), ("again", 200)):
            save(photos / "Alba" / f"{view}{number}_view2.png", scene(seed + number))
        save(photos / "Alba" / f"first{number}_view1.png", scene(300 + number))
        shutil.copy(photos / "Alba" / f"first{number}_view1.png", photos / "Alba" / f"again{number}_view1.png")
    result, folder = make(photos)
    rows = csv.DictReader((folder / "split.csv").read_text().splitlines())
    split = {row["specimen"]: row["split"] for row in rows}
    assert [split[f"first{number}"] for number in range(6)] == [split[f"again{number}"] for number in range(6)]
    assert (len(result.info.refused), len(result.info.near_copies)) == (6, 6)


def test_a_copy_of_a_validation_photograph_is_refused_in_training(tmp_path: Path) -> None:
    for place, split in enumerate(("train", "val", "test")):
        for other, species in enumerate(SPECIES):
            for number in range(2):
                save(tmp_path / "set" / split / species / f"{number}.png", scene(100 * place + 10 * other + number))
    shutil.copy(tmp_path / "set" / "val" / "Alba" / "0.png", tmp_path / "set" / "train" / "Alba" / "copy.png")
    result, _ = make(tmp_path / "set")
    assert [refusal.path for refusal in result.info.refused] == ["train/Alba/copy.png"]


PEAK = """
import sys
from pathlib import Path
from components.shared.images.photographs import read_photograph
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
encoded = Path(sys.argv[1]).read_bytes()
before = peak()
read_photograph(encoded, 32)
print(1024 * (peak() - before))
"""


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_no_photograph_takes_more_memory_than_estimated(mode: str, tmp_path: Path) -> None:
    save(tmp_path / "large.png", Image.new(mode, (4000, 3000)))
    process = subprocess.run([sys.executable, "-c", PEAK, tmp_path / "large.png"], capture_output=True, check=True)
    estimate = photograph_memory(tmp_path / "large.png") * 4000 * 3000 / MAX_PIXELS
    assert estimate / 3 < int(process.stdout) < estimate


def test_a_missing_photograph_is_refused_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(BadSourceFileError, match="No such file"):
        photograph_memory(tmp_path / "gone.jpg")


def test_the_page_shows_balance_sizes_and_near_copies(photos: Path) -> None:
    for number in range(5):
        save(photos / "Alba" / f"more{number}.png", scene(70 + number, (640, 300)))
    page = make(photos)[0].html
    for text in ("Imbalance 2.0 : 1", "512 to 1,023 px", "wider", "Near-copies", "Refused files", "Nigra 4"):
        assert text in page


def test_images_beside_volumes_are_not_specimens() -> None:
    assert kind_of(["Alba/one.nii.gz", "contact_sheet.png"]) == "volumes"
    assert kind_of(["Alba/one.JPEG", "readme.md"]) == "photographs"


def test_a_folder_without_source_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(BadManifestError, match="names no volume and no photograph"):
        make(tmp_path)
