"""Where the keys lie that served models are signed and verified with; never in the repository, nor in a pipeline."""

import os
from pathlib import Path

from components.shared.errors import BadConfigError

SIGNING_KEY = ("TAXONFLOW_SIGNING_KEY", Path("/var/taxonflow/signing/private.pem"))
VERIFICATION_KEY = ("TAXONFLOW_VERIFICATION_KEY", Path("/var/taxonflow/verification/public.pem"))
"""Where a key lies: the variable that says so, and the path where a pod finds it when its namespace has one."""


def key_path(place: tuple[str, Path]) -> Path | None:
    """Returns where a key lies, or None if there is none.

    Args:
        place: SIGNING_KEY or VERIFICATION_KEY.

    Raises:
        BadConfigError: the variable names a file that does not exist.
    """
    variable, mounted = place
    named = os.environ.get(variable)
    if not named:
        return mounted if mounted.is_file() else None
    if not Path(named).is_file():
        raise BadConfigError(f"{variable} names {named}, which does not exist", "a PEM file with an EC key")
    return Path(named)
