"""The verdict on a window, by Evidently's drift scores against calibrated thresholds."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset

from monitoring.config import MonitorConfig
from monitoring.drift.calibration import calibrate
from monitoring.drift.features import NAMES
from monitoring.drift.reference import Profile
from monitoring.drift.results import FeatureDrift, WindowResult
from monitoring.drift.window_features import Contrasts
from monitoring.drift.windows import Window


@dataclass(frozen=True)
class Judgement:
    """A window's result and Evidently's snapshot, which can be rendered."""

    result: WindowResult
    snapshot: Any


def judge(window: Window, profile: Profile, config: MonitorConfig) -> Judgement:
    """Compares a window with the reference profile."""
    current = profile.traffic_features(window.events)
    reference = profile.features[list(current)]
    thresholds = calibrate(
        reference,
        current["specimen"].value_counts().to_list(),
        config.false_alarms,
        config.resamples,
        config.seed,
    )
    end = datetime.fromtimestamp(max(event.time for event in window.events), UTC)
    found, usual = Contrasts(reference).columns(current)
    snapshot = compare(current.join(found), reference.join(usual), thresholds, window.name, end)
    return Judgement(_result(window, profile, _scores(snapshot, thresholds)), snapshot)


def compare(
    current: pd.DataFrame,
    reference: pd.DataFrame,
    thresholds: dict[str, float],
    name: str,
    time: datetime | None = None,
) -> Any:
    """Runs Evidently's drift report; one drifted feature makes the data set drift.

    Args:
        current: features of the window.
        reference: the same features of the reference.
        thresholds: by feature; exactly these are compared.
        name: of the report.
        time: of the window; now by default.

    Returns:
        Evidently's snapshot.
    """
    columns = list(thresholds)
    definition = DataDefinition(
        numerical_columns=[column for column in columns if column not in NAMES],
        categorical_columns=[column for column in columns if column in NAMES],
    )
    preset = DataDriftPreset(
        columns=columns,
        num_method="wasserstein",
        cat_method="jensenshannon",
        per_column_threshold=thresholds,
        drift_share=1 / len(columns),
    )
    # A column without any variation has no correlation, about which numpy would warn on the screen.
    with np.errstate(invalid="ignore"):
        return Report([preset]).run(
            Dataset.from_pandas(current[columns], data_definition=definition),
            Dataset.from_pandas(reference[columns], data_definition=definition),
            name=name,
            timestamp=time,
        )


def _scores(snapshot: Any, thresholds: dict[str, float]) -> tuple[FeatureDrift, ...]:
    found = {
        metric["config"]["column"]: float(np.nan_to_num(metric["value"]))
        for metric in snapshot.dict()["metrics"]
        if metric["config"]["type"].endswith(":ValueDrift")
    }
    return tuple(
        FeatureDrift(feature=name, score=found[name], threshold=threshold) for name, threshold in thresholds.items()
    )


def _result(window: Window, profile: Profile, features: tuple[FeatureDrift, ...]) -> WindowResult:
    events = window.events
    species = pd.Series([event.species for event in events]).value_counts(normalize=True)
    return WindowResult(
        model=window.stream.model,
        version=window.stream.version,
        number=window.number,
        begin=min(event.time for event in events),
        end=max(event.time for event in events),
        slices=len(events),
        specimens=window.specimens,
        features=features,
        confidence=sum(event.confidence for event in events) / len(events),
        unknown_share=sum(event.unknown for event in events) / len(events),
        reference_confidence=float(profile.slices["confidence"].mean()),
        reference_unknown_share=float(profile.slices["unknown"].mean()),
        species_shares={name: float(species.get(name, 0.0)) for name in profile.card.classes},
    )
