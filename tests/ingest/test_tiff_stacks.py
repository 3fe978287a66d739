"""TIFF stacks give the slices of NIfTI; slices without a clear order or voxel size are refused by name."""

import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import tifffile
from PIL import Image

from components.ingest.config import IngestConfig
from components.ingest.dataset import make_dataset
from components.ingest.sources import open_source
from components.ingest.sources.manifest import list_scans
from tests.ingest.volume_cuts import cut, hollow_ball
from tests.ingest.volume_files import ZOOMS, layers_of, write_nifti_file, write_stack

BALL = hollow_ball(zooms=ZOOMS)
TYPES = ["u1", "<i2", ">u2", "<u2", "<f4", ">f4", "<f8"]
CONFIG = IngestConfig(image_size=32, slices_per_species=10, planes="random", seed=7, workers=1)


def _typed(dtype: str) -> np.ndarray:
    return np.asfortranarray(BALL.astype(np.dtype(dtype)) * (1 if dtype == "u1" else 7))


def _expected(tmp_path: Path, array: np.ndarray) -> tuple[str, list[bytes]]:
    result = cut(write_nifti_file(tmp_path / "expected.nii", array), tmp_path)
    assert result[0] == ""
    return result


@pytest.mark.parametrize("dtype", TYPES)
def test_a_stack_gives_the_slices_of_nifti(tmp_path: Path, dtype: str) -> None:
    array, order = _typed(dtype), ">" if dtype.startswith(">") else "<"
    expected = _expected(tmp_path, array)
    write_stack(tmp_path / "one", array, byteorder=order)
    assert cut(tmp_path / "one", tmp_path, spacing_mm=ZOOMS) == expected
    write_stack(tmp_path / "strips", array, "a7_{}_rec.TIFF", byteorder=order, rowsperstrip=5)
    assert cut(tmp_path / "strips", tmp_path, spacing_mm=ZOOMS) == expected
    tifffile.imwrite(tmp_path / "pages.tif", layers_of(array), byteorder=order)
    assert cut(tmp_path / "pages.tif", tmp_path, spacing_mm=ZOOMS) == expected


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("dtype", ["u1", "<u2", "<f4"])
def test_compressed_slices_give_the_slices_of_nifti(tmp_path: Path, dtype: str, compression: str) -> None:
    array = _typed(dtype)
    pages = [Image.fromarray(layer) for layer in layers_of(array)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:], compression=compression)
    (tmp_path / "stack").mkdir()
    for number, page in enumerate(pages):
        page.save(tmp_path / "stack" / f"{number}.tif", compression=compression)
    for path in (tmp_path / "pages.tif", tmp_path / "stack"):
        assert cut(path, tmp_path, spacing_mm=ZOOMS) == _expected(tmp_path, array)


def test_white_that_is_zero_is_inverted(tmp_path: Path) -> None:
    expected = _expected(tmp_path, BALL)
    write_stack(tmp_path / "stack", np.asfortranarray(255 - BALL), photometric="miniswhite")
    assert cut(tmp_path / "stack", tmp_path, spacing_mm=ZOOMS) == expected


def test_the_voxel_size_of_imagej_and_ome_is_read(tmp_path: Path) -> None:
    array = hollow_ball()
    thick = _expected(tmp_path, BALL)
    options = {"resolution": (1.0, 1 / 1.25), "metadata": {"spacing": 2.5, "unit": "mm"}}
    tifffile.imwrite(tmp_path / "imagej.tif", layers_of(BALL), imagej=True, **options)
    micrometres = {"resolution": (1e-3, 1e-3 / 1.25), "metadata": {"spacing": 2500, "unit": "um"}}
    tifffile.imwrite(tmp_path / "micrometres.tif", layers_of(BALL), imagej=True, **micrometres)
    sizes = {f"PhysicalSize{axis}": 1000 * zoom for axis, zoom in zip("XYZ", ZOOMS, strict=True)}
    tifffile.imwrite(tmp_path / "a.ome.tif", layers_of(BALL), metadata={"axes": "ZYX", **sizes})
    for name in ("imagej.tif", "micrometres.tif", "a.ome.tif"):
        assert (name, *cut(tmp_path / name, tmp_path)) == (name, *thick)
    tifffile.imwrite(tmp_path / "resolution.tif", layers_of(array), resolution=(400.0, 400.0), resolutionunit=3)
    even = write_nifti_file(tmp_path / "even.nii", array, (0.025, 0.025, 0.025))
    assert cut(tmp_path / "resolution.tif", tmp_path) == cut(even, tmp_path)


