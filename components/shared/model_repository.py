"""The versioned repository of models on disk: `<root>/<model>/<version>/`, as TensorFlow Serving reads it.

Publishing renames a whole folder into place, so what has a dot in front is somebody's unfinished work and is passed
over, and so is what has no digests and lacks a part. Whether a folder is what was signed shows when it is loaded.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from components.shared.contracts import DIGESTS_FILE, ModelCard
from components.shared.errors import ContractError

GRAPH_FILE, CARD_FILE = "saved_model.pb", "model.json"
_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_VERSION = re.compile(r"[1-9][0-9]{0,17}")


@dataclass(frozen=True)
class StoredVersion:
    """A version of a model in the repository.

    Attributes:
        model: the model's name.
        version: its number; higher is newer.
        folder: where its SavedModel lies.
        stamp: inode and modification time of its digests, or of its card where there are none: another folder under the
            same number has another stamp.
    """

    model: str
    version: int
    folder: Path
    stamp: tuple[int, int]

    def card(self) -> ModelCard:
        """Reads the model card.

        Raises:
            ContractError: it is gone or damaged.
        """
        return ModelCard.read(self.folder / CARD_FILE)


class Repository:
    """Lists the versions below a folder that may not exist yet.

    Args:
        root: holds a folder for each model.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def models(self) -> list[str]:
        """Returns the names of the models that have at least one version, sorted."""
        return sorted(name for name in _names_of_folders(self.root, _MODEL_NAME) if self.newest(name))

    def versions(self, model: str) -> Iterator[StoredVersion]:
        """Yields the versions of a model, the newest first; none for a name that is no model's."""
        if not _MODEL_NAME.fullmatch(model):
            return
        for number in sorted(map(int, _names_of_folders(self.root / model, _VERSION)), reverse=True):
            stored = _stored_version(model, number, self.root / model / str(number))
            if stored:
                yield stored

    def newest(self, model: str) -> StoredVersion | None:
        """Returns the newest version of a model, if any."""
        return next(self.versions(model), None)


def _names_of_folders(parent: Path, pattern: re.Pattern[str]) -> list[str]:
    try:
        return [entry.name for entry in parent.iterdir() if pattern.fullmatch(entry.name) and entry.is_dir()]
    except OSError:
        return []


def _stored_version(model: str, number: int, folder: Path) -> StoredVersion | None:
    try:
        status = (folder / _marking_file(folder)).stat()
    except (OSError, ContractError):
        return None
    return StoredVersion(model, number, folder, (status.st_ino, status.st_mtime_ns))


def _marking_file(folder: Path) -> str:
    """Returns the file whose change makes it another version; raises ContractError for half a version."""
    if (folder / DIGESTS_FILE).is_file():
        return DIGESTS_FILE
    if not (folder / GRAPH_FILE).is_file():
        raise ContractError(f"{folder} has no {GRAPH_FILE}")
    ModelCard.read(folder / CARD_FILE)
    return CARD_FILE
