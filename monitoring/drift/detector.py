"""The verdict on a window: Evidently's drift scores against calibrated thresholds."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset

from monitoring.config import MonitorConfig
from monitoring.drift.calibration import calibrate
from monitoring.drift.features import CATEGORICAL_FEATURES
from monitoring.drift.reference import ReferenceProfile
from monitoring.drift.results import FeatureDrift, WindowResult
from monitoring.drift.window_features import WindowFeatures
from monitoring.drift.windows import Window


@dataclass(frozen=True)
class WindowVerdict:
    """The result of a window, and Evidently's snapshot of the report."""

    result: WindowResult
    snapshot: Any


def evaluate_window(window: Window, profile: ReferenceProfile, config: MonitorConfig) -> WindowVerdict:
    """Compare a window with the reference profile."""
    current = profile.traffic_features(window.events)
    reference = profile.features[list(current)]
    thresholds = calibrate(
        reference,
        current["specimen"].value_counts().to_list(),
        config.false_alarm_rate,
        config.resamples,
        config.seed,
    )
    end = datetime.fromtimestamp(max(event.time for event in window.events), UTC)
    current_columns, reference_columns = WindowFeatures(reference).columns(current)
    snapshot = drift_report(
        current.join(current_columns), reference.join(reference_columns), thresholds, window.name, end
    )
    return WindowVerdict(_result(window, profile, _feature_drifts(snapshot, thresholds)), snapshot)


def drift_report(
    current: pd.DataFrame,
    reference: pd.DataFrame,
    thresholds: dict[str, float],
    name: str,
    time: datetime | None = None,
) -> Any:
    """Run Evidently's drift report. A single drifted feature makes the data set drift.

    Args:
        current: Features of the window.
        reference: The same features of the reference.
        thresholds: Threshold of each feature to compare.
        name: Name of the report.
        time: Time of the window; the current time by default.

    Returns:
        Evidently's snapshot.
    """
    columns = list(thresholds)
    definition = DataDefinition(
        numerical_columns=[column for column in columns if column not in CATEGORICAL_FEATURES],
        categorical_columns=[column for column in columns if column in CATEGORICAL_FEATURES],
    )
    preset = DataDriftPreset(
        columns=columns,
        num_method="wasserstein",
        cat_method="jensenshannon",
        per_column_threshold=thresholds,
        drift_share=1 / len(columns),
    )
    # A constant column has no correlation, and numpy would print a warning about it.
    with np.errstate(invalid="ignore"):
        return Report([preset]).run(
            Dataset.from_pandas(current[columns], data_definition=definition),
            Dataset.from_pandas(reference[columns], data_definition=definition),
            name=name,
            timestamp=time,
        )


def _feature_drifts(snapshot: Any, thresholds: dict[str, float]) -> tuple[FeatureDrift, ...]:
    scores = {
        metric["config"]["column"]: float(np.nan_to_num(metric["value"]))
        for metric in snapshot.dict()["metrics"]
        if metric["config"]["type"].endswith(":ValueDrift")
    }
    return tuple(
        FeatureDrift(feature=name, score=scores[name], threshold=threshold) for name, threshold in thresholds.items()
    )


def _result(window: Window, profile: ReferenceProfile, features: tuple[FeatureDrift, ...]) -> WindowResult:
    events = window.events
    species = pd.Series([event.species for event in events]).value_counts(normalize=True)
    return WindowResult(
        model=window.stream.model,
        version=window.stream.version,
        number=window.number,
        start=min(event.time for event in events),
        end=max(event.time for event in events),
        slices=len(events),
        specimens=window.specimens,
        features=features,
        confidence=sum(event.confidence for event in events) / len(events),
        unknown_ratio=sum(event.unknown for event in events) / len(events),
        reference_confidence=float(profile.slices["confidence"].mean()),
        reference_unknown_ratio=float(profile.slices["unknown"].mean()),
        species_ratios={name: float(species.get(name, 0.0)) for name in profile.card.classes},
        unknown_specimen_ratio=window.unknown_specimen_ratio(),
    )
