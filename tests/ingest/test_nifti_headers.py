"""NIfTI headers of other programs: what they declare counts as the standard defines it, or the scan is refused."""

import bz2
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from components.ingest.config import IngestConfig
from components.ingest.dataset import make_dataset
from tests.ingest.volume_cuts import cut, hollow_ball

Writer = Callable[..., Path]
THICK = hollow_ball(zooms=(1.0, 1.0, 4.0))
PIXDIM_Z = 88
"""Position of the third edge length in a NIfTI-1 header."""
ROWS = {"srow_x": [1, 0, 0, 5], "srow_y": [0, 1, 0, 5], "srow_z": [0, 0, 4, 5]}


def _reference(write_nifti: Writer, tmp_path: Path) -> list[bytes]:
    """Return the slices of the ball with the voxel size in pixdim."""
    refusal, slices = cut(write_nifti(THICK, "reference.nii", zooms=(1.0, 1.0, 4.0)), tmp_path)
    assert (refusal, len(slices)) == ("", 6)
    return slices


@pytest.mark.parametrize("pixdim", [[1, 1, 1, 1], [1, 4, 1, 1], [1, 1, 1, 0], [1, 0, 0, 0], [1, np.nan, 1, -np.inf]])
def test_the_affine_counts_more_than_pixdim(write_nifti: Writer, tmp_path: Path, pixdim: list[float]) -> None:
    fields = {"sform_code": 1, **ROWS, "pixdim": [*pixdim, 1, 1, 1, 1]}
    assert cut(write_nifti(THICK, **fields), tmp_path) == ("", _reference(write_nifti, tmp_path))


def test_zooms_follow_axes_that_the_affine_permutes(write_nifti: Writer, tmp_path: Path) -> None:
    rows = {"srow_x": [0, 0, -4, 0], "srow_y": [-1, 0, 0, 0], "srow_z": [0, 1, 0, 0]}
    file = write_nifti(THICK, sform_code=2, **rows)
    assert cut(file, tmp_path) == ("", _reference(write_nifti, tmp_path))


@pytest.mark.parametrize("row", [[0, 0, np.nan, 0], [0, 0, 0, 0], [1, 0, 0, 0]], ids=["NaN", "zero", "singular"])
def test_pixdim_counts_where_the_affine_is_unusable(write_nifti: Writer, tmp_path: Path, row: list[float]) -> None:
    fields = {"sform_code": 1, **ROWS, "srow_z": row}
    assert cut(write_nifti(THICK, zooms=(1, 1, 4), **fields), tmp_path) == ("", _reference(write_nifti, tmp_path))


def test_the_affine_of_quaternions_has_the_zooms_of_pixdim(write_nifti: Writer, tmp_path: Path) -> None:
    fields = {"qform_code": 1, "sform_code": 0, "quatern_b": 0.5, "quatern_c": 0.5, **ROWS, "srow_z": [0, 0, 9, 0]}
    assert cut(write_nifti(THICK, zooms=(1, 1, 4), **fields), tmp_path) == ("", _reference(write_nifti, tmp_path))


@pytest.mark.parametrize("row", [[0, 1, 2, 0], [0, 1, 0.2, 0], [0.5, 1, 0, 0]])
def test_a_sheared_volume_is_refused(write_nifti: Writer, tmp_path: Path, row: list[float]) -> None:
    file = write_nifti(THICK, zooms=(1, 1, 4), **{"sform_code": 1, **ROWS, "srow_y": row})
    refusal, _ = cut(file, tmp_path)
    assert "sheared" in refusal
    assert "Resample" in refusal


def test_an_oblique_affine_with_rounded_values_is_read(write_nifti: Writer, tmp_path: Path) -> None:
    turn = np.round(Rotation.from_euler("xyz", (20, 30, 40), degrees=True).as_matrix(), 3) * (1, 1, 4)
    rows = {f"srow_{axis}": [*row, 7] for axis, row in zip("xyz", turn, strict=True)}
    assert cut(write_nifti(THICK, zooms=(1, 1, 4), sform_code=1, **rows), tmp_path)[0] == ""


