"""The folder for checkpoints on a volume, checked before a training starts."""

import os
import tempfile
from pathlib import Path

from components.shared.errors import BadConfigError


def check_checkpoint_folder(folder: str) -> None:
    """Check that files can be written into a folder.

    Args:
        folder: Folder for checkpoints; empty for none.

    Raises:
        BadConfigError: It is missing or cannot be written.
    """
    if not folder:
        return
    try:
        with tempfile.TemporaryFile(dir=Path(folder)):
            pass
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise BadConfigError(
            f"the folder for checkpoints, {folder}, cannot be written ({reason})",
            f"a volume on which user {os.getuid()} may create files",
            "Give the root folder of the claim to this user once, as docs/guides/train.md describes.",
        ) from error
