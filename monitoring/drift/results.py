"""The result of a window, as it is kept on disk and shown as gauges."""

from pathlib import Path
from typing import ClassVar

from components.shared.config import Frozen
from components.shared.contracts import Document
from components.shared.errors import ContractError

WORKSPACE = "workspace"
"""Evidently's workspace in the monitor's folder."""


def window_name(model: str, version: int, number: int) -> str:
    """Returns a window's name in files."""
    return f"{model}-v{version}-{number:06d}"


class FeatureDrift(Frozen):
    """One feature's drift score, and the threshold that makes it drift."""

    feature: str
    score: float
    threshold: float

    @property
    def ratio(self) -> float:
        """Score over threshold: from 1 on the feature drifts."""
        return self.score / self.threshold

    @property
    def drifted(self) -> bool:
        """Whether the score reaches the threshold."""
        return self.score >= self.threshold


class WindowResult(Document):
    """What was found in a window.

    Attributes:
        model: name of the model.
        version: of the model.
        number: counts the version's windows from 1.
        begin: time of the earliest event, seconds since 1970.
        end: time of the latest event.
        slices: in the window.
        specimens: in the window.
        features: scores and thresholds.
        confidence: mean confidence of the answers.
        unknown_share: share of slices taken for unknown species.
        reference_confidence: mean confidence of the answers in the reference.
        reference_unknown_share: share of the reference's slices taken for unknown species.
        species_shares: share of slices by answered species, for the model's classes.
    """

    SCHEMA: ClassVar[str] = "taxonflow.drift-window/1"

    model: str
    version: int
    number: int
    begin: float
    end: float
    slices: int
    specimens: int
    features: tuple[FeatureDrift, ...]
    confidence: float
    unknown_share: float
    reference_confidence: float
    reference_unknown_share: float
    species_shares: dict[str, float]

    @property
    def name(self) -> str:
        """The window's name in files."""
        return window_name(self.model, self.version, self.number)

    @property
    def drifted(self) -> tuple[FeatureDrift, ...]:
        """The features that drifted, the one furthest over its threshold first."""
        over = [feature for feature in self.features if feature.drifted]
        return tuple(sorted(over, key=lambda feature: feature.ratio, reverse=True))


def result_path(out: Path, name: str) -> Path:
    """Returns where the result of a window lies."""
    return out / f"window-{name}.json"


def report_path(out: Path, name: str) -> Path:
    """Returns where the HTML report of a window lies."""
    return out / f"report-{name}.html"


def read_result(out: Path, name: str) -> WindowResult | None:
    """Returns an earlier window's result, or None where it is gone or damaged."""
    try:
        return WindowResult.read(result_path(out, name))
    except ContractError:
        return None