@pytest.mark.parametrize("dim", [[4, 48, 48, 12, 0, 0, 0, 0], [7, 48, 48, 12, 0, 1, 0, 0]])
def test_an_unused_axis_of_length_zero_is_read(write_nifti: Writer, tmp_path: Path, dim: list[int]) -> None:
    assert cut(write_nifti(THICK, zooms=(1, 1, 4), dim=dim), tmp_path) == ("", _reference(write_nifti, tmp_path))


@pytest.mark.parametrize(("unit", "text"), [(3, "0.0005 micrometres (5e-07 x"), (1, "2 m (2000 x")])
def test_a_refused_voxel_size_has_its_unit(write_nifti: Writer, tmp_path: Path, unit: int, text: str) -> None:
    zoom = float(text.split()[0])
    refusal, _ = cut(write_nifti(THICK, zooms=(zoom, zoom, zoom), xyzt_units=unit), tmp_path)
    assert text in refusal


def test_a_file_that_was_compressed_twice_is_read(write_nifti: Writer, tmp_path: Path) -> None:
    file = write_nifti(THICK, zooms=(1, 1, 4))
    file.write_bytes(gzip.compress(file.read_bytes()))
    assert cut(file, tmp_path) == ("", _reference(write_nifti, tmp_path))


@pytest.mark.parametrize(
    ("content", "remedy"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 123\n", "git lfs pull"),
        (b"/annex/objects/MD5E-s1--00.nii.gz\n", "git annex get"),
        (b"<!DOCTYPE html><html><head><title>404</title></head></html>", "Download"),
        (b"\r\n<HTML><body>Please log in</body></HTML>", "Download"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "Download"),
        (bytes(128) + b"DICM" + bytes(400), "dcm2niix"),
        (b"PK\x03\x04" + bytes(100), "Unpack"),
        (bz2.compress(bytes(1000)), "bunzip2"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "Export the whole volume"),
    ],
)
@pytest.mark.parametrize("name", ["scan.nii.gz", "scan.nii"])
def test_a_file_of_another_content_is_refused_with_a_hint(
    tmp_path: Path, name: str, content: bytes, remedy: str
) -> None:
    (tmp_path / name).write_bytes(content)
    assert remedy in cut(tmp_path / name, tmp_path)[0]


def test_nifti_compressed_with_bzip2_is_refused_with_a_hint(own_phantoms: Path, tmp_path: Path) -> None:
    file = next((own_phantoms / "volumes" / "Orbitoides").glob("*.nii.gz"))
    file.with_name("packed.nii.bz2").write_bytes(bz2.compress(gzip.decompress(file.read_bytes())))
    config = IngestConfig(image_size=32, slices_per_species=10, planes="random", seed=7, workers=1)
    info = make_dataset(own_phantoms / "volumes", tmp_path / "slices", config).info
    assert [refusal.path for refusal in info.refused] == ["Orbitoides/packed.nii.bz2"]
    assert "bunzip2" in info.refused[0].reason


def test_a_contradicting_affine_is_reported(
    own_phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = (own_phantoms / "manifest.csv").read_text().splitlines()[1].split(",")[0]
    content = bytearray(gzip.decompress((own_phantoms / first).read_bytes()))
    content[PIXDIM_Z : PIXDIM_Z + 4] = (4 * np.frombuffer(content, "<f4", 1, PIXDIM_Z)).astype("<f4").tobytes()
    (own_phantoms / first).write_bytes(gzip.compress(content))
    config = IngestConfig(image_size=32, slices_per_species=10, planes="random", seed=7, workers=1)
    make_dataset(own_phantoms, tmp_path / "slices", config)
    notes = json.loads((tmp_path / "slices" / "dataset.json").read_text()).get("notes", [])
    assert [note["path"] for note in notes] == [first]
    assert "the affine is used" in notes[0]["text"]
    assert f"note {first}: {notes[0]['text']}" in capsys.readouterr().out
