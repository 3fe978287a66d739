"""What the serving commands share as processes: how they are told numbers, speak, listen and end.

Nothing slow is imported here, so that a signal or an occupied port is met before it.
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
from types import FrameType
from typing import Any

from components.shared.errors import BadConfigError, TaxonflowError, exit_code_of


def number(text: str, kind: type[int] | type[float], least: float, most: float) -> float:
    """Reads a number of the command line; raises ArgumentTypeError for one that is none or beyond its bounds."""
    try:
        value = kind(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"{text!r}, expected {least:g} to {most:g}")
    return value


def say(sentence: str) -> None:
    """Writes a line for the person who started the server."""
    sys.stdout.write(f"[serve] {sentence}\n")
    sys.stdout.flush()


def quieten_libraries() -> None:
    """Leaves only errors of kserve, uvicorn and TensorFlow; called before TensorFlow is imported."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("kserve").addHandler(logging.StreamHandler())  # else kserve sets up its own, which say much
    for name, level in (("kserve", logging.ERROR), ("uvicorn", logging.ERROR), ("absl", logging.ERROR)):
        logging.getLogger(name).setLevel(level)


@contextmanager
def silent_stderr() -> Iterator[None]:
    """Swallows what is written to standard error, by C++ too, unless the block fails.

    TensorFlow's log level does not reach what absl says before its initialisation.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as swallowed:
        os.dup2(swallowed.fileno(), 2)
        try:
            yield
        except Exception:
            swallowed.seek(0)
            os.write(kept, swallowed.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def listen(host: str, port: int) -> socket.socket:
    """Binds the address before anything slow happens.

    Args:
        host: an address of this machine.
        port: 0 takes any free one.

    Raises:
        BadConfigError: the address is taken or not of this machine.
    """
    try:
        return socket.create_server(
            (host, port), backlog=512, family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
    except (OSError, OverflowError) as error:
        number = getattr(error, "errno", None) or 0
        raise BadConfigError(
            f"{host}:{port} cannot be listened to ({os.strerror(number) if number > 0 else error})",
            "a free port",
            "Stop what uses it, or choose another one with --port.",
        ) from error


def _leave(_number: int, _frame: FrameType | None) -> Any:
    """Ends the process; uvicorn has handlers of its own and comes here when all requests are answered."""
    raise SystemExit(0)


def end_in_one_sentence(command: Callable[[argparse.Namespace], None], options: argparse.Namespace) -> int:
    """Runs a command and returns its exit code; what goes wrong on purpose ends in one sentence.

    Raises:
        SystemExit: 0 after SIGTERM or SIGINT.
    """
    quieten_libraries()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    try:
        command(options)
    except TaxonflowError as error:
        sys.stderr.write(f"{error}\n")
        return exit_code_of(error)
    return 0
