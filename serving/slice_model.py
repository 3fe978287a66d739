"""The kserve Model in front of a predictor.

It checks and segments the uploaded slices, sends them to the predictor, answers for each slice and each named specimen,
and records a drift event per slice. The predictor is either in this process (`serving.predictors.local`) or TensorFlow
Serving over HTTP (`serving.predictors.tensorflow_serving`).
"""

import asyncio
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import kserve

from components.shared.contracts import DriftEvent
from serving.drift_events import EventRecorder, PendingEvent
from serving.limits import Limits
from serving.metrics import SLICES
from serving.outputs import Outputs
from serving.predictors.base import Predictor, PredictorVersion
from serving.preparation import PreparedSlice, prepare_slices
from serving.protocol import PredictRequest, SignatureInput, predict_answer
from serving.votes import SpecimenVote, specimen_votes


@dataclass(frozen=True)
class PreparedRequest:
    """A request between preprocess and predict.

    Attributes:
        request: Request as parsed.
        slices: Prepared slices; empty for a request with crops.
        inputs: Input of the signature.
        version: Version that the slices were prepared for and that answers.
    """

    request: PredictRequest
    slices: list[PreparedSlice]
    inputs: SignatureInput
    version: PredictorVersion


@dataclass(frozen=True)
class PredictedRequest:
    """A request between predict and postprocess.

    Attributes:
        prepared_request: Request before the prediction.
        outputs: Outputs of all slices.
        version: Number of the version that computed them.
    """

    prepared_request: PreparedRequest
    outputs: Outputs
    version: int


class SliceTransformer(kserve.Model):
    """The handler of one model's predict requests.

    Args:
        name: Name of the model.
        predictor: Predictor for prepared slices.
        workers: Executor of work that would block the event loop.
        limits: Limits of a request.
        recorder: Recorder of drift events; None records none.
    """

    def __init__(
        self, name: str, predictor: Predictor, workers: Executor, limits: Limits, recorder: EventRecorder | None = None
    ) -> None:
        super().__init__(name)
        self.predictor, self.workers, self.limits, self.recorder = predictor, workers, limits, recorder
        self.ready = True

    async def preprocess(self, request: PredictRequest, _headers: dict[str, str] | None = None) -> PreparedRequest:
        """Prepare the slices for the version that will answer; raises RequestError."""
        version = await self.predictor.get_version(self.name, request.version)
        if request.crops is not None:
            return PreparedRequest(request, [], request.crops, version)
        slices = await asyncio.get_running_loop().run_in_executor(
            self.workers, prepare_slices, request.instances, version.expectation, self.limits.max_pixels
        )
        return PreparedRequest(request, slices, [prepared_slice.image for prepared_slice in slices], version)

    async def predict(
        self, prepared_request: PreparedRequest, _headers: dict[str, str] | None = None
    ) -> PredictedRequest:
        """Call the predictor; raises RequestError."""
        signature = prepared_request.request.signature_name
        outputs, version = await prepared_request.version.predict(prepared_request.inputs, signature)
        return PredictedRequest(prepared_request, outputs, version)

    async def postprocess(
        self, predicted_request: PredictedRequest, _headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """Return the answer and record the drift events.

        Crops leave no events, because descriptors need the whole slice.
        """
        prepared_request, outputs = predicted_request.prepared_request, predicted_request.outputs
        SLICES.labels(self.name, str(predicted_request.version)).inc(len(outputs.species))
        specimens = [instance.specimen for instance in prepared_request.request.instances]
        votes = specimen_votes(specimens, outputs, prepared_request.version.description)
        if self.recorder:
            self._record(predicted_request, votes, self.recorder)
        documents = {specimen: vote.document() for specimen, vote in votes.items()}
        return predict_answer(outputs, prepared_request.request.columns, documents)

    def _record(
        self, predicted_request: PredictedRequest, votes: Mapping[str, SpecimenVote], recorder: EventRecorder
    ) -> None:
        now, request_id, outputs = time.time(), f"request-{uuid.uuid4().hex}", predicted_request.outputs
        prepared_request = predicted_request.prepared_request
        pairs = zip(prepared_request.request.instances, prepared_request.slices, strict=True)
        for row, (instance, prepared_slice) in enumerate(pairs):
            event = DriftEvent(
                id=uuid.uuid4().hex,
                time=now,
                model=self.name,
                version=predicted_request.version,
                specimen=instance.specimen or request_id,
                species=outputs.species[row],
                confidence=float(outputs.confidence[row]),
                unknown=bool(outputs.unknown[row]),
                descriptors={},
                embedding=tuple(outputs.embedding[row].tolist()),
                model_id=outputs.model_id,
                specimen_unknown=votes[instance.specimen].unknown if instance.specimen else None,
            )
            recorder.record(PendingEvent(event, prepared_slice.pixels))
