"""Valid volumes are read as nibabel reads them; invalid ones are rejected with a reason."""

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

from components.shared.errors import BadSourceFileError
from components.shared.volumes.formats import read_header, read_volume
from components.shared.volumes.specimen import find_specimen

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
    original = find_specimen(read_volume(write_nifti(ball)))
    negative = find_specimen(read_volume(write_nifti(-ball, "negative.nii.gz", scl_slope=-1.0, scl_inter=0.0)))
    np.testing.assert_array_equal(original.mask, negative.mask)


def test_non_finite_voxels_count_as_background(ball: np.ndarray, write_nifti: Writer) -> None:
    grey = ball.copy()
    grey[0], grey[1, 0], grey[2, 0] = np.nan, np.inf, -np.inf
    volume = read_volume(write_nifti(grey, "nan.nii"))
    assert np.isfinite(volume.grey).all()
    np.testing.assert_array_equal(find_specimen(volume).mask, find_specimen(read_volume(write_nifti(ball))).mask)


def test_reading_does_not_change_the_file(ball: np.ndarray, write_nifti: Writer) -> None:
    grey = ball.copy()
    grey[0] = np.nan
    file = write_nifti(grey, "nan.nii")
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
        ({"dim": [3, 30000, 30000, 30000, 1, 1, 1, 1]}, "declares"),
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
def test_an_invalid_header_is_rejected_with_a_reason(
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
def test_an_image_without_volume_is_rejected_with_a_reason(array: np.ndarray, write_nifti: Writer, reason: str) -> None:
    with pytest.raises(BadSourceFileError, match=reason):
        read_volume(write_nifti(array))


@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_a_truncated_file_is_rejected(ball: np.ndarray, write_nifti: Writer, share: float) -> None:
    for name, reason in (("cut.nii.gz", "truncated"), ("cut.nii", "declares|not a NIfTI")):
        file = write_nifti(ball, name)
        file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
        with pytest.raises(BadSourceFileError, match=reason):
            read_volume(file)


def test_a_file_that_shrinks_before_it_is_mapped_is_rejected(
    ball: np.ndarray, write_nifti: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, memmap = write_nifti(ball, "shrinks.nii"), np.memmap

    def truncate_and_map(*arguments: object, **options: object) -> np.ndarray:
        os.truncate(file, 1000)
        return memmap(*arguments, **options)

    monkeypatch.setattr(np, "memmap", truncate_and_map)
    with pytest.raises(BadSourceFileError, match="shrank while it was read"):
        read_volume(file)


def test_a_wrong_checksum_is_rejected(ball: np.ndarray, write_nifti: Writer) -> None:
    file = write_nifti(ball)
    content = bytearray(file.read_bytes())
    content[-6] ^= 255
    file.write_bytes(content)
    with pytest.raises(BadSourceFileError, match="damaged"):
        read_volume(file)


@pytest.mark.parametrize(
    "content",
    [b"", b"\x1f\x8b", b"not a volume", b"\0" * 1000, gzip.compress(b"text", mtime=0)],
    ids=["empty", "two bytes", "text", "zeros", "zipped text"],
)
def test_a_file_that_is_not_nifti_is_rejected(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "text.nii.gz").write_bytes(content)
    with pytest.raises(BadSourceFileError):
        read_volume(tmp_path / "text.nii.gz")


@pytest.mark.parametrize("name", ["huge.nii", "huge.nii.gz"])
def test_a_header_of_terabytes_allocates_no_memory(ball: np.ndarray, write_nifti: Writer, name: str) -> None:
    file = write_nifti(ball, name, dim=[3, 30000, 30000, 30000, 1, 1, 1, 1])
    tracemalloc.start()
    with pytest.raises(BadSourceFileError, match="108000000000352 bytes"):
        read_volume(file)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_a_gzip_file_shorter_than_its_header_is_rejected(ball: np.ndarray, write_nifti: Writer) -> None:
    file = write_nifti(ball, dim=[3, 800, 800, 8, 1, 1, 1, 1])
    assert read_header(file).nbytes > 100 * file.stat().st_size  # possible for deflate
    with pytest.raises(BadSourceFileError, match="truncated"):
        read_volume(file)


@pytest.mark.parametrize("name", ["big.nii", "big.nii.gz"])
def test_reading_stores_a_volume_once(write_nifti: Writer, name: str) -> None:
    array = np.random.default_rng(0).integers(0, 900, (96, 96, 96)).astype(np.float32)
    file = write_nifti(array, name)
    read_volume(file)
    tracemalloc.start()
    read_volume(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.3 * array.nbytes + 3 * 2**20


@settings(max_examples=150, deadline=5000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.dictionaries(st.integers(0, 351), st.integers(0, 255), min_size=1, max_size=6), is_gzip=st.booleans())
def test_a_mutated_header_is_accepted_or_rejected(
    ball: np.ndarray, tmp_path: Path, changes: dict[int, int], is_gzip: bool
) -> None:
    content = bytearray(nib.Nifti1Image(ball, np.eye(4)).to_bytes())
    for position, value in changes.items():
        content[position] = value
    file = tmp_path / "mutated.nii"
    file.write_bytes(gzip.compress(bytes(content), 1) if is_gzip else bytes(content))
    try:
        specimen = find_specimen(read_volume(file))
    except BadSourceFileError:
        return
    assert specimen.mask.any()


@settings(max_examples=60, deadline=5000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.floats(0, 1, exclude_max=True), value=st.integers(1, 255))
def test_a_changed_byte_in_a_gzip_file_is_accepted_or_rejected(
    ball: np.ndarray, tmp_path: Path, position: float, value: int
) -> None:
    content = bytearray(gzip.compress(nib.Nifti1Image(ball.astype(np.uint8), np.eye(4)).to_bytes(), 1))
    content[int(position * len(content))] ^= value
    file = tmp_path / "changed.nii.gz"
    file.write_bytes(bytes(content))
    try:
        volume = read_volume(file)
    except BadSourceFileError:
        return
    assert volume.grey.shape == ball.T.shape
