"""Tensors of a file in the legacy format of PyTorch (before 1.6), read without PyTorch and without executing anything.

Such a file holds five pickles, namely a magic number, the version of the protocol, the sizes of C types, the tensors by
name, and the keys of the storages, followed by the storages, each with its number of elements (`_legacy_save` in
PyTorch's `torch/serialization.py`). The pickles are interpreted here, by the opcodes that PyTorch writes for such a
dictionary, since the memory of Python's unpickler is not bounded by the size of its input. Every other opcode, and
every name but the four that rebuild tensors, is rejected.
"""

import io
import math
import pickletools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_PICKLE_BYTES = 2**18
_MAGIC_NUMBER, _PROTOCOL_VERSION = 0x1950A86A20F9469CFC6C, 1001
_COUNT_BYTES = 8
_LARGEST_RANK = 8

_REBUILD_TENSOR, _ORDERED_DICT = "torch._utils _rebuild_tensor_v2", "collections OrderedDict"
_STORAGE_TYPES: dict[str, np.dtype[Any]] = {"torch FloatStorage": np.dtype("<f4"), "torch LongStorage": np.dtype("<i8")}
_ADMITTED_NAMES = frozenset({_REBUILD_TENSOR, _ORDERED_DICT, *_STORAGE_TYPES})


class MalformedFileError(ValueError):
    """A file that is not a dictionary of tensors in PyTorch's legacy format."""


@dataclass(frozen=True)
class _Name:
    """A class or function to which a pickle refers; the field has the module and the name, with a space between."""

    text: str


@dataclass(frozen=True)
class _Storage:
    """A one-dimensional array in the file, of which tensors are views."""

    key: str
    dtype: np.dtype[Any]
    elements: int


@dataclass(frozen=True)
class _Tensor:
    """A view of a storage. The offset and the strides are numbers of elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_tensors(content: bytes) -> dict[str, NDArray[Any]]:
    """Return the tensors of a file by name, as read-only views of its content.

    Args:
        content: Content of the file.

    Raises:
        MalformedFileError: The file has another format, refers to other names, or a tensor is not inside its storage.
    """
    stream = io.BytesIO(content[:MAX_PICKLE_BYTES])
    if _load(stream) != _MAGIC_NUMBER or _load(stream) != _PROTOCOL_VERSION:
        raise MalformedFileError("no magic number and version of PyTorch's legacy format")
    system = _load(stream)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise MalformedFileError("numbers that are not little-endian")
    tensors, keys = _load(stream), _load(stream)
    if not isinstance(tensors, dict) or not all(isinstance(tensor, _Tensor) for tensor in tensors.values()):
        raise MalformedFileError("a pickle of something else than a dictionary of tensors")
    storages = _read_storages(content, stream.tell(), keys, tensors)
    return {name: _view(tensor, storages[tensor.storage.key]) for name, tensor in tensors.items()}


def _load(stream: io.BytesIO) -> Any:
    """Return the value of the next pickle of the stream.

    Raises:
        MalformedFileError: The pickle is truncated or damaged, or has an opcode or a name that is not admitted.
    """
    machine = _StackMachine()
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            machine.execute(opcode.name, argument)
        return machine.pop()
    except MalformedFileError:
        raise
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise MalformedFileError(f"a damaged pickle ({type(error).__name__}: {str(error)[:80]})") from error


class _StackMachine:
    """The interpreter of a pickle. Each opcode adds at most one object, so the input bounds the memory."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def execute(self, opcode: str, argument: Any) -> None:
        """Execute one opcode with its argument.

        Raises:
            MalformedFileError: The opcode, a name or an operand is not admitted.
        """
        if opcode in ("BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE"):
            self._stack.append(argument)
        elif opcode in _NEW_VALUES:
            self._stack.append(_NEW_VALUES[opcode]())
        elif opcode in ("BINPUT", "LONG_BINPUT"):
            self._memo[argument] = self._stack[-1]
        elif opcode in ("BINGET", "LONG_BINGET"):
            self._stack.append(self._memo[argument])
        elif opcode in _OPERATIONS:
            _OPERATIONS[opcode](self)
        elif opcode == "GLOBAL":
            self._stack.append(_admit(argument))
        elif opcode not in ("PROTO", "STOP"):
            raise MalformedFileError(f"a pickle with the opcode {opcode}")

    def pop(self) -> Any:
        """Remove the last value from the stack and return it."""
        return self._stack.pop()

    def mark(self) -> None:
        """Store the height of the stack."""
        self._marks.append(len(self._stack))

    def pop_marked(self) -> list[Any]:
        """Remove the values above the last mark and return them."""
        height = self._marks.pop()
        values = self._stack[height:]
        del self._stack[height:]
        return values

    def make_tuple(self) -> None:
        """Replace the values above the last mark by their tuple."""
        self._stack.append(tuple(self.pop_marked()))

    def make_single(self) -> None:
        """Replace the last value by a tuple of it."""
        self._stack.append((self.pop(),))

    def make_pair(self) -> None:
        """Replace the last two values by their tuple."""
        second, first = self.pop(), self.pop()
        self._stack.append((first, second))

    def append_item(self) -> None:
        """Append the last value to the list below it."""
        value = self.pop()
        _expect(self._stack[-1], list).append(value)

    def append_items(self) -> None:
        """Append the values above the last mark to the list below it."""
        values = self.pop_marked()
        _expect(self._stack[-1], list).extend(values)

    def set_item(self) -> None:
        """Set one key of the dictionary below the last two values."""
        value, key = self.pop(), self.pop()
        _expect(self._stack[-1], dict)[_expect(key, str)] = value

    def set_items(self) -> None:
        """Set the keys of the dictionary below the last mark, whose values alternate with them."""
        values = self.pop_marked()
        dictionary = _expect(self._stack[-1], dict)
        for key, value in zip(values[::2], values[1::2], strict=True):
            dictionary[_expect(key, str)] = value

    def discard_state(self) -> None:
        """Discard the attributes of the object below; those of a dictionary of tensors are version numbers."""
        self.pop()

    def call(self) -> None:
        """Replace a name and its arguments by the dictionary or tensor that they describe.

        Raises:
            MalformedFileError: The name is no function, or its arguments are not admitted.
        """
        arguments, function = _expect(self.pop(), tuple), self.pop()
        if function == _Name(_ORDERED_DICT) and not arguments:
            self._stack.append({})
        elif function == _Name(_REBUILD_TENSOR):
            self._stack.append(_describe_tensor(*arguments[:4]))
        else:
            raise MalformedFileError("a pickle that calls something else than what rebuilds tensors")

    def load_storage(self) -> None:
        """Replace the description of a storage by a reference to it."""
        kind, name, key, _, elements, view = _expect(self.pop(), tuple)
        dtype = _STORAGE_TYPES.get(_expect(name, _Name).text)
        if kind != "storage" or dtype is None or view is not None:
            raise MalformedFileError("a storage of another type than float32 and int64")
        self._stack.append(_Storage(_expect(key, str), dtype, _expect(elements, int)))


