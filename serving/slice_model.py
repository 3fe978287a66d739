"""The kserve Model that stands in front of a predictor.

It checks and segments the uploaded slices, asks the predictor, answers for each slice and each named specimen, and
leaves a drift event for each slice. The predictor is either in this process (`serving.predictors.local`) or
TensorFlow Serving over HTTP (`serving.predictors.tensorflow_serving`).
"""

import asyncio
import time
import uuid
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Protocol

import kserve

from components.shared.contracts import DriftEvent
from serving.drift_events import AnsweredSlice, EventRecorder
from serving.metrics import SLICES
from serving.preparation import Expectation, PreparedSlice, prepare_slices
from serving.protocol import Input, Limits, Outputs, PredictRequest, predict_answer
from serving.votes import specimen_votes


class PredictorVersion(Protocol):
    """One version of a model that stays usable as long as somebody holds it."""

    @property
    def expectation(self) -> Expectation:
        """What it wants to see."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Species in the order of the scores, or () where they are not known."""

    async def predict(self, given: Input, signature_name: str) -> tuple[Outputs, int]:
        """Answers, and says the number of the version that did; raises RequestError."""


class Predictor(Protocol):
    """Models by name, each with versions."""

    def names(self) -> list[str]:
        """Names of the models that answer."""

    async def version_of(self, model: str, version: int | None) -> PredictorVersion:
        """Returns a version, or the newest for None; raises RequestError 404 or 503."""

    async def status(self, model: str, version: int | None) -> dict[str, Any]:
        """Answers a status request; raises RequestError."""

    async def metadata(self, model: str, version: int | None) -> dict[str, Any]:
        """Answers a metadata request; raises RequestError."""

    async def not_ready_because(self) -> str | None:
        """Says why no request can be answered, or None."""


@dataclass(frozen=True)
class Prepared:
    """A request between preprocess and predict: it stays with the version that it was prepared for."""

    request: PredictRequest
    slices: list[PreparedSlice]
    given: Input
    answering: PredictorVersion


@dataclass(frozen=True)
class Answered:
    """A request between predict and postprocess."""

    prepared: Prepared
    outputs: Outputs
    version: int


class SliceTransformer(kserve.Model):
    """Answers the predict requests of one model.

    Args:
        name: the model's name.
        predictor: answers for prepared slices.
        workers: run what would block the event loop.
        limits: of a request.
        recorder: takes the drift events, if they are wanted.
    """

    def __init__(
        self, name: str, predictor: Predictor, workers: Executor, limits: Limits, recorder: EventRecorder | None = None
    ) -> None:
        super().__init__(name)
        self.predictor, self.workers, self.limits, self.recorder = predictor, workers, limits, recorder
        self.ready = True

    async def preprocess(self, request: PredictRequest, _headers: dict[str, str] | None = None) -> Prepared:
        """Prepares the slices for the version that will answer; raises RequestError."""
        answering = await self.predictor.version_of(self.name, request.version)
        if request.crops is not None:
            return Prepared(request, [], request.crops, answering)
        slices = await asyncio.get_running_loop().run_in_executor(
            self.workers, prepare_slices, request.instances, answering.expectation, self.limits.max_pixels
        )
        return Prepared(request, slices, [prepared.image for prepared in slices], answering)

    async def predict(self, prepared: Prepared, _headers: dict[str, str] | None = None) -> Answered:
        """Asks the predictor; raises RequestError."""
        return Answered(prepared, *await prepared.answering.predict(prepared.given, prepared.request.signature_name))

    async def postprocess(self, answered: Answered, _headers: dict[str, str] | None = None) -> dict[str, Any]:
        """Builds the answer and leaves the drift events; crops leave none, since a descriptor wants the whole slice."""
        prepared, outputs = answered.prepared, answered.outputs
        SLICES.labels(self.name, str(answered.version)).inc(len(outputs.species))
        if self.recorder:
            self._record(answered, self.recorder)
        specimens = [instance.specimen for instance in prepared.request.instances]
        votes = specimen_votes(specimens, outputs, prepared.answering.classes)
        return predict_answer(outputs, prepared.request.columns, votes)

    def _record(self, answered: Answered, recorder: EventRecorder) -> None:
        now, request_id, outputs = time.time(), f"request-{uuid.uuid4().hex}", answered.outputs
        told = zip(answered.prepared.request.instances, answered.prepared.slices, strict=True)
        for row, (instance, prepared_slice) in enumerate(told):
            event = DriftEvent(
                id=uuid.uuid4().hex,
                time=now,
                model=self.name,
                version=answered.version,
                specimen=instance.specimen or request_id,
                species=outputs.species[row],
                confidence=float(outputs.confidence[row]),
                unknown=bool(outputs.unknown[row]),
                descriptors={},
                embedding=tuple(outputs.embedding[row].tolist()),
            )
            recorder.record(AnsweredSlice(event, prepared_slice.pixels))
