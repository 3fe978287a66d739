"""Compilation of inner loops with Numba."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from numba import njit

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def compiled(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Compile a function when it is first called with new types, and cache the code on disk if possible.

    Numba tries `NUMBA_CACHE_DIR`, the folder of the source file and the user's cache folder, and raises if none is
    writable, as in a container with a read-only file system. Then every process compiles again.
    """
    try:
        return njit(cache=True, error_model="numpy")(function)
    except RuntimeError:
        return njit(error_model="numpy")(function)
