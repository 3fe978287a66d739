"""Every error that Taxonflow raises on purpose.

    TaxonflowError
    |-- BadInputError         what the user gave cannot be used (exit code 2)
    |   |-- BadVolumeError    one volume: refused by name, the rest goes on
    |   |-- BadImageError     one image or upload: refused by name, or HTTP 400
    |   |-- BadManifestError  the list of specimens cannot make a data set
    |   `-- BadConfigError    a parameter or preset
    |-- ContractError         an artifact is damaged or of another schema version
    |-- TrainingError         training cannot go on (NaN loss, a missing class, a corrupt shard)
    `-- DeployError           the model could not be published or rolled out

Each message says what was found, what was expected, and what to do.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_REFUSED = 3


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


class BadVolumeError(BadInputError):
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


@contextmanager
def one_sentence(step: str) -> Iterator[None]:
    """Ends a pipeline step with one sentence instead of a traceback.

    The sentence goes to standard output, where Kubeflow shows a task's log, as ``[step] bad_input: ...`` or
    ``[step] failed: ...``; `pipelines.run` reads it from there.

    Args:
        step: the step's name.

    Raises:
        SystemExit: with EXIT_BAD_INPUT for bad input, EXIT_FAILED for any other TaxonflowError.
    """
    try:
        yield
    except TaxonflowError as error:
        outcome, code = ("bad_input", EXIT_BAD_INPUT) if isinstance(error, BadInputError) else ("failed", EXIT_FAILED)
        sys.stdout.write(f"[{step}] {outcome}: {error}\n")
        sys.stdout.flush()
        raise SystemExit(code) from error
