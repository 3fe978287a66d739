"""Waiting for the cluster during a rollout, with one log line for each reason and one every 30 seconds."""

import re
import time
from collections.abc import Callable

from components.deploy.canary.settings import Retries
from components.deploy.kserve.client import Cluster, UnreachableError
from components.deploy.kserve.inference_service import ModelVersion
from components.deploy.kserve.mode import Mode, Service
from components.shared.errors import DeployError
from components.shared.progress import log

LINE_INTERVAL_S = 30.0
_RANDOM_SUFFIX = re.compile(r'-[a-z0-9]{5}(?=")')


class SupersededError(DeployError):
    """Another writer changed the model of the service during the rollout."""


class ReasonLog:
    """Log of the reason for which a step waits: a line when it changes, and every LINE_INTERVAL_S.

    Args:
        limit_s: Time limit of the step in seconds, for the lines.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s, self._start = limit_s, time.monotonic()
        self._last, self._last_at = "", -LINE_INTERVAL_S

    def add(self, reason: str) -> None:
        """Print the reason unless the last line is recent and has the same, apart from random suffixes of pod names."""
        now = time.monotonic()
        key = _RANDOM_SUFFIX.sub("", reason)
        if key == self._last and now - self._last_at < LINE_INTERVAL_S:
            return
        self._last, self._last_at = key, now
        log("deploy", f"waiting, {now - self._start:.0f} of at most {self._limit_s:g} s: {reason}")


class Waiter:
    """Waits for a state of an InferenceService during the rollout of a version.

    Args:
        cluster: Cluster of the InferenceService.
        name: Name of the InferenceService.
        version: Version that is rolled out.
        retries: Waiting times.
    """

    def __init__(self, cluster: Cluster, name: str, version: ModelVersion, retries: Retries) -> None:
        self._cluster, self._name, self._version, self._retries = cluster, name, version, retries

    def wait(self, mode: Mode, service: Service, blocker: Callable[[Service], str]) -> Service:
        """Return the service once `blocker` returns "" for it twice in a row; retry on lost connections.

        Raises:
            DeployError: The timeout was exceeded.
            SupersededError: The situation changed while waiting.
        """
        deadline = time.monotonic() + self._retries.timeout
        reasons = ReasonLog(self._retries.timeout)
        while True:
            try:
                reason = blocker(service)
                latest = self._cluster.service(self._name)
                self._check_situation(mode, service, latest)
                if not reason and latest is not None and not blocker(latest):
                    return latest
                service = latest or service
            except UnreachableError as error:
                reason = str(error)
            if time.monotonic() >= deadline:
                raise DeployError(
                    f"version {self._version.version} of {self._name} was not ready after "
                    f"{self._retries.timeout:g} s ({reason})",
                    remedy="Correct the cause and run the step again.",
                )
            if reason:
                reasons.add(reason)
            time.sleep(self._retries.pause)

    def superseded_error(self) -> SupersededError:
        """Return the error of a rollout whose service was changed by another writer."""
        return SupersededError(
            f"{self._name} was deleted or has another model than {self._version.uri}; "
            "the rollout stopped without changes"
        )

    def _check_situation(self, mode: Mode, before: Service, latest: Service | None) -> None:
        if latest is None or mode.situation(latest, self._version) is not mode.situation(before, self._version):
            raise self.superseded_error()
