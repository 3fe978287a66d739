"""The interface between the transformer and its predictors."""

from dataclasses import dataclass
from typing import Any, Protocol

from serving.outputs import Outputs
from serving.protocol import SignatureInput
from serving.votes import ModelDescription


@dataclass(frozen=True)
class Expectation:
    """The preprocessing that a model expects.

    Attributes:
        channels: 1 for grey, 3 for colour.
        segmented: Whether all pixels outside the specimen must be black.
        image_size: Edge in pixels to which photographs are scaled, 0 if unknown.
    """

    channels: int
    segmented: bool
    image_size: int = 0


class PredictorVersion(Protocol):
    """One version of a model; it stays usable for as long as a request holds a reference to it."""

    @property
    def expectation(self) -> Expectation:
        """Preprocessing that the version expects."""

    @property
    def description(self) -> ModelDescription:
        """Model description: the species, and the specimens' thresholds of the models that may have answered."""

    async def predict(self, inputs: SignatureInput, signature_name: str) -> tuple[Outputs, int]:
        """Return the outputs and the number of the version that computed them; raises RequestError."""


class Predictor(Protocol):
    """Models by name, each with versions."""

    def names(self) -> list[str]:
        """Return the names of the models that answer requests."""

    def unserved(self) -> dict[str, str]:
        """Return why a model does not answer requests, for each known model that does not."""

    async def get_version(self, model: str, version: int | None) -> PredictorVersion:
        """Return a version, the newest one for None; raises RequestError 404 or 503."""

    async def status(self, model: str, version: int | None) -> dict[str, Any]:
        """Return the answer to a status request; raises RequestError."""

    async def metadata(self, model: str, version: int | None) -> dict[str, Any]:
        """Return the answer to a metadata request; raises RequestError."""

    async def unready_reason(self) -> str | None:
        """Return why no request can be answered, None if the predictor is ready."""
