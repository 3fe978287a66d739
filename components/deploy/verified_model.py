"""What a deployment starts from: a served model that passed its gate, and where it lies."""

import re
from dataclasses import dataclass
from pathlib import Path

from components.shared.contracts import ModelCard
from components.shared.errors import BadConfigError, DeployError
from components.shared.model_repository import GRAPH_FILE, artifact_folder, read_card
from components.shared.signing import VERIFICATION_KEY, key_path, verify_folder

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True)
class Publication:
    """A served model on its way to users.

    Attributes:
        folder: the version folder with `saved_model.pb`, as TensorFlow Serving loads it.
        uri: where the folder's parent lies in the run's artifact store.
        name: the model's name in the endpoint's address.
        card: its model card.
        digest: of all its files, SHA-256 in hexadecimal.
    """

    folder: Path
    uri: str
    name: str
    card: ModelCard
    digest: str


def open_publication(served: Path, uri: str, name: str) -> Publication:
    """Opens a served model and checks that it may reach users.

    Args:
        served: the artifact's folder, the parent of the version folder.
        uri: the artifact's address in the run's artifact store.
        name: the model's name in the endpoint's address.

    Raises:
        BadConfigError: the name cannot stand in an address.
        ContractError: the model card is missing or damaged, or a file is not what was signed.
        DeployError: the gate refused the model, the card names another model, or a file is missing.
    """
    if not _NAME.fullmatch(name):
        raise BadConfigError(f"model name {name!r}", "at most 63 letters, digits, '.', '_' and '-'", "Rename it.")
    folder = artifact_folder(served)
    card = read_card(folder)
    if card.name != name:
        raise DeployError(f"the model card names {card.name!r}", repr(name), "Evaluate and deploy under one name.")
    if not card.gate.passed:
        reasons = "; ".join(card.gate.reasons) or "no reason given"
        raise DeployError(f"the gate refused {name!r} ({reasons})", "a model that passed", "Train a better one.")
    _check_files(folder, card)
    return Publication(folder, uri, name, card, verify_folder(folder, key_path(VERIFICATION_KEY)))


def _check_files(folder: Path, card: ModelCard) -> None:
    """Raises DeployError when a file that the card or TensorFlow Serving needs is missing."""
    needed_files: tuple[str, ...] = (GRAPH_FILE, card.reference, *(known.file for known in card.examples))
    for needed in needed_files:
        if not (folder / needed).is_file():
            raise DeployError(f"{folder} has no {needed}", "a complete served model", "Run the evaluation again.")
