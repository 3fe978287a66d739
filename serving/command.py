"""Functions of both server commands: options, messages, sockets, signals and exit codes.

No slow module is imported here, so that signals and occupied ports are handled before TensorFlow is loaded.
"""

import argparse
import logging
import math
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

from components.shared.errors import BadConfigError, TaxonflowError, exit_code_of
from components.shared.progress import log

report = partial(log, "serve")
"""Print a message of the server."""


def bounded_number(text: str, kind: type[int] | type[float], least: float, most: float) -> float:
    """Parse a number of the command line; raises ArgumentTypeError if it is invalid or out of range."""
    try:
        value = kind(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"{text!r}, expected {least:g} to {most:g}")
    return value


def limit_library_logs() -> None:
    """Log only errors of kserve, uvicorn and TensorFlow; call it before TensorFlow is imported."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("kserve").addHandler(logging.StreamHandler())  # otherwise kserve adds its own, verbose handlers
    for name, level in (("kserve", logging.ERROR), ("uvicorn", logging.ERROR), ("absl", logging.ERROR)):
        logging.getLogger(name).setLevel(level)


@contextmanager
def suppressed_stderr() -> Iterator[None]:
    """Discard standard error in the block, including that of C++, unless the block fails.

    TensorFlow's log level does not apply to messages that absl writes before its initialisation.
    """
    sys.stderr.flush()
    original = os.dup(2)
    with tempfile.TemporaryFile() as buffer:
        os.dup2(buffer.fileno(), 2)
        try:
            yield
        except Exception:
            buffer.seek(0)
            os.write(original, buffer.read())
            raise
        finally:
            os.dup2(original, 2)
            os.close(original)


def listen(host: str, port: int) -> socket.socket:
    """Bind an address.

    Args:
        host: Address of this machine.
        port: Port, 0 for any free one.

    Raises:
        BadConfigError: The address is in use or does not belong to this machine.
    """
    try:
        return socket.create_server(
            (host, port), backlog=512, family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
    except (OSError, OverflowError) as error:
        number = getattr(error, "errno", None) or 0
        raise BadConfigError(
            f"cannot listen on {host}:{port} ({os.strerror(number) if number > 0 else error})",
            "a free port",
            "Stop the program that uses the port, or set --port to another one.",
        ) from error


def _exit(_number: int, _frame: FrameType | None) -> Any:
    """End the process; uvicorn handles the signal first and calls this once all requests are answered."""
    raise SystemExit(0)


def run_command(command: Callable[[argparse.Namespace], None], options: argparse.Namespace) -> int:
    """Run a command and return its exit code; a TaxonflowError is printed as one sentence.

    Raises:
        SystemExit: 0 after SIGTERM or SIGINT.
    """
    limit_library_logs()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _exit)
    try:
        command(options)
    except TaxonflowError as error:
        sys.stderr.write(f"{error}\n")
        return exit_code_of(error)
    return 0
