"""How the inner loops are compiled."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from numba import njit

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def compiled(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Compiles a function when it is first called with new types; the code is kept on disk where that can be written.

    Numba looks for a place beside the source, in `NUMBA_CACHE_DIR` and in the user's cache folder, and gives up when it
    finds none, as in a container with a read-only file system. Then each process compiles for itself.
    """
    try:
        return njit(cache=True, error_model="numpy")(function)
    except RuntimeError:
        return njit(error_model="numpy")(function)
