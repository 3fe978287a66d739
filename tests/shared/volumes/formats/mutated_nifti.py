"""Random damage to NIfTI files, cut by `python -m tests.shared.volumes.formats.mutated_nifti <count> <seed> <folder>`.

It is a separate process, because its peak memory is measured. It prints the number of accepted and rejected files and
the growth of the peak over that of undamaged files, as JSON. A file that takes CPU_SECONDS ends the process.
"""

import gzip
import json
import random
import resource
import signal
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np

from components.shared.errors import BadSourceFileError
from components.shared.volumes.formats import read_volume
from components.shared.volumes.slicing import cut_slices, planes_rng
from components.shared.volumes.specimen import find_specimen

CPU_SECONDS = 5.0
TYPES = ("u1", "i1", "<i2", ">i2", "<u2", "<i4", "<f4", ">f4", "<f8", "<i8")
_NUMBERS = (0, 1, -1, 2, 3, 7, 8, 9, 64, 255, 256, 1025, 32767, -32768, 2**31 - 1, -(2**31))
_FLOATS = (0.0, -0.0, 1e-45, 1e-30, -1.0, 1e30, 3.4e38, float("nan"), float("inf"), float("-inf"), 351.5, 352.0, 1e7)
_VALUES = (np.nan, np.inf, -np.inf, 0.0, 1e-320, 5e-324, 1e-300, 1e308, -1e308, 3e38, 1.0)

Mutation = Callable[[random.Random, bytearray], bytearray]


def good_file(dtype: str, second_version: bool = False, slope: float = 1.0) -> bytes:
    """Return a NIfTI file of a hollow ball in noise, 26 to 32 voxels wide."""
    grid = np.indices((28, 26, 32)) - np.array([14, 13, 16])[:, None, None, None]
    radius = np.sqrt((grid**2).sum(axis=0))
    grey = 20 + 90 * ((radius < 10) & (radius > 5)) + 3 * np.random.default_rng(0).normal(size=radius.shape)
    kind, header = (nib.Nifti2Image, nib.Nifti2Header) if second_version else (nib.Nifti1Image, nib.Nifti1Header)
    order = ">" if dtype.startswith(">") else "<"
    image = kind(grey.astype(dtype), np.diag([0.1, 0.1, 0.12, 1.0]), header(endianness=order))
    image.header.set_data_dtype(np.dtype(dtype).newbyteorder(order))
    image.header.set_xyzt_units("mm")
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"scanned twice"))
    content = bytearray(image.to_bytes())
    if not second_version:
        struct.pack_into(f"{order}f", content, 112, slope)
    return bytes(content)


def mutate_field(rng: random.Random, content: bytearray) -> bytearray:
    """Overwrite two header fields with extreme values of their type."""
    second = struct.unpack_from("<i", content)[0] == 540 or struct.unpack_from(">i", content)[0] == 540
    kind = nib.Nifti2Header if second else nib.Nifti1Header
    order = ">" if content[0] == 0 else "<"
    header = kind(bytes(content[: kind.template_dtype.itemsize]), endianness=order, check=False)
    fields = header.structarr
    for name in rng.sample([*("dim", "pixdim", "datatype", "vox_offset", "scl_slope") * 3, *fields.dtype.names], 2):
        field = fields[name]
        if field.dtype.kind == "f":
            value: object = rng.choice(_FLOATS)
        elif field.dtype.kind in "iu":
            information = np.iinfo(field.dtype)
            value = min(max(rng.choice(_NUMBERS), information.min), information.max)
        else:
            value = bytes(rng.randrange(256) for _ in range(4))
        if field.ndim:
            field[rng.randrange(len(field))] = value
        else:
            fields[name] = value
    content[: kind.template_dtype.itemsize] = header.binaryblock
    return content


def mutate_dimensions(rng: random.Random, content: bytearray) -> bytearray:
    """Declare other dimensions, with the same number of voxels or more."""
    order, lengths = (
        (">" if content[0] == 0 else "<"),
        [rng.choice((8, 13, 26, 28, 32, 56, 120, 900)) for _ in range(3)],
    )
    if content[0] not in (0, 92):  # NIfTI-2 has its dimensions at another offset
        return mutate_bits(rng, content)
    struct.pack_into(f"{order}4h", content, 40, rng.choice((3, 3, 3, 4, 7)), *lengths)
    return content


