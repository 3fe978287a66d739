"""Served model that passed the gate and whose files match its digests: the input of every deployment."""

import re
from dataclasses import dataclass
from pathlib import Path

from components.shared.contracts import ModelCard
from components.shared.errors import BadConfigError, DeployError
from components.shared.model_repository import GRAPH_FILE, artifact_folder, read_card
from components.shared.signing import VERIFICATION_KEY, key_path, verify_folder

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True)
class VerifiedModel:
    """Served model that may be deployed.

    Attributes:
        folder: Version folder with `saved_model.pb`, as TensorFlow Serving loads it.
        uri: URI of the parent folder in the run's artifact store.
        name: Name of the model in the endpoint's URL.
        card: Model card.
        digest: Digest of all files, SHA-256 in hexadecimal.
    """

    folder: Path
    uri: str
    name: str
    card: ModelCard
    digest: str


def verify_model(artifact: Path, uri: str, name: str) -> VerifiedModel:
    """Check that a served model passed the gate, is complete and matches its digests.

    Args:
        artifact: Folder of the artifact, the parent of the version folder.
        uri: URI of the artifact in the run's artifact store.
        name: Name of the model in the endpoint's URL.

    Raises:
        BadConfigError: The name cannot be part of a URL.
        ContractError: The model card is missing or damaged, or a file does not match its digest or signature.
        DeployError: The gate rejected the model, the card has another name, or a file is missing.
    """
    if not _NAME.fullmatch(name):
        raise BadConfigError(f"model name {name!r}", "at most 63 letters, digits, '.', '_' and '-'", "Rename it.")
    folder = artifact_folder(artifact)
    card = read_card(folder)
    if card.name != name:
        raise DeployError(f"the model card names {card.name!r}", repr(name), "Evaluate and deploy under one name.")
    if not card.gate.passed:
        reasons = "; ".join(card.gate.reasons) or "no reason given"
        raise DeployError(f"the gate rejected {name!r} ({reasons})", "a model that passed", "Train a better model.")
    _check_files(folder, card)
    return VerifiedModel(folder, uri, name, card, verify_folder(folder, key_path(VERIFICATION_KEY)))


def _check_files(folder: Path, card: ModelCard) -> None:
    """Raise DeployError if a file that the card or TensorFlow Serving requires is missing."""
    for name in (GRAPH_FILE, card.reference, *(example.file for example in card.examples)):
        if not (folder / name).is_file():
            raise DeployError(f"{folder} has no {name}", "a complete served model", "Run the evaluation again.")
