"""The number of connections, within the file descriptors of the process."""

import argparse
import resource
from functools import partial

from serving.command import bounded_number, report
from serving.limits import Limits

BACKLOG = 128
"""Most connections that wait to be accepted; all of them may be accepted before the first one is counted."""
SURPLUS_CONNECTIONS = 32
"""Connections above `Limits.max_connections` on which only health checks and metrics are answered."""
_OTHER_DESCRIPTORS = 256
_FEWEST_CONNECTIONS = 16


def add_connection_option(parser: argparse.ArgumentParser) -> None:
    """Add the option for the number of connections."""
    parser.add_argument(
        "--max_connections",
        "--max-connections",
        type=partial(bounded_number, kind=int, least=1, most=65_536),
        default=Limits().max_connections,
        metavar="N",
        help="most connections; a further one replaces an idle one, or gets 503 (%(default)s)",
    )


def fit_descriptors(limits: Limits) -> Limits:
    """Raise the process's limit of open files for the connections; return limits with fewer if that is not allowed."""
    overhead = SURPLUS_CONNECTIONS + BACKLOG + _OTHER_DESCRIPTORS
    required_files = limits.max_connections + overhead
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= required_files:
        return limits
    available = required_files if hard == resource.RLIM_INFINITY else min(hard, required_files)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (available, hard))
    except (OSError, ValueError):
        available = soft
    if available >= required_files:
        return limits
    connections = max(_FEWEST_CONNECTIONS, available - overhead)
    report(f"{available} open files are allowed (ulimit -n): at most {connections} connections")
    return limits.model_copy(update={"max_connections": connections})
