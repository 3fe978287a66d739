"""Every error that Taxonflow raises on purpose.

    TaxonflowError
    |-- BadInputError         what the user gave cannot be used (exit code 2)
    |   |-- BadSourceFileError    one volume: refused by name, the rest goes on
    |   |-- BadImageError     one image or upload: refused by name, or HTTP 400
    |   |-- BadManifestError  the list of specimens cannot make a data set
    |   `-- BadConfigError    a parameter or preset
    |-- ContractError         an artifact is damaged or of another schema version
    |-- TrainingError         training cannot go on (NaN loss, a missing class, a corrupt shard)
    `-- DeployError           the model could not be published or rolled out

Each message says what was found, what was expected, and what to do.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from components.shared.progress import log

EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
_DISK_ERRORS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ENOTDIR, errno.EACCES, errno.EPERM}
)
"""What a user can mend; any other error of the system keeps its traceback."""


class TaxonflowError(Exception):
    """The root of the hierarchy.

    Args:
        found: the offending value or state, named so that the user recognises it.
        expected: what would have been right.
        remedy: what to do now, as an imperative.
    """

    def __init__(self, found: str, expected: str = "", remedy: str = "") -> None:
        self.found = found
        sentence = f"{found}: expected {expected}" if expected else found
        super().__init__(f"{sentence}. {remedy}" if remedy else sentence)


class BadInputError(TaxonflowError):
    """What the user gave cannot be used."""


class BadSourceFileError(BadInputError):
    """One volume cannot be used; it is refused by name and the rest goes on."""


class BadImageError(BadInputError):
    """One image or upload cannot be used."""


class BadManifestError(BadInputError):
    """The list of specimens cannot make a data set."""


class BadConfigError(BadInputError):
    """A parameter or a preset has a value that cannot work."""


class ContractError(TaxonflowError):
    """An artifact is damaged or was written by another schema version."""


class TrainingError(TaxonflowError):
    """Training cannot go on."""


class DeployError(TaxonflowError):
    """The model could not be published or rolled out."""


def exit_code_of(error: TaxonflowError) -> int:
    """Returns what a command ends with: EXIT_BAD_INPUT for bad input, else EXIT_FAILED."""
    return EXIT_BAD_INPUT if isinstance(error, BadInputError) else EXIT_FAILED


@contextmanager
def exit_on_error(step: str) -> Iterator[None]:
    """Ends a pipeline step with one sentence instead of a traceback.

    The sentence goes to standard output, where Kubeflow shows a task's log, as ``[step] bad_input: ...`` or
    ``[step] failed: ...``; `pipelines.run` reads it from there.

    Args:
        step: the step's name.

    Raises:
        SystemExit: with EXIT_BAD_INPUT for bad input, EXIT_FAILED for any other TaxonflowError and for a full or
            unwritable disk.
    """
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
    where = f"{error.filename} cannot be used" if error.filename else "a file cannot be written"
    reason = os.strerror(error.errno or 0).lower()
    return f"{where} ({reason}). Make room or give another folder, and run the step again"