_NEW_VALUES: Mapping[str, Any] = {
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
}
_OPERATIONS = {
    "MARK": _StackMachine.mark,
    "TUPLE": _StackMachine.make_tuple,
    "TUPLE1": _StackMachine.make_single,
    "TUPLE2": _StackMachine.make_pair,
    "APPEND": _StackMachine.append_item,
    "APPENDS": _StackMachine.append_items,
    "SETITEM": _StackMachine.set_item,
    "SETITEMS": _StackMachine.set_items,
    "BUILD": _StackMachine.discard_state,
    "REDUCE": _StackMachine.call,
    "BINPERSID": _StackMachine.load_storage,
}


def _admit(name: str) -> _Name:
    if name not in _ADMITTED_NAMES:
        raise MalformedFileError(f"a pickle that refers to {name.replace(' ', '.')[:80]!r}")
    return _Name(name)


def _expect(value: Any, kind: type) -> Any:
    """Return a value that has exactly the expected type.

    Raises:
        MalformedFileError: The value has another type; a Boolean is no integer.
    """
    if type(value) is not kind:
        raise MalformedFileError(f"a pickle with {type(value).__name__} in the place of {kind.__name__}")
    return value


def _describe_tensor(storage: Any, offset: Any, shape: Any, strides: Any) -> _Tensor:
    """Return the description of a tensor that is inside its storage.

    Raises:
        MalformedFileError: A number is negative, or an element is outside of the storage.
    """
    tensor = _Tensor(_expect(storage, _Storage), _expect(offset, int), _expect(shape, tuple), _expect(strides, tuple))
    if len(shape) != len(strides) or len(shape) > _LARGEST_RANK:
        raise MalformedFileError(f"a tensor with {len(shape)} sizes and {len(strides)} strides")
    smallest = min([offset, *(_expect(size, int) - 1 for size in shape), *(_expect(step, int) for step in strides)])
    last = offset + sum((size - 1) * step for size, step in zip(shape, strides, strict=True))
    if smallest < 0 or last >= storage.elements or math.prod(shape) > storage.elements:
        raise MalformedFileError("a tensor that is not inside its storage")
    return tensor


def _read_storages(content: bytes, position: int, keys: Any, tensors: Mapping[str, _Tensor]) -> dict[str, NDArray[Any]]:
    """Return the storages of the tensors by key, as views of the content.

    Args:
        content: Content of the file.
        position: Position of the first storage.
        keys: Keys of the storages in their order.
        tensors: Tensors by name.

    Raises:
        MalformedFileError: Keys, sizes or types contradict one another, or the content is truncated or too long.
    """
    storages_of_tensors = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    if any(storages_of_tensors[tensor.storage.key] != tensor.storage for tensor in tensors.values()):
        raise MalformedFileError("a storage that is declared with two sizes or types")
    if sorted(_expect(key, str) for key in _expect(keys, list)) != sorted(storages_of_tensors):
        raise MalformedFileError("storages that are not those of the tensors")
    storages = {}
    for key in keys:
        storage, start = storages_of_tensors[key], position + _COUNT_BYTES
        elements = int.from_bytes(content[position:start], "little", signed=True)
        position = start + storage.elements * storage.dtype.itemsize
        if elements != storage.elements or position > len(content):
            raise MalformedFileError(f"a storage of {elements} elements in the place of {storage.elements}")
        storages[key] = np.frombuffer(content, storage.dtype, elements, start)
    if position != len(content):
        raise MalformedFileError(f"{len(content) - position} bytes after the last storage")
    return storages


def _view(tensor: _Tensor, storage: NDArray[Any]) -> NDArray[Any]:
    strides = [step * storage.itemsize for step in tensor.strides]
    return np.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.shape, strides, writeable=False)
