"""Run a program whose system calls for links, locks and permissions the kernel refuses, as exFAT and SMB do.

Usage: python tests/limited_system.py errors-by-number-of-the-call program arguments...
"""

import ctypes
import errno
import json
import os
import platform
import struct
import sys
from collections.abc import Mapping, Sequence

AVAILABLE = sys.platform == "linux" and platform.machine() == "x86_64"
LINK, LINK_AT, LOCK, CHANGE_MODE, CHANGE_MODE_OF_FILE, CHANGE_MODE_AT, CHANGE_MODE_AT_2 = 88, 266, 73, 90, 91, 268, 452
LINKS_AND_LOCKS = {LOCK: errno.ENOLCK, LINK: errno.EPERM, LINK_AT: errno.EPERM}
MODES = dict.fromkeys((CHANGE_MODE, CHANGE_MODE_OF_FILE, CHANGE_MODE_AT, CHANGE_MODE_AT_2), errno.EPERM)
"""Calls that change permissions; the sockets of worker processes in TMPDIR need them."""
_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER_MODE = 38, 22, 2
_LOAD, _JUMP_IF_EQUAL, _RETURN, _ERROR, _ALLOW = 0x20, 0x15, 0x06, 0x00050000, 0x7FFF0000


class Program(ctypes.Structure):
    """Filter program of the kernel: number and address of its instructions."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def refuse_calls(refusals: Mapping[int, int]) -> None:
    """Refuse the calls in this process and in all that it starts."""
    code = struct.pack("HBBI", _LOAD, 0, 0, 0)
    for call, error in refusals.items():
        code += struct.pack("HBBI", _JUMP_IF_EQUAL, 0, 1, call) + struct.pack("HBBI", _RETURN, 0, 0, _ERROR | error)
    code += struct.pack("HBBI", _RETURN, 0, 0, _ALLOW)
    library = ctypes.CDLL(None, use_errno=True)
    for arguments in (
        (_NO_NEW_PRIVILEGES, 1, 0, 0, 0),
        (_SECCOMP, _FILTER_MODE, ctypes.byref(Program(len(code) // 8, code)), 0, 0),
    ):
        if library.prctl(*arguments):
            raise OSError(ctypes.get_errno(), "no filter of system calls")


def limited(command: Sequence[str], refusals: Mapping[int, int]) -> list[str]:
    """Return a command that runs another one with refused calls."""
    return [sys.executable, __file__, json.dumps(dict(refusals)), *command]


if __name__ == "__main__":
    refuse_calls({int(call): error for call, error in json.loads(sys.argv[1]).items()})
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606
