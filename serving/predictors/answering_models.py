"""Which version of a model gave an answer, decided by the id of the model in the answer.

In a rollout, a request to the stable predictor may be answered by a pod of the previous version, which ends within its
grace period. The deploy step therefore names all models that may answer; the answer names the one that did.
"""

import json
from collections.abc import Callable, Mapping

from components.shared.errors import BadConfigError
from serving.metrics import OTHER_MODELS
from serving.outputs import MAX_MODEL_ID_CHARACTERS

UNKNOWN_VERSION = 0
"""Version of an answer whose model the deploy step did not name."""
SHOWN_CHARACTERS = 12
_MOST_CHARACTERS, _MOST_REPORTS = 2**16, 100
_EXAMPLE = '{"<model id>": <version number>, ...}'


class AnsweringModels:
    """The versions of all models that may answer requests.

    Args:
        model: Name of the model.
        versions: Version by model id; the id "" stands for models without one. If it is empty, each
            answer is by the version that was requested.
        report: Function that takes a message at the first answer of each model other than the requested one.
    """

    def __init__(self, model: str, versions: Mapping[str, int], report: Callable[[str], None]) -> None:
        self._model, self._versions, self._report = model, versions, report
        self._reported: set[str] = set()

    def version_of(self, model_id: str, target: int) -> int:
        """Return the version that gave an answer; an answer of another version than the requested one is counted.

        Args:
            model_id: Id of the model in the answer, "" if it has none.
            target: Version that was requested.
        """
        version = self._look_up(model_id, target)
        if version != target:
            OTHER_MODELS.labels(self._model, str(version)).inc()
            self._report_once(model_id, version, target)
        return version

    def _look_up(self, model_id: str, target: int) -> int:
        if model_id in self._versions or not self._versions:
            return self._versions.get(model_id, target)
        has_no_id = not model_id and target not in self._versions.values()
        return target if has_no_id else UNKNOWN_VERSION

    def _report_once(self, model_id: str, version: int, target: int) -> None:
        if model_id in self._reported or len(self._reported) == _MOST_REPORTS:
            return
        self._reported.add(model_id)
        if version == UNKNOWN_VERSION:
            name = f"the model {model_id[:SHOWN_CHARACTERS]!r}" if model_id else "a model without an id"
            self._report(f"requests for version {target} are answered by {name}, which is not one of the versions")
        else:
            self._report(f"requests for version {target} are still answered by version {version}, whose pods end")


def parse_versions(text: str) -> dict[str, int]:
    """Parse the versions by model id from JSON; an empty text names none.

    Raises:
        BadConfigError: The text is not such an object.
    """
    try:
        versions = json.loads(text) if text and len(text) <= _MOST_CHARACTERS else ({} if not text else None)
    except (ValueError, RecursionError):
        versions = None
    if not isinstance(versions, dict) or not all(map(_is_entry, versions, versions.values())):
        raise BadConfigError(f"the model versions {text[:200]!r}", _EXAMPLE, "Set --model_versions.")
    return versions


def _is_entry(model_id: str, version: object) -> bool:
    return len(model_id) <= MAX_MODEL_ID_CHARACTERS and type(version) is int and version > UNKNOWN_VERSION