@pytest.mark.parametrize("options", [{}, {"resolution": (72, 72), "resolutionunit": 2}, {"resolution": (1, 1)}])
def test_a_stack_without_voxel_size_is_refused(tmp_path: Path, options: dict[str, object]) -> None:
    refusal, _ = cut(write_stack(tmp_path / "stack", BALL, **options), tmp_path)
    assert "no voxel size" in refusal
    assert "spacing_x, spacing_y and spacing_z" in refusal


FAULTS: dict[str, Callable[[Path, Path, np.ndarray], object]] = {
    "gap": lambda file, _, __: file.unlink(),
    "duplicate": lambda file, _, __: shutil.copy(file, file.with_name("slice_5.tif")),
    "another name": lambda file, _, __: shutil.copy(file, file.with_name("preview.tif")),
    "another size": lambda _, other, page: tifffile.imwrite(other, page[1:]),
    "another type": lambda _, other, page: tifffile.imwrite(other, page.astype(np.uint16)),
    "colour": lambda _, other, page: tifffile.imwrite(other, np.stack([page] * 3, -1), photometric="rgb"),
    "truncated": lambda file, other, _: other.write_bytes(file.read_bytes()[:-100]),
    "not a TIFF": lambda _, other, __: other.write_bytes(b"not a TIFF file"),
    "two pages": lambda _, other, page: tifffile.imwrite(other, np.stack([page, page]), photometric="minisblack"),
}


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("gap", ["1 slices are missing", "slice_004.tif", "slice_006.tif"]),
        ("duplicate", ["same number", "slice_005.tif", "slice_5.tif"]),
        ("another name", ["preview.tif"]),
        ("another size", ["slice_006.tif", "48 x 37", "48 x 38"]),
        ("another type", ["slice_006.tif", "uint16"]),
        ("colour", ["colour"]),
        ("truncated", ["not complete"]),
        ("not a TIFF", ["TIFF file cannot be read"]),
        ("two pages", ["slice_006.tif", "2 pages"]),
    ],
)
def test_slices_that_do_not_fit_are_refused_by_name(tmp_path: Path, fault: str, words: list[str]) -> None:
    folder = write_stack(tmp_path / "stack", BALL)
    file = folder / "slice_005.tif"
    FAULTS[fault](file, folder / "slice_006.tif", tifffile.imread(file))
    refusal, _ = cut(folder, tmp_path, spacing_mm=ZOOMS)
    assert [word for word in words if word not in refusal] == []


@pytest.fixture
def stacks(own_phantoms: Path) -> Path:
    """Replace two phantoms of each species by a stack and a file of several pages, with the voxel size of ImageJ."""
    root = own_phantoms / "volumes"
    files = [file for species in sorted(root.iterdir()) for file in sorted(species.iterdir())[:2]]
    for number, file in enumerate(files):
        image, stem = nib.load(file), file.with_name(file.name[: -len(".nii.gz")])
        zoom = float(image.header.get_zooms()[0])
        options = {"imagej": True, "resolution": (1 / zoom, 1 / zoom), "metadata": {"spacing": zoom, "unit": "mm"}}
        layers = layers_of(np.asarray(image.dataobj))
        if number % 2:
            tifffile.imwrite(f"{stem}.tif", layers, **options)
        else:
            stem.mkdir()
            for index, layer in enumerate(layers, start=1):
                tifffile.imwrite(stem / f"rec{index:04d}.tif", layer, **options)
            (stem / "scan.log").write_text("settings of the scanner")
        file.unlink()
    return root


