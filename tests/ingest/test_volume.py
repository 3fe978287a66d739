"""Bad volumes are refused with their reason, good ones are read as nibabel reads them."""

import gzip
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.ingest.slice_files import SliceJob
from components.ingest.volume_slices import cut_volume
from components.shared.errors import BadSourceFileError
from components.shared.volumes.nifti import Volume, _HashedFile, read_header, read_volume
from components.shared.volumes.specimen import Specimen, find_specimen

Writer = Callable[..., Path]


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("dtype", ["u1", "i1", "<i2", ">i2", "<u2", ">f4", "<f4", "<f8", ">i4"])
def test_every_grey_type_is_read_as_nibabel_reads_it(
    ball: np.ndarray, write_nifti: Writer, name: str, dtype: str
) -> None:
    file = write_nifti(ball.astype(np.dtype(dtype)), name, zooms=(0.1, 0.2, 0.3))
    volume = read_volume(file)
    raw = np.asanyarray(nib.load(file).dataobj.get_unscaled())
    np.testing.assert_array_equal(volume.grey, raw.T)
    np.testing.assert_allclose(volume.zooms_mm, [0.3, 0.2, 0.1], rtol=1e-6)
    assert volume.grey.flags.c_contiguous
    assert (volume.darkest, volume.brightest) == (raw.min(), raw.max())


def test_nifti_2_is_read(ball: np.ndarray, tmp_path: Path) -> None:
    nib.save(nib.Nifti2Image(ball, np.eye(4)), tmp_path / "two.nii.gz")
    np.testing.assert_array_equal(read_volume(tmp_path / "two.nii.gz").grey, ball.T)


def test_one_frame_of_four_dimensions_is_a_volume(ball: np.ndarray, write_nifti: Writer) -> None:
    assert read_volume(write_nifti(ball[..., None])).grey.shape == ball.T.shape


def test_micrometres_become_millimetres(ball: np.ndarray, write_nifti: Writer) -> None:
    file = write_nifti(ball, zooms=(5.0, 5.0, 5.0), xyzt_units=3)
    np.testing.assert_allclose(read_volume(file).zooms_mm, 0.005, rtol=1e-6)


def test_a_negative_slope_turns_dark_into_bright(ball: np.ndarray, write_nifti: Writer) -> None:
    upright = find_specimen(read_volume(write_nifti(ball)))
    inverted = find_specimen(read_volume(write_nifti(-ball, "inverted.nii.gz", scl_slope=-1.0, scl_inter=0.0)))
    np.testing.assert_array_equal(upright.mask, inverted.mask)


def test_voxels_that_are_not_finite_count_as_background(ball: np.ndarray, write_nifti: Writer) -> None:
    damaged = ball.copy()
    damaged[0], damaged[1, 0], damaged[2, 0] = np.nan, np.inf, -np.inf
    volume = read_volume(write_nifti(damaged, "nan.nii"))
    assert np.isfinite(volume.grey).all()
    np.testing.assert_array_equal(find_specimen(volume).mask, find_specimen(read_volume(write_nifti(ball))).mask)


def test_reading_does_not_change_the_file(ball: np.ndarray, write_nifti: Writer) -> None:
    damaged = ball.copy()
    damaged[0] = np.nan
    file = write_nifti(damaged, "nan.nii")
    before = file.read_bytes()
    read_volume(file)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"pixdim": [1, 0, 1, 1, 1, 1, 1, 1]}, "zooms 0, 1, 1"),
        ({"pixdim": [1, 1, np.nan, 1, 1, 1, 1, 1]}, "zooms 1, nan, 1"),
        ({"pixdim": [1, 1, 1, np.inf, 1, 1, 1, 1]}, "zooms 1, 1, inf"),
        ({"pixdim": [1, 1, 1, 500, 1, 1, 1, 1]}, "500 times as long"),
        ({"dim": [3, 30000, 30000, 30000, 1, 1, 1, 1]}, "promises"),
        ({"dim": [3, 32, -28, 24, 1, 1, 1, 1]}, "dimensions"),
        ({"dim": [9, 32, 28, 24, 1, 1, 1, 1]}, "dimensions"),
        ({"dim": [3, 4, 28, 192, 1, 1, 1, 1]}, "at least 8"),
        ({"datatype": 128}, "data type 128"),
        ({"datatype": 32}, "data type 32"),
        ({"datatype": 7777}, "data type 7777"),
        ({"vox_offset": np.nan}, "byte nan"),
        ({"vox_offset": -1e9}, "offset"),
        ({"magic": b"ni1"}, "pair"),
        ({"magic": b"xyz"}, "not a NIfTI"),
    ],
)
@pytest.mark.parametrize("name", ["bad.nii", "bad.nii.gz"])
def test_an_impossible_header_is_refused_with_its_reason(
    ball: np.ndarray, write_nifti: Writer, name: str, fields: dict[str, object], reason: str
) -> None:
    with pytest.raises(BadSourceFileError, match=reason):
        read_volume(write_nifti(ball, name, **fields))


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.ones((20, 20), np.float32), "flat image"),
        (np.ones((20, 20, 1), np.float32), "flat image"),
        (np.ones((20, 20, 20, 2), np.float32), "several frames"),
        (np.full((20, 20, 20), np.nan, np.float32), "NaN"),
        (np.full((20, 20, 20), 7, np.int16), "all voxels are 7"),
    ],
)
def test_what_holds_no_specimen_is_refused_with_its_reason(array: np.ndarray, write_nifti: Writer, reason: str) -> None:
    with pytest.raises(BadSourceFileError, match=reason):
        read_volume(write_nifti(array))


