"""Writers of volumes in each file format, byte by byte, for the tests of the formats."""

import bz2
import gzip
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import tifffile

ZOOMS = (1.0, 1.25, 2.5)
NRRD_TYPES = {"u1": "uint8", "i2": "short", "u2": "ushort", "f4": "float", "i4": "int", "f8": "double"}
META_TYPES = {"u1": "MET_UCHAR", "i2": "MET_SHORT", "u2": "MET_USHORT", "f4": "MET_FLOAT", "i4": "MET_INT"}
COMPRESSIONS = {"raw": bytes, "gzip": gzip.compress, "bzip2": bz2.compress}


def voxels(array: np.ndarray) -> bytes:
    """Return the voxels of [X, Y, Z], the first axis fastest."""
    return array.tobytes(order="F")


def kind_of(array: np.ndarray) -> str:
    return f"{array.dtype.kind}{array.dtype.itemsize}"


def write_nifti_file(file: Path, array: np.ndarray, zooms: tuple[float, ...] = ZOOMS) -> Path:
    image = nib.Nifti1Image(array, np.diag([*zooms, 1.0]))
    image.header.set_xyzt_units("mm")
    nib.save(image, file)
    return file


def nrrd_header(array: np.ndarray, encoding: str = "raw", **fields: str) -> str:
    """Return an NRRD header without the blank line at its end; an empty field is left out."""
    lines = {
        "type": NRRD_TYPES[kind_of(array)],
        "dimension": "3",
        "space": "left-posterior-superior",
        "sizes": " ".join(map(str, array.shape)),
        "space directions": " ".join(
            f"({','.join(f'{zoom if row == axis else 0}' for row in range(3))})" for axis, zoom in enumerate(ZOOMS)
        ),
        "kinds": "domain domain domain",
        "endian": "big" if array.dtype.byteorder == ">" else "little",
        "encoding": encoding,
        **{name.replace("_", " "): value for name, value in fields.items()},
    }
    return "NRRD0005\n# a comment\n" + "".join(f"{key}: {value}\n" for key, value in lines.items() if value)


def write_nrrd(file: Path, array: np.ndarray, encoding: str = "raw", **fields: str) -> Path:
    content = COMPRESSIONS.get(encoding, bytes)(voxels(array))
    file.write_bytes(f"{nrrd_header(array, encoding, **fields)}key:=value\n\n".encode() + content)
    return file


def meta_header(array: np.ndarray, **fields: str) -> str:
    """Return a MetaImage header without ElementDataFile; an empty field is left out."""
    lines = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": str(array.dtype.byteorder == ">"),
        "CompressedData": "False",
        "TransformMatrix": "1 0 0 0 1 0 0 0 1",
        "Offset": "0 0 0",
        "ElementSpacing": " ".join(map(str, ZOOMS)),
        "DimSize": " ".join(map(str, array.shape)),
        "ElementType": META_TYPES[kind_of(array)],
        **fields,
    }
    return "".join(f"{key} = {value}\n" for key, value in lines.items() if value)


def write_mha(file: Path, array: np.ndarray, **fields: str) -> Path:
    content = zlib.compress(voxels(array)) if fields.get("CompressedData") == "True" else voxels(array)
    file.write_bytes(f"{meta_header(array, **fields)}ElementDataFile = LOCAL\n".encode() + content)
    return file


def write_mhd(file: Path, array: np.ndarray, **fields: str) -> Path:
    """Write a MetaImage header, and the voxels into a file beside it."""
    file.with_suffix(".raw").write_bytes(voxels(array))
    file.write_text(f"{meta_header(array, **fields)}ElementDataFile = {file.stem}.raw\n")
    return file


def write_pair(file: Path, array: np.ndarray, zooms: tuple[float, ...] = ZOOMS) -> Path:
    image = nib.Nifti1Pair(array, np.diag([*zooms, 1.0]))
    image.header.set_xyzt_units("mm")
    nib.save(image, file)
    return file


def layers_of(array: np.ndarray) -> np.ndarray:
    """Return the slices [Z, Y, X] of [X, Y, Z] in native byte order."""
    return np.ascontiguousarray(array.T.astype(array.dtype.newbyteorder("=")))


def write_stack(folder: Path, array: np.ndarray, name: str = "slice_{:03d}.tif", **options: Any) -> Path:
    """Write one TIFF file for each slice; the options are those of tifffile."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, layer in enumerate(layers_of(array)):
        tifffile.imwrite(folder / name.format(number), layer, **options)
    return folder
