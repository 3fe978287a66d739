"""Divides requests between the predictor and a canary beside it.

In KServe's Standard mode nobody else can: the weights of `spec.canary` stand in the routes to predictors, and the
transformer asks the predictor's Service itself. One request goes to one model, so that the slices of a specimen that
come together are voted on by one. What the canary does not answer, for whatever reason, the predictor answers.
"""

import random
from dataclasses import dataclass

from serving.predictors.tensorflow_serving import RemotePredictor, RemoteVersion
from serving.preparation import Expectation
from serving.protocol import Input, Outputs, RequestError


@dataclass(frozen=True)
class CanaryVersion(RemoteVersion):
    """A version that a canary is asked for first.

    Attributes:
        canary: is asked first; `predictor` stands in for it.
    """

    canary: RemotePredictor

    async def predict(self, given: Input, signature_name: str) -> tuple[Outputs, int]:
        """Answers, and says with which version; raises the stable model's RequestError."""
        first = RemoteVersion(self.canary, self.canary.version or self.version, self.pinned)
        try:
            return await first.predict(given, signature_name)
        except RequestError:
            return await super().predict(given, signature_name)


class DividingPredictor(RemotePredictor):
    """A predictor that gives a canary its share of the requests without a version.

    Args:
        model: the models' name.
        urls: addresses of the predictor and of the canary.
        percent: of the requests that the canary answers.
        expectation: what the models want to see.
        timeout_s: of a request; the canary gets half of it, so that there is time to ask the predictor.
        versions: what drift events call the two models.
    """

    def __init__(
        self,
        model: str,
        urls: tuple[str, str],
        percent: int,
        expectation: Expectation,
        timeout_s: float,
        versions: tuple[int | None, int | None] = (None, None),
    ) -> None:
        super().__init__(model, urls[0], expectation, timeout_s, versions[0])
        self._canary = RemotePredictor(model, urls[1], expectation, timeout_s / 2, versions[1])
        self._percent = percent

    async def version_of(self, model: str, version: int | None) -> RemoteVersion:
        """Returns a version as RemotePredictor does, or the canary's in its share of the calls for None."""
        stable = await super().version_of(model, version)
        if version is not None or random.random() * 100 >= self._percent:
            return stable
        return CanaryVersion(stable.predictor, stable.version, stable.pinned, self._canary)
