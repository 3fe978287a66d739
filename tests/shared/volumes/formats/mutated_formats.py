"""Random damage to NRRD, MetaImage, pairs and TIFF, cut by `python -m tests.shared.volumes.formats.mutated_formats`.

Arguments and output are those of `mutated_nifti`.
"""

import json
import random
import re
import resource
import signal
import struct
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from components.shared.errors import BadSourceFileError
from components.shared.volumes.formats import read_volume
from components.shared.volumes.slicing import cut_slices, planes_rng
from components.shared.volumes.specimen import find_specimen
from tests.ingest.volume_files import (
    layers_of,
    meta_header,
    nrrd_header,
    voxels,
    write_mha,
    write_nrrd,
    write_pair,
    write_stack,
)
from tests.shared.volumes.formats.mutated_nifti import CPU_SECONDS, Mutation, mutate_bits, mutate_length, mutate_range

TYPES = ("u1", "<i2", ">i2", "<u2", "<f4")
WORDS = (
    b"0",
    b"-1",
    b"1e99",
    b"nan",
    b"inf",
    b"99999999999",
    b"4294967296",
    b"raw",
    b"gzip",
    b"none",
    b"LIST",
    b"",
    b"()",
)
NUMBERS = (0, 1, 2, 3, 8, 255, 2**16 - 1, 2**31 - 1, 2**32 - 1)
HEADER_BYTES = 600


def mutate_word(rng: random.Random, content: bytearray) -> bytearray:
    """Replace a word of a text header."""
    words = list(re.finditer(rb"[^\s,()]+", bytes(content[:HEADER_BYTES])))
    word = rng.choice(words)
    return content[: word.start()] + rng.choice(WORDS) + content[word.end() :]


def mutate_line(rng: random.Random, content: bytearray) -> bytearray:
    """Drop or repeat a line of a text header, or take its end."""
    lines = bytes(content).split(b"\n")
    index = rng.randrange(min(len(lines), 16))
    lines[index : index + 1] = rng.choice(([], [lines[index]] * 2, [lines[index] * 300], [b"\0"]))
    return bytearray(b"\n".join(lines))


def mutate_head(rng: random.Random, content: bytearray) -> bytearray:
    """Overwrite a few of the first bytes with extreme numbers."""
    for _ in range(rng.choice((1, 1, 2))):
        place = rng.randrange(0, min(HEADER_BYTES, len(content) - 4))
        width = rng.choice(("<H", ">H", "<I", ">I"))
        number = rng.choice(NUMBERS) & (0xFFFF if width.endswith("H") else 0xFFFFFFFF)
        struct.pack_into(width, content, place, number)
    return content


TEXT = (mutate_word, mutate_word, mutate_line, mutate_bits, mutate_range, mutate_length)
BINARY = (mutate_head, mutate_head, mutate_head, mutate_bits, mutate_range, mutate_length)


def ball(dtype: str) -> np.ndarray:
    """Return a hollow ball in noise, [X, Y, Z] of 28 x 26 x 24 voxels."""
    radius = np.sqrt(((np.indices((28, 26, 24)) - np.array([14, 13, 12])[:, None, None, None]) ** 2).sum(axis=0))
    grey = 20 + 90 * ((radius < 10) & (radius > 5)) + 3 * np.random.default_rng(0).normal(size=radius.shape)
    return np.asfortranarray(grey.astype(dtype))


def write_pages(file: Path, array: np.ndarray, compression: str) -> Path:
    pages = [Image.fromarray(layer) for layer in layers_of(array)]
    pages[0].save(file, save_all=True, append_images=pages[1:], compression=compression, dpi=(5080, 5080))
    return file


def write_good(folder: Path) -> dict[str, tuple[Path, Path, tuple[Mutation, ...]]]:
    """Write the undamaged volumes: by name, the path to read, the file to damage, and the kinds of damage."""
    volumes = {}
    for dtype in TYPES:
        array, name = ball(dtype), dtype.strip("<>") + ("b" if dtype.startswith(">") else "")
        for encoding in ("raw", "gzip", "bzip2"):
            file = write_nrrd(folder / f"{name}-{encoding}.nrrd", array, encoding)
            volumes[file.name] = (file, file, TEXT)
        for compressed in ("True", "False"):
            file = write_mha(folder / f"{name}-{compressed}.mha", array, CompressedData=compressed)
            volumes[file.name] = (file, file, TEXT)
        (folder / f"{name}.raw").write_bytes(voxels(array))
        for header, field in ((nrrd_header(array), "data file:"), (meta_header(array), "ElementDataFile =")):
            file = folder / f"{name}.{'nhdr' if 'data' in field else 'mhd'}"
            file.write_text(f"{header}{field} {name}.raw\n")
            volumes[file.name] = (file, file, TEXT)
        file = write_pair(folder / f"{name}-pair.hdr", array)
        volumes[file.name] = (file, file, BINARY)
        stack = write_stack(folder / f"{name}-stack", array, resolution=(2000, 2000), resolutionunit=3, byteorder="=")
        volumes[stack.name] = (stack, stack / f"slice_{0 if dtype == 'u1' else 3:03d}.tif", BINARY)
        if dtype in ("u1", "<u2", "<f4"):
            for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"):
                file = write_pages(folder / f"{name}-{compression}.tif", array, compression)
                volumes[file.name] = (file, file, BINARY)
    return volumes


def cut(path: Path) -> str:
    """Cut two slices of a volume; return the reason of its rejection, or an empty text."""
    try:
        specimen = find_specimen(read_volume(path))
    except BadSourceFileError as error:
        return str(error)
    slices = list(cut_slices(specimen, "random", 2, 32, planes_rng(path.name, 0)))
    return "" if slices else "no slices"


def main(count: int, seed: int, folder: Path) -> None:
    """Cut the undamaged volumes, then damaged ones."""
    volumes = write_good(folder)
    assert {name: reason for name, (path, _, _) in volumes.items() if (reason := cut(path))} == {}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    reasons, accepted = set(), Counter[str]()
    names = sorted(volumes)
    for number in range(count):
        rng = random.Random(f"{seed} {number}")
        name = names[number % len(names)]
        path, file, mutations = volumes[name]
        content = file.read_bytes()
        damage: Callable[[random.Random, bytearray], bytearray] = rng.choice(mutations)
        file.write_bytes(damage(rng, bytearray(content)))
        sys.stderr.write(f"{number} {name} {damage.__name__}\n")
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        reason = cut(path)
        signal.setitimer(signal.ITIMER_PROF, 0)
        file.write_bytes(content)
        reasons.add(reason)
        accepted["rejected" if reason else "accepted"] += 1
    growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    sys.stdout.write(json.dumps({**accepted, "reasons": len(reasons), "growth": growth}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
