"""Detection rate and false alarms of the drift monitor, on specimens that are in neither training nor reference.

`TAXONFLOW_MODEL=runs/models/foraminifera/1 make benchmark ONLY=drift` uses a trained model of the preset `sample`;
without it, a model is trained first, which takes some minutes.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tests.benchmarks.drift_pools import SEVERITIES, SLICES, classified_pools
from tests.benchmarks.measurement import Measurement
from tests.monitoring.drift_traffic import SLICE_FEATURES, drift_score, events_of, window_of

CLEAN_WINDOWS, RUNS, REAL_WINDOWS = 200, 100, 3
SHARES = {"unseen": (0.1, 0.3, 0.5), "dominant": (0.5, 0.7, 0.9)}
"""Shares of the specimens of one species among clean ones. The first severity of each kind is below the bar."""
DEFAULT_THRESHOLD, DEFAULT_SHARE = 0.1, 0.5
"""Evidently's default thresholds: score of a column, and share of drifted columns of a data set."""

Specimens = NDArray[np.str_]
Run = tuple[Specimens, Specimens]


@dataclass(frozen=True)
class Verdict:
    """Drift of a window by two rules.

    Attributes:
        drift: True if the monitor's calibrated thresholds detect drift.
        default_drift: True if Evidently's default thresholds detect drift.
    """

    drift: bool
    default_drift: bool


class WindowScorer:
    """Scorer of windows with the monitor's features and thresholds, without Evidently's report, which takes seconds.

    Args:
        model: Folder of a served version.
        pools: Slices of `classified_pools`.
    """

    def __init__(self, model: Path, pools: pd.DataFrame) -> None:
        from monitoring.config import MonitorConfig
        from monitoring.drift.calibration import calibrate
        from monitoring.drift.reference import load_profile
        from monitoring.drift.window_features import WindowFeatures

        repository = model.parents[1]
        self.config = MonitorConfig(events=repository, repository=repository, out=repository)
        self.profile = load_profile(repository, model.parent.name, int(model.name), self.config.max_reference_slices)
        self.events = {str(name): events_of(slices) for name, slices in pools.groupby("specimen")}
        slices = self.profile.traffic_features([event for rows in self.events.values() for event in rows])
        self._slices = {str(name): rows for name, rows in slices.groupby("specimen")}
        self._window_features = WindowFeatures(self.profile.features)
        sizes = (SLICES,) * self.config.window_specimens
        self.thresholds = calibrate(
            self.profile.features, sizes, self.config.false_alarm_rate, self.config.resamples, self.config.seed
        )

    def verdict(self, specimens: Specimens) -> Verdict:
        """Return the verdict of the window of these specimens."""
        scores = self.scores(specimens)
        default_drift = np.mean([scores[name] >= DEFAULT_THRESHOLD for name in SLICE_FEATURES]) >= DEFAULT_SHARE
        return Verdict(
            any(scores[name] >= threshold for name, threshold in self.thresholds.items()), bool(default_drift)
        )

    def scores(self, specimens: Specimens) -> dict[str, float]:
        """Return the score of each feature."""
        window = pd.concat([self._slices[name] for name in specimens], ignore_index=True)
        window_columns, reference_columns = self._window_features.columns(window)
        current, reference = window.join(window_columns), self.profile.features.join(reference_columns)
        return {name: drift_score(reference[name], current[name]) for name in self.thresholds}


def _runs(pools: pd.DataFrame, size: int) -> Iterator[tuple[str, float, list[Run]]]:
    """Yield the runs of each kind and severity; a run is two consecutive windows."""
    rng = np.random.default_rng(0)
    specimens = pools.groupby("specimen").agg({"kind": "first", "severity": "first", "truth": "first"})
    clean = specimens[specimens["kind"] == "clean"]
    for kind, severities in SEVERITIES.items():
        for severity in severities:
            own = specimens.index[(specimens["kind"] == kind) & (specimens["severity"] == severity)].to_numpy(str)
            yield kind, severity, [_halves(rng.choice(own, 2 * size, replace=False)) for _ in range(RUNS)]
    for kind, pool in (("unseen", specimens[specimens["kind"] == "unseen"]), ("dominant", clean)):
        for share in SHARES[kind]:
            yield kind, share, [_mixed(pool, clean, number, share, size, rng) for number in range(RUNS)]


