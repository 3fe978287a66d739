"""The versioned model repository on disk: `<root>/<model>/<version>/model.json`, the layout of TensorFlow Serving.

Publishing renames a complete folder into place, so names with a leading dot are unfinished copies and are skipped. A
folder without digests is a version only if it has a graph and a readable card. Signatures are verified on loading.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from components.shared.contracts import DIGESTS_FILE, ModelCard
from components.shared.errors import BadInputError, ContractError

GRAPH_FILE, CARD_FILE, EXAMPLES_FOLDER = "saved_model.pb", "model.json", "examples"
_ARTIFACT_VERSION = "1"
_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_VERSION = re.compile(r"[1-9][0-9]{0,17}")


def version_folder(root: Path, model: str, version: int) -> Path:
    """Return the folder of a version in a repository."""
    return root / model / str(version)


def artifact_folder(artifact: Path) -> Path:
    """Return the version folder in the evaluation's artifact `served`, which has version 1 until it is deployed."""
    return artifact / _ARTIFACT_VERSION


def read_card(folder: Path) -> ModelCard:
    """Read the model card of a version folder.

    Raises:
        ContractError: The card is missing, damaged or of another schema.
    """
    return ModelCard.read(folder / CARD_FILE)


def version_numbers(model_folder: Path) -> list[int]:
    """Return the version numbers in a model's folder in ascending order, complete or not; empty if it is missing."""
    return [int(path.name) for path in _numbered_paths(model_folder)]


def latest_version_folder(folder: Path) -> Path:
    """Return the version folder with the highest number, or the folder itself if it has none."""
    return next(reversed(_numbered_paths(folder)), folder)


def find_models(root: Path) -> dict[str, list[int]]:
    """Return the versions that have a card, by model, in ascending order."""
    models: dict[str, list[int]] = {}
    for card in sorted(root.glob(f"*/*/{CARD_FILE}")):
        version = card.parent.name
        if version.isdecimal():
            models.setdefault(card.parent.parent.name, []).append(int(version))
    return {model: sorted(versions) for model, versions in models.items()}


def require_models(root: Path) -> dict[str, list[int]]:
    """Return `find_models` of a repository that must not be empty.

    Raises:
        BadInputError: The repository has no model.
    """
    models = find_models(root)
    if not models:
        raise BadInputError(
            f"{root} contains no served model", f"<model>/<version>/{CARD_FILE}", "Publish one: make run."
        )
    return models


@dataclass(frozen=True)
class StoredVersion:
    """A version of a model in the repository.

    Attributes:
        model: Name of the model.
        version: Version number; higher is newer.
        folder: Folder of the SavedModel.
        stamp: Inode and modification time of the digests, or of the card of an unsigned model. A folder that replaces
            another one under the same number has another stamp.
    """

    model: str
    version: int
    folder: Path
    stamp: tuple[int, int]

    def card(self) -> ModelCard:
        """Read the model card.

        Raises:
            ContractError: See `read_card`.
        """
        return read_card(self.folder)


class Repository:
    """A model repository that can be served.

    Args:
        root: Folder with one folder per model; it need not exist yet.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def models(self) -> list[str]:
        """Return the sorted names of the models that have at least one version."""
        return sorted(name for name in _names_of_folders(self.root, _MODEL_NAME) if self.newest(name))

    def versions(self, model: str) -> Iterator[StoredVersion]:
        """Yield the versions of a model, newest first; none for an invalid or unknown name."""
        if not _MODEL_NAME.fullmatch(model):
            return
        for number in sorted(map(int, _names_of_folders(self.root / model, _VERSION)), reverse=True):
            stored_version = _stored_version(model, number, version_folder(self.root, model, number))
            if stored_version:
                yield stored_version

    def newest(self, model: str) -> StoredVersion | None:
        """Return the newest version of a model, if any."""
        return next(self.versions(model), None)


def _numbered_paths(folder: Path) -> list[Path]:
    paths = folder.iterdir() if folder.is_dir() else ()
    return sorted((path for path in paths if re.fullmatch("[0-9]+", path.name)), key=lambda path: int(path.name))


def _names_of_folders(parent: Path, pattern: re.Pattern[str]) -> list[str]:
    try:
        return [entry.name for entry in parent.iterdir() if pattern.fullmatch(entry.name) and entry.is_dir()]
    except OSError:
        return []


def _stored_version(model: str, number: int, folder: Path) -> StoredVersion | None:
    try:
        status = (folder / _marker_file(folder)).stat()
    except (OSError, ContractError):
        return None
    return StoredVersion(model, number, folder, (status.st_ino, status.st_mtime_ns))


def _marker_file(folder: Path) -> str:
    """Return the name of the file whose status identifies a version.

    Raises:
        ContractError: The version has no digests and is incomplete.
    """
    if (folder / DIGESTS_FILE).is_file():
        return DIGESTS_FILE
    if not (folder / GRAPH_FILE).is_file():
        raise ContractError(f"{folder} has no {GRAPH_FILE}")
    read_card(folder)
    return CARD_FILE
