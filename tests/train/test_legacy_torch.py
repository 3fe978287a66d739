"""PyTorch's legacy format is read without PyTorch, and nothing else than tensors comes out of a file."""

import os
import pickle
import struct
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

from components.train.legacy_torch import MAX_PICKLE_BYTES, MalformedFileError, read_tensors
from tests.fixtures.legacy_torch.make import FILE

CONTENT = FILE.read_bytes()
MUTATIONS = 4000


def from_pickles(*pickles: bytes) -> bytes:
    """Return a file that begins as PyTorch's, with other pickles of tensors and storages."""
    preamble = b"".join(
        pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True, "type_sizes": {}})
    )
    return preamble + b"".join(pickles)


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def integer(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def tensor_pickle(
    elements: int = 4, offset: int = 0, shape: tuple[int, ...] = (4,), strides: tuple[int, ...] = (1,)
) -> bytes:
    """Return the pickle of a dictionary of one float32 tensor "a" in a storage "0"."""
    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + integer(elements) + b"NtQ"
    sizes, steps = (b"(" + b"".join(map(integer, numbers)) + b"t" for numbers in (shape, strides))
    arguments = b"(" + storage + integer(offset) + sizes + steps + b"\x89}t"
    return b"\x80\x02}" + text("a") + b"ctorch._utils\n_rebuild_tensor_v2\n" + arguments + b"Rs."


KEYS = pickle.dumps(["0"], 2)
STORAGE = struct.pack("<q4f", 4, 1, 2, 3, 4)


def test_tensors_have_their_types_shapes_and_values() -> None:
    tensors = read_tensors(CONTENT)
    shapes = {"0.weight": (3, 2, 2, 2), **{f"1.{name}": (3,) for name in ("weight", "bias")}}
    shapes.update({"1.running_mean": (3,), "1.running_var": (3,), "1.num_batches_tracked": ()})
    assert list(tensors) == [*shapes, "view"]
    for number, (name, shape) in enumerate(shapes.items()):
        assert tensors[name].dtype == ("int64" if name == "1.num_batches_tracked" else "float32")
        values = 100 * number + np.arange(np.prod(shape, dtype=int)).reshape(shape)
        np.testing.assert_array_equal(tensors[name], values)
    np.testing.assert_array_equal(tensors["view"], np.arange(18).reshape(3, 6)[:, 2:5].T)


def test_a_hand_written_file_is_read() -> None:
    np.testing.assert_array_equal(read_tensors(from_pickles(tensor_pickle(), KEYS, STORAGE))["a"], [1, 2, 3, 4])


@pytest.mark.parametrize(
    "numbers",
    [
        {"offset": 1},
        {"offset": -1},
        {"shape": (5,)},
        {"shape": (0,)},
        {"shape": (-4,)},
        {"shape": (2, 2)},
        {"strides": (-1,)},
        {"strides": (2,)},
        {"shape": (2**31 - 1,), "strides": (0,)},
        {"shape": (1,) * 9, "strides": (1,) * 9},
        {"elements": 3},
        {"elements": 5, "shape": (4,)},
        {"elements": 2**31 - 1},
        {"elements": -4},
    ],
)
def test_a_tensor_outside_of_its_storage_is_rejected(numbers: dict[str, int]) -> None:
    with pytest.raises(MalformedFileError):
        read_tensors(from_pickles(tensor_pickle(**numbers), KEYS, STORAGE))


class Command:
    """An object that runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("exit 1",)


@pytest.mark.parametrize(
    ("content", "clause"),
    [
        (b"", "damaged pickle"),
        (b"PK\x03\x04" + bytes(100), "damaged pickle"),
        (pickle.dumps({"a": 1}, 2), "magic number"),
        (from_pickles(tensor_pickle(), KEYS, STORAGE[:-1]), "in the place of 4"),
        (from_pickles(tensor_pickle(), KEYS, STORAGE + b"\0"), "1 bytes after"),
        (from_pickles(tensor_pickle(), KEYS), "in the place of 4"),
        (from_pickles(tensor_pickle(), pickle.dumps(["1"], 2), STORAGE), "not those of the tensors"),
        (from_pickles(tensor_pickle(), pickle.dumps(["0", "0"], 2), STORAGE), "not those of the tensors"),
        (from_pickles(pickle.dumps({"a": 1}, 2), KEYS, STORAGE), "dictionary of tensors"),
        (from_pickles(pickle.dumps(Command(), 2), KEYS, STORAGE), "posix.system"),
        (from_pickles(pickle.dumps(Command(), 4), KEYS, STORAGE), "opcode"),
        (from_pickles(pickle.dumps(np.arange(3), 2), KEYS, STORAGE), "refers to"),
        (from_pickles(b"\x80\x02(cos\nsystem\nX\x00\x00\x00\x00o."), "refers to 'os.system'"),
        (from_pickles(b"\x80\x02(ios\nsystem\n."), "opcode INST"),
        (from_pickles(b"\x80\x02ctorch\nFloatStorage\n)R."), "calls something else"),
        (from_pickles(b"\x80\x02ccollections\nOrderedDict\n]\x85R."), "calls something else"),
        (from_pickles(b"\x80\x02}" + text("a") + b"\x80\x02}u."), "damaged pickle"),
        (pickle.dumps([0] * MAX_PICKLE_BYTES, 2), "damaged pickle"),
    ],
)
def test_a_file_of_another_content_is_rejected(content: bytes, clause: str) -> None:
    with pytest.raises(MalformedFileError, match=clause):
        read_tensors(content)


@pytest.mark.parametrize(
    "pickle_bytes",
    [
        b"\x80\x02Nr\xff\xff\xff\x7f.",  # an entry of the memo that Python's unpickler allocates several GiB for
        b"\x80\x02X\xff\xff\xff\x7f.",
        b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b".",
        b"\x80\x02)" + b"q\x00h\x00h\x00\x86" * 10_000 + b"}" + b"h\x00Ns.",  # a key with 2 to the 10,000 parts
        b"\x80\x02N" + b"\x85" * 60_000 + b".",
        b"\x80\x02" + b"}" * 60_000 + b".",
    ],
)
def test_a_hostile_pickle_takes_little_memory(pickle_bytes: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(MalformedFileError):
            read_tensors(from_pickles(pickle_bytes))
        assert tracemalloc.get_traced_memory()[1] < 100 * 2**20
    finally:
        tracemalloc.stop()


def mutations(generator: np.random.Generator) -> Iterator[bytes]:
    """Yield damaged copies of the file: changed, inserted, removed and repeated bytes, and truncated copies."""
    for _ in range(MUTATIONS):
        content = bytearray(CONTENT)
        for _ in range(generator.integers(1, 4)):
            first, length = int(generator.integers(len(content))), int(generator.integers(1, 9))
            damage = generator.integers(0, 256, length).astype(np.uint8).tobytes()
            replacement = [damage, damage, damage[:1], b"", content[first : first + length] * 2][generator.integers(5)]
            content[first : first + len(replacement) if replacement == damage else first + length] = replacement
        yield bytes(content) if generator.integers(10) else bytes(content[: generator.integers(len(content))])


def test_a_damaged_file_gives_tensors_of_its_own_bytes_or_an_error() -> None:
    errors = 0
    for content in mutations(np.random.default_rng(4)):
        try:
            tensors = read_tensors(content)
        except MalformedFileError:
            errors += 1
            continue
        storage_bytes = 0
        for name, tensor in tensors.items():
            assert isinstance(name, str)
            assert tensor.dtype in (np.float32, np.int64)
            assert not tensor.flags.writeable
            tensor.copy()
            storage_bytes += tensor.nbytes
        assert storage_bytes <= 8 * len(content)
    assert MUTATIONS // 2 < errors < MUTATIONS
