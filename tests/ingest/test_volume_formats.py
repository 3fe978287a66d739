"""The same voxels give the same slices in every file format, and what a header may not declare is refused."""

import gzip
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from components.ingest.config import IngestConfig
from components.ingest.dataset import make_dataset
from tests.ingest.volume_cuts import cut, hollow_ball
from tests.ingest.volume_files import (
    ZOOMS,
    meta_header,
    nrrd_header,
    voxels,
    write_mha,
    write_nifti_file,
    write_nrrd,
    write_pair,
)

BALL = hollow_ball(zooms=ZOOMS)
TYPES = ["u1", "<i2", ">i2", "<u2", "<f4", ">f4"]
CONFIG = IngestConfig(image_size=32, slices_per_species=10, planes="random", seed=7, workers=1)


def _slices(file: Path) -> list[bytes]:
    """Return the slices of a file that must be usable."""
    refusal, slices = cut(file, file.parent)
    assert refusal == ""
    return slices


def _refusal(file: Path) -> str:
    return cut(file, file.parent)[0]


def _typed(dtype: str) -> np.ndarray:
    return np.asfortranarray(BALL.astype(np.dtype(dtype)) * (1 if dtype == "u1" else 7))


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2"])
@pytest.mark.parametrize("dtype", TYPES)
def test_nrrd_gives_the_slices_of_nifti(tmp_path: Path, dtype: str, encoding: str) -> None:
    expected = _slices(write_nifti_file(tmp_path / "a.nii", _typed(dtype)))
    assert cut(write_nrrd(tmp_path / "a.nrrd", _typed(dtype), encoding), tmp_path) == ("", expected)


@pytest.mark.parametrize("compressed", ["True", "False"])
@pytest.mark.parametrize("dtype", TYPES)
def test_metaimage_gives_the_slices_of_nifti(tmp_path: Path, dtype: str, compressed: str) -> None:
    expected = _slices(write_nifti_file(tmp_path / "a.nii", _typed(dtype)))
    file = write_mha(tmp_path / "a.mha", _typed(dtype), CompressedData=compressed)
    assert cut(file, tmp_path) == ("", expected)


@pytest.mark.parametrize("dtype", ["u1", "<i2", ">i2", "<f4"])
def test_pairs_of_nifti_and_analyze_give_the_slices_of_nifti(tmp_path: Path, dtype: str) -> None:
    array, order = _typed(dtype), ">" if dtype.startswith(">") else "<"
    expected = _slices(write_nifti_file(tmp_path / "a.nii", array))
    for kind, header in ((nib.Nifti1Pair, nib.Nifti1Header), (nib.AnalyzeImage, nib.AnalyzeHeader)):
        image = kind(array, np.diag([*ZOOMS, 1.0]), header(endianness=order))
        image.header.set_data_dtype(array.dtype)
        nib.save(image, tmp_path / "pair.hdr")
        if kind is nib.AnalyzeImage:  # nibabel flips the first axis of Analyze by its default
            (tmp_path / "pair.img").write_bytes(voxels(array.astype(image.header.get_data_dtype())))
        assert cut(tmp_path / "pair.hdr", tmp_path) == ("", expected)
    (tmp_path / "pair.img").unlink()
    assert ".img file" in _refusal(tmp_path / "pair.hdr")


@pytest.mark.parametrize(
    "fields",
    [
        {"space_directions": "", "space": "", "spacings": "1 1.25 2.5"},
        {"space_directions": "(0,1,0) (0,0,-1.25) (2.5,0,0)"},
        {"space_directions": "(1000,0,0) (0,1250,0) (0,0,2500)", "space_units": '"um" "um" "um"'},
        {"sizes": f"1 {' '.join(map(str, BALL.shape))}", "space_directions": "none (1,0,0) (0,1.25,0) (0,0,2.5)"},
    ],
    ids=["spacings", "permuted axes", "micrometres", "one component"],
)
def test_the_voxel_size_of_nrrd_is_that_of_its_axes(tmp_path: Path, fields: dict[str, str]) -> None:
    expected = _slices(write_nifti_file(tmp_path / "a.nii", BALL))
    assert cut(write_nrrd(tmp_path / "a.nrrd", BALL, **fields), tmp_path) == ("", expected)


MICROMETRES = {"space_directions": "", "space": "", "spacings": "1000 1250 2500"}


