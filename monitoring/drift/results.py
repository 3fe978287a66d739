"""The result of a window, as it is stored on disk and exported as gauges."""

from pathlib import Path
from typing import ClassVar

from components.shared.config import Frozen
from components.shared.contracts.document import Document
from components.shared.errors import ContractError

WORKSPACE = "workspace"
"""Name of Evidently's workspace in the monitor's output folder."""


def window_name(model: str, version: int, number: int) -> str:
    """Return the name of a window in files."""
    return f"{model}-v{version}-{number:06d}"


class FeatureDrift(Frozen):
    """The drift score of a feature, and its threshold."""

    feature: str
    score: float
    threshold: float

    @property
    def ratio(self) -> float:
        """Score divided by threshold; the feature drifts if it is 1 or more."""
        return self.score / self.threshold

    @property
    def drifted(self) -> bool:
        """True if the score reaches the threshold."""
        return self.score >= self.threshold


class WindowResult(Document):
    """The drift scores and prediction statistics of a window.

    Attributes:
        model: Name of the model.
        version: Version of the model.
        number: Number of the window for this version, from 1.
        start: Time of the earliest event, in seconds since 1970.
        end: Time of the latest event, in seconds since 1970.
        slices: Number of slices.
        specimens: Number of specimens.
        features: Scores and thresholds.
        confidence: Mean confidence of the predictions.
        unknown_ratio: Share of slices predicted as unknown.
        reference_confidence: Mean confidence of the predictions in the reference.
        reference_unknown_ratio: Share of the reference's slices predicted as unknown.
        species_ratios: Share of slices by predicted species, for the classes of the model.
        unknown_specimen_ratio: Share of the specimens that requests name and of which most slices were in requests
            whose specimen was flagged as unknown; None if no request named a specimen.
    """

    SCHEMA: ClassVar[str] = "taxonflow.drift-window/2"

    model: str
    version: int
    number: int
    start: float
    end: float
    slices: int
    specimens: int
    features: tuple[FeatureDrift, ...]
    confidence: float
    unknown_ratio: float
    reference_confidence: float
    reference_unknown_ratio: float
    species_ratios: dict[str, float]
    unknown_specimen_ratio: float | None = None

    @property
    def name(self) -> str:
        """Name of the window in files."""
        return window_name(self.model, self.version, self.number)

    @property
    def drifted(self) -> tuple[FeatureDrift, ...]:
        """All features that drifted, in descending order of ratio."""
        over = [feature for feature in self.features if feature.drifted]
        return tuple(sorted(over, key=lambda feature: feature.ratio, reverse=True))


def result_path(out: Path, name: str) -> Path:
    """Return the path of a window's result."""
    return out / f"window-{name}.json"


def report_path(out: Path, name: str) -> Path:
    """Return the path of a window's HTML report."""
    return out / f"report-{name}.html"


def read_result(out: Path, name: str) -> WindowResult | None:
    """Return the stored result of a window, or None if it is missing, damaged or of another schema."""
    try:
        return WindowResult.read(result_path(out, name))
    except ContractError:
        return None
