"""The predictor in this process: models of a repository, several versions of each side by side."""

import gc
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from components.shared.model_repository import Repository, StoredVersion
from serving.metrics import FAILED_LOADS, VERSION
from serving.predictors.loaded_version import LoadedVersion
from serving.protocol import RequestError, status_answer

KEPT_VERSIONS = 2


class LocalPredictor:
    """Keeps the newest versions of every model of a repository in memory.

    One thread calls `refresh` (`serving.predictors.watcher`), any thread the rest. Requests hold the version that they
    started with, so a version that is replaced finishes its work.

    Args:
        repository: is looked at by `refresh`.
        workers: run the graphs.
        report: takes a sentence whenever a version comes, goes or cannot come.
        public_key: of the signatures that versions must have; None is content with their digests.
    """

    def __init__(
        self,
        repository: Repository,
        workers: Executor,
        report: Callable[[str], None],
        public_key: Path | None = None,
    ) -> None:
        self.repository, self.workers, self.report, self.public_key = repository, workers, report, public_key
        self._loaded: dict[str, dict[int, LoadedVersion]] = {}
        self._newest: dict[str, int] = {}
        self._failures: dict[StoredVersion, str] = {}
        self._looked_once = False
        self._lock = threading.Lock()

    def refresh(self) -> None:
        """Loads what is new in the repository; what is being served goes on until its successor is warm."""
        for model in sorted({*self.repository.models(), *self.names()}):
            chosen = self._newest_usable(model)
            if chosen:
                self._serve(chosen)
        self._failures = {stored: reason for stored, reason in self._failures.items() if stored.folder.is_dir()}
        self._looked_once = True

    def _newest_usable(self, model: str) -> LoadedVersion | None:
        for stored in self.repository.versions(model):
            loaded = self._loaded.get(model, {}).get(stored.version)
            if loaded and loaded.stored == stored:
                return loaded
            if stored not in self._failures and (loaded := self._load(stored)):
                return loaded
        return None

    def _load(self, stored: StoredVersion) -> LoadedVersion | None:
        try:
            return LoadedVersion(stored, self.workers, self.public_key)
        except Exception as error:  # a damaged SavedModel can raise anything; the old version goes on being served
            reason = str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
            self._failures[stored] = reason
            FAILED_LOADS.labels(stored.model).inc()
            self.report(f"{stored.model} version {stored.version} cannot be loaded and is passed over: {reason}")
            return None

    def _serve(self, chosen: LoadedVersion) -> None:
        model, number = chosen.stored.model, chosen.version
        loaded = self._loaded.get(model, {})
        if self._newest.get(model) == number and loaded.get(number) is chosen:
            return
        alive = {known: old for known, old in loaded.items() if old.stored.folder.is_dir()} | {number: chosen}
        kept = {number, *sorted(alive, reverse=True)[:KEPT_VERSIONS]}
        with self._lock:
            self._loaded[model] = {known: old for known, old in alive.items() if known in kept}
            self._newest[model] = number
        VERSION.labels(model).set(number)
        self.report(f"{model} version {number} is being served")
        del loaded, alive
        gc.collect()  # graphs hold themselves in cycles

    def names(self) -> list[str]:
        """Names of the models that answer."""
        with self._lock:
            return sorted(self._newest)

    async def version_of(self, model: str, version: int | None) -> LoadedVersion:
        """Returns a loaded version, or the newest for None.

        Raises:
            RequestError: 404 for an unknown model or version, 503 before the repository was read for the first time.
        """
        with self._lock:
            loaded = self._loaded.get(model, {})
            found = loaded.get(self._newest.get(model, 0) if version is None else version)
        if found:
            return found
        if not self._looked_once:
            raise RequestError(503, "the models are still being loaded", "", "Ask again in a few seconds.")
        if loaded:
            raise RequestError(404, f"version {version} of {model} is not loaded", f"one of {sorted(loaded)}")
        expected = ", ".join(self.names()) or "none, for the repository holds no model yet"
        raise RequestError(404, f"the model {model[:64]!r} is not known", expected)

    async def status(self, model: str, version: int | None) -> dict[str, Any]:
        """Answers a status request; raises RequestError as `version_of` does."""
        failed = {
            stored.version: ("END", reason) for stored, reason in list(self._failures.items()) if stored.model == model
        }
        if version not in failed and (version is not None or not failed):
            await self.version_of(model, version)
        with self._lock:
            states = failed | dict.fromkeys(self._loaded.get(model, {}), ("AVAILABLE", ""))
        return status_answer({known: state for known, state in states.items() if version in (None, known)})

    async def metadata(self, model: str, version: int | None) -> dict[str, Any]:
        """Answers a metadata request; raises RequestError as `version_of` does."""
        found = await self.version_of(model, version)
        return {
            "model_spec": {"name": model, "signature_name": "", "version": str(found.version)},
            "metadata": {"signature_def": {"signature_def": found.signature_def}},
        }

    async def not_ready_because(self) -> str | None:
        """Says why no request can be answered, or None."""
        if self.names():
            return None
        if not self._looked_once:
            return "the models are still being loaded"
        return f"{self.repository.root} holds no model that can be served"
