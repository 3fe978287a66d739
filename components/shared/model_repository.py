"""The model repository on disk: `<root>/<model>/<version>/`, in the layout of TensorFlow Serving.

A version is published by renaming a complete folder. Folders whose name starts with a dot are unfinished and ignored;
so are folders without digests that lack a graph or a card. Digests and signatures are verified when a model is loaded.
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
        model: Name of the model.
        version: Number of the version; higher is newer.
        folder: Folder of the SavedModel.
        stamp: Inode and modification time of the digests, or of the model card if there are none. Another folder under
            the same number has another stamp.
    """

    model: str
    version: int
    folder: Path
    stamp: tuple[int, int]

    def card(self) -> ModelCard:
        """Read the model card.

        Raises:
            ContractError: If the card is missing or damaged.
        """
        return ModelCard.read(self.folder / CARD_FILE)


class Repository:
    """The models and versions below a folder that may not exist yet.

    Args:
        root: Folder with one folder per model.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def models(self) -> list[str]:
        """Return the sorted names of the models that have at least one version."""
        return sorted(name for name in _folder_names(self.root, _MODEL_NAME) if self.newest(name))

    def versions(self, model: str) -> Iterator[StoredVersion]:
        """Yield the versions of a model, newest first; none for an invalid name."""
        if not _MODEL_NAME.fullmatch(model):
            return
        for number in sorted(map(int, _folder_names(self.root / model, _VERSION)), reverse=True):
            version = _stored_version(model, number, self.root / model / str(number))
            if version:
                yield version

    def newest(self, model: str) -> StoredVersion | None:
        """Return the newest version of a model, or None."""
        return next(self.versions(model), None)


def _folder_names(parent: Path, pattern: re.Pattern[str]) -> list[str]:
    try:
        return [entry.name for entry in parent.iterdir() if pattern.fullmatch(entry.name) and entry.is_dir()]
    except OSError:
        return []


def _stored_version(model: str, number: int, folder: Path) -> StoredVersion | None:
    try:
        status = (folder / _stamp_file(folder)).stat()
    except (OSError, ContractError):
        return None
    return StoredVersion(model, number, folder, (status.st_ino, status.st_mtime_ns))


def _stamp_file(folder: Path) -> str:
    """Return the name of the file whose inode and time identify the folder; ContractError if it is incomplete."""
    if (folder / DIGESTS_FILE).is_file():
        return DIGESTS_FILE
    if not (folder / GRAPH_FILE).is_file():
        raise ContractError(f"{folder} has no {GRAPH_FILE}")
    ModelCard.read(folder / CARD_FILE)
    return CARD_FILE