@pytest.mark.parametrize("unit", ["micrometer", "Microns", "micrometres", "\u00b5m"])
def test_units_of_text_headers_are_read_by_every_name(tmp_path: Path, unit: str) -> None:
    expected = _slices(write_nifti_file(tmp_path / "a.nii", BALL))
    nrrd = write_nrrd(tmp_path / "a.nrrd", BALL, units=" ".join([f'"{unit}"'] * 3), **MICROMETRES)
    meta = write_mha(tmp_path / "a.mha", BALL, DistanceUnits=unit, ElementSpacing="1000 1250 2500")
    assert (cut(nrrd, tmp_path), cut(meta, tmp_path)) == (("", expected), ("", expected))


@pytest.mark.parametrize("units", [["furlong"] * 3, ["um", "um", "mm"]], ids=["unknown", "different"])
def test_a_voxel_size_in_unusable_units_is_not_read_as_mm(tmp_path: Path, units: list[str]) -> None:
    expected, spacing = _slices(write_nifti_file(tmp_path / "a.nii", BALL)), {"space_directions": "", "space": ""}
    text = " ".join(f'"{unit}"' for unit in units)
    nrrd = write_nrrd(tmp_path / "a.nrrd", BALL, units=text, spacings="1 1 1", **spacing)
    meta = write_mha(tmp_path / "a.mha", BALL, DistanceUnits=" ".join(units))
    for file in (nrrd, meta):
        assert "(an unknown unit)" in _refusal(file)
        assert cut(file, tmp_path, spacing_mm=ZOOMS) == ("", expected)


def test_data_files_beside_a_header_are_read(tmp_path: Path) -> None:
    expected = _slices(write_nifti_file(tmp_path / "a.nii", BALL))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.raw").write_bytes(b"text\n123" + voxels(BALL))
    (tmp_path / "a.raw.gz").write_bytes(gzip.compress(voxels(BALL)))
    names = [f"slice{number:02d}.raw" for number in range(BALL.shape[2])]
    for name, layer in zip(names, np.moveaxis(BALL, 2, 0), strict=True):
        (tmp_path / name).write_bytes(voxels(layer))
    pattern, names_of_files = f"slice%02d.raw 0 {len(names) - 1} 1", "".join(f"{name}\n" for name in names)
    headers = {
        "skip.nhdr": f"{nrrd_header(BALL)}line skip: 1\nbyte skip: 3\ndata file: data/a.raw\n",
        "end.nhdr": f"{nrrd_header(BALL)}data file: ./data/a.raw\nbyte skip: -1\n",
        "gzip.nhdr": f"{nrrd_header(BALL, 'gzip')}data file: a.raw.gz\n",
        "list.nhdr": f"{nrrd_header(BALL)}data file: LIST\n{names_of_files}",
        "pattern.nhdr": f"{nrrd_header(BALL)}data file: {pattern}\n",
        "skip.mhd": f"{meta_header(BALL, HeaderSize='8')}ElementDataFile = data\\a.raw\n",
        "end.mhd": f"{meta_header(BALL, HeaderSize='-1')}ElementDataFile = data/a.raw\n",
        "list.mhd": f"{meta_header(BALL)}ElementDataFile = LIST\n{names_of_files}",
        "pattern.mhd": f"{meta_header(BALL)}ElementDataFile = {pattern}\n",
    }
    for name, header in headers.items():
        (tmp_path / name).write_text(header)
        assert (name, cut(tmp_path / name, tmp_path)) == (name, ("", expected))


@pytest.mark.parametrize("width", ["9" * 30, "9" * 5000])
@pytest.mark.parametrize("numbers", ["1 19 1", f"1 {'9' * 5000} 1"])
def test_a_pattern_of_any_width_or_number_is_refused(tmp_path: Path, width: str, numbers: str) -> None:
    (tmp_path / "a.nhdr").write_text(f"{nrrd_header(BALL)}data file: s%{width}d.raw {numbers}\n")
    (tmp_path / "a.mhd").write_text(f"{meta_header(BALL)}ElementDataFile = s%{width}d.raw {numbers}\n")
    for name in ("a.nhdr", "a.mhd"):
        assert "data file" in _outcome(tmp_path / name)


def _outcome(file: Path) -> str:
    """Return the refusal of a file, or the name of another error."""
    try:
        return _refusal(file)
    except (ValueError, MemoryError) as error:
        return type(error).__name__