def mutate_bits(rng: random.Random, content: bytearray) -> bytearray:
    """Flip up to eight bits, mostly in the header."""
    for _ in range(rng.randint(1, 8)):
        end = min(len(content), 360) if rng.random() < 0.7 else len(content)
        content[rng.randrange(end)] ^= 1 << rng.randrange(8)
    return content


def mutate_range(rng: random.Random, content: bytearray) -> bytearray:
    """Overwrite a range of bytes with one byte or with noise."""
    start = rng.randrange(len(content))
    stop = min(len(content), start + rng.choice((1, 4, 40, 4000, 40000)))
    content[start:stop] = rng.randbytes(stop - start) if rng.random() < 0.5 else rng.randbytes(1) * (stop - start)
    return content


def mutate_length(rng: random.Random, content: bytearray) -> bytearray:
    """Truncate the file or append to it."""
    if rng.random() < 0.7:
        return content[: rng.choice((rng.randrange(len(content)), rng.randrange(600), len(content) - 1))]
    return content + rng.choice((bytes(100_000), rng.randbytes(5000), content))


def mutate_extension(rng: random.Random, content: bytearray) -> bytearray:
    """Set an extreme size of the header extension."""
    start = 544 if struct.unpack_from("<i", content)[0] == 540 else 352
    struct.pack_into("<2i", content, start, rng.choice(_NUMBERS), rng.choice(_NUMBERS))
    return content


def mutate_values(rng: random.Random, content: bytearray) -> bytearray:
    """Overwrite voxels with the extreme values of floating point."""
    dtype = np.dtype(rng.choice(("<f4", ">f4", "<f8")))
    with np.errstate(over="ignore"):
        values = np.array(rng.choices(_VALUES, k=rng.choice((1, 20, 5000))), dtype=np.float64).astype(dtype).tobytes()
    start = min(416 + dtype.itemsize * rng.randrange(2000), len(content))
    content[start : start + len(values)] = values[: len(content) - start]
    return content


MUTATIONS: tuple[Mutation, ...] = (
    mutate_field,
    mutate_field,
    mutate_dimensions,
    mutate_bits,
    mutate_range,
    mutate_length,
    mutate_extension,
    mutate_values,
)


def mutated_file(rng: random.Random, good: list[bytes]) -> bytes:
    """Return a file that is damaged before or after compression, or is not compressed."""
    content = bytearray(rng.choice(good))
    how = rng.choice(("plain", "plain", "inside", "inside", "outside", "both"))
    if how in ("plain", "inside", "both"):
        content = rng.choice(MUTATIONS)(rng, content)
    if how == "plain":
        return bytes(content)
    member = bytearray(gzip.compress(bytes(content), 1, mtime=0))
    if how in ("outside", "both"):
        member = rng.choice((mutate_bits, mutate_range, mutate_length, _mutate_gzip_header))(rng, member)
    return bytes(member)


def _mutate_gzip_header(rng: random.Random, content: bytearray) -> bytearray:
    content[rng.randrange(10)] = rng.randrange(256)
    return content


def cut(content: bytes, file: Path) -> str:
    """Cut two slices of a file; return the reason of its rejection, or an empty text."""
    file.write_bytes(content)
    try:
        specimen = find_specimen(read_volume(file))
    except BadSourceFileError as error:
        return str(error)
    assert specimen.mask.any()
    slices = list(cut_slices(specimen, "random", 2, 32, planes_rng(file.name, 0)))
    return "" if slices else "no slices"


def main(count: int, seed: int, folder: Path) -> None:
    """Cut the undamaged files of every type, then damaged ones."""
    good = [good_file(dtype, second, slope) for dtype in TYPES for second in (False, True) for slope in (1.0, -1.0)]
    for content in good:
        assert cut(content, folder / "good.nii") == ""
        assert cut(gzip.compress(content, 1), folder / "good.nii.gz") == ""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rng, reasons, accepted_files = random.Random(seed), set(), 0
    for number in range(count):
        content = mutated_file(random.Random(f"{seed} {number}"), good)
        sys.stderr.write(f"{number}\n")
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)  # undamaged files take longer: they compile
        reason = cut(content, folder / rng.choice(("bad.nii", "bad.nii.gz")))
        signal.setitimer(signal.ITIMER_PROF, 0)
        reasons.add(reason)
        accepted_files += not reason
    growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    counts = {"accepted": accepted_files, "rejected": count - accepted_files, "reasons": len(reasons)}
    sys.stdout.write(json.dumps({**counts, "growth": growth}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