def _mixed(
    pool: pd.DataFrame, clean: pd.DataFrame, number: int, share: float, size: int, rng: np.random.Generator
) -> Run:
    """Return two windows with a share of specimens of one species among clean ones of others; species rotate."""
    species = sorted(pool["truth"].unique())[number % pool["truth"].nunique()]
    count = int(share * size)
    own = pool.index[pool["truth"] == species].to_numpy(str)
    others = clean.index[clean["truth"] != species].to_numpy(str)
    first, second = (
        np.concatenate([rng.choice(own, count, replace=False), rng.choice(others, size - count, replace=False)])
        for _ in range(2)
    )
    return first, second


def _halves(specimens: Specimens) -> Run:
    return specimens[: len(specimens) // 2], specimens[len(specimens) // 2 :]


def detect(scratch: Path) -> Iterator[Measurement]:
    """Measure false alarms on clean windows, and detection by kind and severity."""
    model = Path(os.environ["TAXONFLOW_MODEL"]) if "TAXONFLOW_MODEL" in os.environ else _train(scratch)
    pools = classified_pools(model)
    scorer = WindowScorer(model, pools)
    yield from _false_alarms(scorer, pools)
    accuracies = (pools["truth"] == pools["species"]).groupby([pools["kind"], pools["severity"]]).mean()
    for kind, severity, runs in _runs(pools, scorer.config.window_specimens):
        verdicts = [[scorer.verdict(window) for window in run] for run in runs]
        detection = np.mean([all(verdict.drift for verdict in run) for run in verdicts])
        default_detection = np.mean([all(verdict.default_drift for verdict in run) for run in verdicts])
        prefix = f"accuracy {accuracies[kind, severity]:.3f}; " if kind in SEVERITIES else ""
        bar = prefix + ("below the bar" if severity == {**SEVERITIES, **SHARES}[kind][0] else ">= 0.95")
        yield Measurement(
            f"drift-detected {kind} {severity:g}", float(detection), "of runs", float(default_detection), bar=bar
        )


def _false_alarms(scorer: WindowScorer, pools: pd.DataFrame) -> Iterator[Measurement]:
    rng, size = np.random.default_rng(1), scorer.config.window_specimens
    clean = pools.loc[pools["kind"] == "clean", "specimen"].unique()
    windows = [rng.choice(clean, size, replace=False) for _ in range(CLEAN_WINDOWS)]
    verdicts = [scorer.verdict(window) for window in windows]
    alarms, default_alarms = (
        np.mean([getattr(each, name) for each in verdicts]) for name in ("drift", "default_drift")
    )
    accuracy = (pools["truth"] == pools["species"])[pools["kind"] == "clean"].mean()
    bar = f"accuracy {accuracy:.3f}; <= 0.02 of {CLEAN_WINDOWS}"
    yield Measurement("drift-false-alarms", float(alarms), "of clean windows", float(default_alarms), bar=bar)
    difference = max(_difference(scorer, window) for window in windows[:REAL_WINDOWS])
    yield Measurement(
        "drift-score-difference", difference, "from the monitor's", 1e-6, difference / 1e-6, "the same scores"
    )


def _difference(scorer: WindowScorer, specimens: Specimens) -> float:
    """Return the largest difference of a score or threshold between the monitor and this benchmark."""
    from monitoring.drift.detector import evaluate_window

    window = window_of([event for name in specimens for event in scorer.events[name]])
    result = evaluate_window(window, scorer.profile, scorer.config).result
    scores = scorer.scores(specimens)
    assert [each.feature for each in result.features] == list(scorer.thresholds)
    return max(
        max(abs(each.score - scores[each.feature]), abs(each.threshold - scorer.thresholds[each.feature]))
        for each in result.features
    )


def _train(scratch: Path) -> Path:
    """Train the preset `sample` and return the folder of the served version."""
    command = [sys.executable, "-m", "pipelines.run", "--preset", "sample", "--out", str(scratch)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return next(iter((scratch / "models").glob("*/1")))


BENCHMARKS = {"drift-detection": detect}