@pytest.mark.parametrize("kept", [0.02, 0.5, 0.98])
def test_a_truncated_file_is_refused(ball: np.ndarray, write_nifti: Writer, kept: float) -> None:
    for name, reason in (("cut.nii.gz", "truncated"), ("cut.nii", "promises|not a NIfTI")):
        file = write_nifti(ball, name)
        file.write_bytes(file.read_bytes()[: int(kept * file.stat().st_size)])
        with pytest.raises(BadSourceFileError, match=reason):
            read_volume(file)


def test_a_file_that_shrinks_before_it_is_mapped_is_refused(
    ball: np.ndarray, write_nifti: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, whole = write_nifti(ball, "shrinks.nii"), _HashedFile.digest_of_whole

    def shrunk(hashed: _HashedFile) -> str:
        os.truncate(file, 1000)
        return whole(hashed)

    monkeypatch.setattr(_HashedFile, "digest_of_whole", shrunk)
    with pytest.raises(BadSourceFileError, match="shrank while it was read"):
        read_volume(file)


@pytest.mark.parametrize("name", ["changes.nii", "changes.nii.gz"])
def test_a_file_that_changes_while_it_is_read_is_refused(
    ball: np.ndarray, write_nifti: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    file = write_nifti(ball, name)
    job = SliceJob(name, file, tmp_path / "part", 5, "random", 32, 0)
    assert cut_volume(job).slices == 5
    monkeypatch.setattr("components.ingest.volume_slices.find_specimen", lambda volume: _touched(file, volume))
    assert "changed while it was read" in cut_volume(job).refusal
    file.unlink()
    assert "cannot be read" in cut_volume(job).refusal


def _touched(file: Path, volume: Volume) -> Specimen:
    os.utime(file, (1, 1))
    return find_specimen(volume)


def test_a_damaged_checksum_is_refused(ball: np.ndarray, write_nifti: Writer) -> None:
    file = write_nifti(ball)
    content = bytearray(file.read_bytes())
    content[-6] ^= 255
    file.write_bytes(content)
    with pytest.raises(BadSourceFileError, match="damaged"):
        read_volume(file)


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b", b"not a volume", b"\0" * 1000, gzip.compress(b"words")])
def test_what_is_not_nifti_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "words.nii.gz").write_bytes(content)
    with pytest.raises(BadSourceFileError):
        read_volume(tmp_path / "words.nii.gz")


@pytest.mark.parametrize("name", ["promise.nii", "promise.nii.gz"])
def test_a_promise_of_terabytes_takes_no_memory(ball: np.ndarray, write_nifti: Writer, name: str) -> None:
    file = write_nifti(ball, name, dim=[3, 30000, 30000, 30000, 1, 1, 1, 1])
    tracemalloc.start()
    with pytest.raises(BadSourceFileError, match="promises 108000000000352 bytes"):
        read_volume(file)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_a_gzip_file_shorter_than_its_promise_is_refused(ball: np.ndarray, write_nifti: Writer) -> None:
    file = write_nifti(ball, dim=[3, 800, 800, 8, 1, 1, 1, 1])
    assert read_header(file).size > 100 * file.stat().st_size  # deflate could have shrunk it so far
    with pytest.raises(BadSourceFileError, match="truncated"):
        read_volume(file)


@pytest.mark.parametrize("name", ["big.nii", "big.nii.gz"])
def test_reading_holds_a_volume_once(write_nifti: Writer, name: str) -> None:
    array = np.random.default_rng(0).integers(0, 900, (96, 96, 96)).astype(np.float32)
    file = write_nifti(array, name)
    read_volume(file)
    tracemalloc.start()
    read_volume(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.3 * array.nbytes + 3 * 2**20


@settings(max_examples=150, deadline=5000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.dictionaries(st.integers(0, 351), st.integers(0, 255), min_size=1, max_size=6), zipped=st.booleans())
def test_a_mutated_header_is_read_or_refused(
    ball: np.ndarray, tmp_path: Path, changes: dict[int, int], zipped: bool
) -> None:
    content = bytearray(nib.Nifti1Image(ball, np.eye(4)).to_bytes())
    for place, value in changes.items():
        content[place] = value
    file = tmp_path / "mutated.nii"
    file.write_bytes(gzip.compress(bytes(content), 1) if zipped else bytes(content))
    try:
        specimen = find_specimen(read_volume(file))
    except BadSourceFileError:
        return
    assert specimen.mask.any()


@settings(max_examples=60, deadline=5000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(1, 255))
def test_a_flipped_byte_in_a_gzip_file_is_refused_or_read(
    ball: np.ndarray, tmp_path: Path, place: float, value: int
) -> None:
    content = bytearray(gzip.compress(nib.Nifti1Image(ball.astype(np.uint8), np.eye(4)).to_bytes(), 1))
    content[int(place * len(content))] ^= value
    file = tmp_path / "flipped.nii.gz"
    file.write_bytes(bytes(content))
    try:
        volume = read_volume(file)
    except BadSourceFileError:
        return
    assert volume.grey.shape == ball.T.shape
