"""Version numbers of models by the model ids in their answers."""

from pathlib import Path

from components.shared.contracts import DriftEvent
from components.shared.errors import ContractError
from components.shared.model_repository import find_models, read_card, version_folder

MAX_UNKNOWN = 1000


class ModelIds:
    """Versions of a repository by the model ids in their cards, which are read when an unknown id appears.

    Args:
        repository: Folder of the model repository.
    """

    def __init__(self, repository: Path) -> None:
        self._repository = repository
        self._versions: dict[tuple[str, str], int] = {}
        self._unknown: set[tuple[str, str]] = set()

    def forget_unknown(self) -> None:
        """Look for unknown ids again at their next event; a card may have been published meanwhile."""
        self._unknown.clear()

    def version_of(self, event: DriftEvent) -> int:
        """Return the version of an event; where it is 0, the version whose card has the event's model id."""
        key = (event.model, event.model_id)
        if event.version or not event.model_id or key in self._unknown:
            return event.version
        if key not in self._versions:
            self._read_cards(event.model)
        if key not in self._versions and len(self._unknown) < MAX_UNKNOWN:
            self._unknown.add(key)
        return self._versions.get(key, 0)

    def _read_cards(self, model: str) -> None:
        """Read the ids of all versions of a model; the newest of two versions with one id wins."""
        for version in find_models(self._repository).get(model, []):
            try:
                card = read_card(version_folder(self._repository, model, version))
            except ContractError:
                continue
            if card.model_id:
                self._versions[model, card.model_id] = version