def test_a_folder_of_stacks_is_one_specimen_each(stacks: Path, tmp_path: Path) -> None:
    info = make_dataset(stacks, tmp_path / "slices", CONFIG).info
    assert (info.refused, info.channels, info.specimens()) == ((), 1, 15)
    assert {count.species for count in info.counts} == {"Elphidiella", "Orbitoides", "Lockhartia"}


def test_a_row_of_a_manifest_may_name_the_folder_of_a_stack(stacks: Path, tmp_path: Path) -> None:
    make_dataset(stacks, tmp_path / "slices", CONFIG)
    shutil.copy(tmp_path / "slices" / "split.csv", stacks / "manifest.csv")
    info = make_dataset(stacks, tmp_path / "again", CONFIG).info
    assert (info.refused, info.specimens()) == ((), 15)
    rows = "../x,Orbitoides,b,\nOrbitoides/none,Orbitoides,c,\n"
    (stacks / "manifest.csv").write_text((stacks / "manifest.csv").read_text() + rows)
    reasons = {
        refusal.path: refusal.reason for refusal in make_dataset(stacks, tmp_path / "again", CONFIG).info.refused
    }
    assert sorted(reasons) == ["../x", "Orbitoides/none"]


def test_a_dicom_series_is_refused_once_with_a_converter(own_phantoms: Path, tmp_path: Path) -> None:
    root = own_phantoms / "volumes"
    for name in ("0001.dcm", "0002.dcm", "IM0001"):
        for folder in (root / "Orbitoides" / "series", root / "Orbitoides" / "other"):
            folder.mkdir(exist_ok=True)
            if name.endswith(".dcm") or folder.name == "other":
                (folder / name.removesuffix(".dcm")).write_bytes(bytes(128) + b"DICM" + bytes(100))
    (root / "Lockhartia" / "one.dcm").write_bytes(bytes(128) + b"DICM" + bytes(100))
    info = make_dataset(root, tmp_path / "slices", CONFIG).info
    assert len(info.refused) == 3
    assert all("dcm2niix" in refusal.reason for refusal in info.refused)


def test_stacks_anywhere_are_read_where_the_source_is_not_confined(stacks: Path, tmp_path: Path) -> None:
    make_dataset(stacks, tmp_path / "slices", CONFIG)
    header, *rows = (tmp_path / "slices" / "split.csv").read_text().splitlines()
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "manifest.csv").write_text("\n".join([header, *(f"{stacks}/{row}" for row in rows)]))
    manifest = list_scans(open_source(lists, confined=False))
    assert (manifest.refusals, len(manifest.scans)) == ([], 15)
    assert len([scan for scan in manifest.scans if scan.parts]) == 3


@pytest.mark.parametrize("name", ["scan 1.5um", "drawer.14", "drawer.tif", "v1.0_scan2"])
def test_the_folder_of_a_stack_may_have_a_dot_in_its_name(stacks: Path, tmp_path: Path, name: str) -> None:
    folder = next(path for path in sorted(stacks.rglob("*")) if path.is_dir() and path.parent.parent == stacks)
    folder.rename(folder.with_name(name))
    info = make_dataset(stacks, tmp_path / "slices", CONFIG).info
    assert (info.refused, info.specimens()) == ((), 15)


@pytest.mark.parametrize("name", ["photograph.jpg", "photograph.tif"])
def test_a_manifest_with_stacks_and_a_photograph_is_of_volumes(stacks: Path, name: str) -> None:
    folders = sorted({file.parent for file in stacks.rglob("rec*.tif")})
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(stacks / name)
    rows = [f"{path.relative_to(stacks)},{path.parent.name},{path.name}" for path in folders]
    (stacks / "manifest.csv").write_text("\n".join(["path,species,specimen", f"{name},Orbitoides,a", *rows]))
    manifest = list_scans(open_source(stacks))
    assert (manifest.kind, len(manifest.scans)) == ("volumes", 4)