@pytest.mark.parametrize("name", ["../outside.raw", "/etc/passwd", "link.raw", "..\\outside.raw", "missing.raw"])
def test_data_files_outside_the_folder_are_not_read(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "species"
    folder.mkdir()
    (tmp_path / "outside.raw").write_bytes(voxels(BALL))
    (folder / "link.raw").symlink_to(tmp_path / "outside.raw")
    (folder / "a.nhdr").write_text(f"{nrrd_header(BALL)}data file: {name}\n")
    (folder / "b.nhdr").write_text(f"{nrrd_header(BALL)}data file: LIST\n{name}\n")
    (folder / "a.mhd").write_text(f"{meta_header(BALL)}ElementDataFile = {name}\n")
    reason = "does not exist" if name == "missing.raw" else "outside the folder"
    for file in sorted(folder.glob("*hd*")):
        assert reason in cut(file, tmp_path)[0]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"sizes": "30000 30000 30000"}, "declares"),
        ({"sizes": "48 38"}, "flat image"),
        ({"dimension": "4", "sizes": "3 48 38 19"}, "several frames"),
        ({"type": "block"}, "type 'block'"),
        ({"encoding": "ascii"}, "encoding 'ascii'"),
        ({"space_directions": "(1,0,0) (0.5,1,0) (0,0,1)"}, "sheared"),
        ({"space_directions": ""}, "no voxel size in the file"),
        ({"space_directions": "(1,0,0) (0,1,0) (0,0,500)"}, "500 times as long"),
    ],
)
def test_a_nrrd_header_that_cannot_be_used_is_refused(tmp_path: Path, fields: dict[str, str], reason: str) -> None:
    assert reason in _refusal(write_nrrd(tmp_path / "a.nrrd", BALL, **fields))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"DimSize": "30000 30000 30000"}, "declares"),
        ({"ElementNumberOfChannels": "3"}, "several frames"),
        ({"ElementType": "MET_STRING"}, "ElementType"),
        ({"BinaryData": "False"}, "voxels as text"),
        ({"TransformMatrix": "1 0 0 0.5 1 0 0 0 1"}, "sheared"),
        ({"ElementSpacing": ""}, "no voxel size in the file"),
    ],
)
def test_a_metaimage_header_that_cannot_be_used_is_refused(tmp_path: Path, fields: dict[str, str], reason: str) -> None:
    assert reason in _refusal(write_mha(tmp_path / "a.mha", BALL, **fields))


def test_a_folder_may_contain_volumes_of_all_formats(own_phantoms: Path, tmp_path: Path) -> None:
    folders = sorted((own_phantoms / "volumes").iterdir())
    files = [file for species in folders for file in sorted(species.iterdir())[:2]]
    for number, file in enumerate(files):
        image, stem = nib.load(file), file.with_name(file.name[: -len(".nii.gz")])
        array, zooms = np.asarray(image.dataobj), tuple(float(zoom) for zoom in image.header.get_zooms())
        file.unlink()
        spacing = " ".join(map(str, zooms))
        if number % 3 == 0:
            write_nrrd(stem.with_name(f"{stem.name}.NRRD"), array, "gzip", space_directions="", spacings=spacing)
        elif number % 3 == 1:
            write_mha(stem.with_name(f"{stem.name}.mha"), array, ElementSpacing=spacing)
        else:
            write_pair(stem.with_name(f"{stem.name}.hdr"), array, zooms)
    info = make_dataset(own_phantoms / "volumes", tmp_path / "others", CONFIG).info
    assert (info.refused, info.specimens()) == ((), 15)


def test_columns_give_the_voxel_size_that_a_file_lacks(own_phantoms: Path, tmp_path: Path) -> None:
    lines = (own_phantoms / "manifest.csv").read_text().splitlines()
    path = lines[1].split(",")[0]
    array, zoom = np.asarray(nib.load(own_phantoms / path).dataobj), nib.load(own_phantoms / path).header.get_zooms()[0]
    (own_phantoms / path).unlink()
    name = path.replace(".nii.gz", ".mha")
    write_mha(own_phantoms / name, array, ElementSpacing="")
    table = [f"{lines[0]},spacing_x,spacing_y,spacing_z", *(f"{line},,," for line in lines[2:])]
    rows = {"": f"{zoom:g},{zoom:g},{zoom:g}", "voxel": ",,", "spacing_y": f"{zoom:g},much,1", "spacing_z": "1,1,"}
    for reason, cells in rows.items():
        text = "\n".join([*table, f"{lines[1].replace(path, name)},{cells}"])
        (own_phantoms / "manifest.csv").write_text(text)
        info = make_dataset(own_phantoms, tmp_path / "slices", CONFIG).info
        assert [reason in refusal.reason for refusal in info.refused] == ([True] if reason else [])
    (own_phantoms / "manifest.csv").write_text("\n".join([*table, f"{lines[1].replace(path, name)},2,2,2"]))
    make_dataset(own_phantoms, tmp_path / "slices", CONFIG)
    shutil.copy(tmp_path / "slices" / "split.csv", own_phantoms / "split.csv")
    assert make_dataset(own_phantoms / "split.csv", tmp_path / "again", CONFIG).info.refused == ()
