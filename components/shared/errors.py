"""Exceptions of Taxonflow, and their exit codes.

    TaxonflowError
    |-- BadInputError             Unusable input from the user (exit code 2)
    |   |-- BadSourceFileError    One unusable source file: it is rejected by name, the step continues
    |   |-- BadImageError         One unusable image or upload: it is rejected by name, or with HTTP status 400
    |   |-- BadManifestError      A list of specimens from which no data set can be built
    |   `-- BadConfigError        An invalid parameter, preset, key or environment variable
    |-- ContractError             An artifact that is damaged or has another schema version
    |-- TrainingError             A training that cannot continue (NaN loss, a missing class, a corrupt shard)
    `-- DeployError               A model that could not be published or rolled out

Each message names the value, the expectation and the remedy.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from components.shared.progress import log, quiet_libraries

EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
_DISK_ERRORS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ENOTDIR, errno.EACCES, errno.EPERM}
)
"""System errors that a user can correct. Any other OSError keeps its traceback."""


class TaxonflowError(Exception):
    """Base class of all exceptions of Taxonflow.

    Args:
        problem: The invalid value or state, in words that the user recognizes.
        expectation: A description of valid values or states.
        remedy: What the user should do, as an imperative sentence.
    """

    def __init__(self, problem: str, expectation: str = "", remedy: str = "") -> None:
        self.problem = problem
        sentence = f"{problem}: expected {expectation}" if expectation else problem
        super().__init__(f"{sentence}. {remedy}" if remedy else sentence)


class BadInputError(TaxonflowError):
    """Unusable input from the user."""


class BadSourceFileError(BadInputError):
    """One unusable source file, a volume or a photograph; it is rejected by name and the step continues."""


class BadImageError(BadInputError):
    """One unusable image or upload."""


class BadManifestError(BadInputError):
    """A list of specimens from which no data set can be built."""


class BadConfigError(BadInputError):
    """An invalid parameter, preset, key or environment variable."""


class ContractError(TaxonflowError):
    """An artifact that is damaged or has another schema version."""


class TrainingError(TaxonflowError):
    """A training that cannot continue."""


class DeployError(TaxonflowError):
    """A model that could not be published or rolled out."""


def exit_code_of(error: TaxonflowError) -> int:
    """Return the exit code of a command: EXIT_BAD_INPUT for bad input, EXIT_FAILED otherwise."""
    return EXIT_BAD_INPUT if isinstance(error, BadInputError) else EXIT_FAILED


@contextmanager
def exit_on_error(step: str) -> Iterator[None]:
    """End a pipeline step with one line instead of a traceback, and limit the logs of libraries to warnings.

    The line goes to standard output, the log of a task in Kubeflow, as ``[step] bad_input: ...`` or
    ``[step] failed: ...``; `pipelines.local` parses it.

    Args:
        step: Name of the step.

    Raises:
        SystemExit: With EXIT_BAD_INPUT for bad input; with EXIT_FAILED for any other TaxonflowError and for a full or
            read-only disk.
    """
    quiet_libraries()
    try:
        yield
    except BadInputError as error:
        log(step, f"bad_input: {error}")
        raise SystemExit(EXIT_BAD_INPUT) from error
    except TaxonflowError as error:
        log(step, f"failed: {error}")
        raise SystemExit(EXIT_FAILED) from error
    except OSError as error:
        if error.errno not in _DISK_ERRORS:
            raise
        log(step, f"failed: {_describe_disk_error(error)}")
        raise SystemExit(EXIT_FAILED) from error


def _describe_disk_error(error: OSError) -> str:
    subject = f"{error.filename} cannot be used" if error.filename else "a file cannot be written"
    reason = os.strerror(error.errno or 0).lower()
    return f"{subject} ({reason}). Free disk space or choose a writable folder, and run the step again"
