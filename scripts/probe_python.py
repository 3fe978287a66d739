"""Print the version of the Python that runs this file, or why Taxonflow cannot use it (exit status 1).

The file is also run by old versions of Python; it uses only syntax that they know.
"""

import platform
import struct
import sys

MODULES = ("venv", "ssl", "zlib", "bz2", "lzma", "ctypes", "sqlite3")
"""Modules that distributions and own builds of Python may lack."""


def importable(module):  # type: ignore[no-untyped-def]
    """Return True if a module of the standard library, or pip, can be imported."""
    try:
        __import__(module)
    except ImportError:
        return False
    return True


def fault():  # type: ignore[no-untyped-def]
    """Return why this Python cannot be used; empty if it can."""
    name = platform.python_implementation() + " " + platform.python_version()
    if sys.version_info[:2] not in ((3, 11), (3, 12), (3, 13)) or platform.python_implementation() != "CPython":
        return name
    if struct.calcsize("P") != 8:
        return name + " in 32 bits"
    if sys.platform == "darwin" and platform.machine() != "arm64":
        return name + " for " + platform.machine() + ", but TensorFlow needs arm64 (Apple silicon)"
    if "t" in getattr(sys, "abiflags", ""):
        return name + ", free-threaded"
    missing = [module for module in MODULES if not importable(module)]
    if not (importable("ensurepip") or importable("pip") or "--uv" in sys.argv):
        missing.append("ensurepip")
    return name + " without " + ", ".join(missing) if missing else ""


if __name__ == "__main__":
    reason = fault()
    sys.stdout.write((reason or platform.python_version()) + "\n")
    sys.exit(1 if reason else 0)
