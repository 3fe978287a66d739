"""What the drift watch notices, and how often it cries wolf, on specimens that neither training nor reference saw.

`TAXONFLOW_MODEL=runs/models/foraminifera/1 make benchmark ONLY=drift` takes a finished model of the preset `sample`;
without it one is trained first, which takes minutes more.
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

from tests.benchmarks.drift_pools import SEVERITIES, SLICES, answered_pools
from tests.benchmarks.measurement import Measurement
from tests.monitoring.drift_traffic import SLICE_FEATURES, drift_score, events_of, window_of

CLEAN_WINDOWS, RUNS, REAL_WINDOWS = 200, 100, 3
SHARES = {"unseen": (0.1, 0.3, 0.5), "dominant": (0.5, 0.7, 0.9)}
"""Of specimens of one species among clean ones; of each kind and severity the first is milder than the bar."""
USUAL_THRESHOLD, USUAL_SHARE = 0.1, 0.5
"""Evidently's defaults: of a column, and of the columns that make a data set drift."""

Specimens = NDArray[np.str_]
Run = tuple[Specimens, Specimens]


@dataclass(frozen=True)
class Verdict:
    """What was found in a window.

    Attributes:
        drift: whether the watch calls it drift.
        usual: whether Evidently's default thresholds do.
    """

    drift: bool
    usual: bool


class Watch:
    """Judges windows by the monitor's scores and thresholds, without Evidently's report, which takes seconds each.

    Args:
        model: folder of a served version.
        pools: of `answered_pools`.
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
        slices = self.profile.traffic_features([event for found in self.events.values() for event in found])
        self._slices = {str(name): found for name, found in slices.groupby("specimen")}
        self._window_features = WindowFeatures(self.profile.features)
        sizes = (SLICES,) * self.config.window_specimens
        self.thresholds = calibrate(
            self.profile.features, sizes, self.config.false_alarm_rate, self.config.resamples, self.config.seed
        )

    def judge(self, specimens: Specimens) -> Verdict:
        """Judges the window of these specimens."""
        scores = self.scores(specimens)
        usual = np.mean([scores[name] >= USUAL_THRESHOLD for name in SLICE_FEATURES]) >= USUAL_SHARE
        return Verdict(any(scores[name] >= threshold for name, threshold in self.thresholds.items()), bool(usual))

    def scores(self, specimens: Specimens) -> dict[str, float]:
        """Returns the score of each feature."""
        window = pd.concat([self._slices[name] for name in specimens], ignore_index=True)
        found, beside = self._window_features.columns(window)
        current, reference = window.join(found), self.profile.features.join(beside)
        return {name: drift_score(reference[name], current[name]) for name in self.thresholds}


def _runs(pools: pd.DataFrame, size: int) -> Iterator[tuple[str, float, list[Run]]]:
    """Yields the runs of each kind and severity: two windows one after the other."""
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
    """Mixes specimens of one species into clean ones of the others, in two windows; species take turns."""
    species = sorted(pool["truth"].unique())[number % pool["truth"].nunique()]
    many = int(share * size)
    own = pool.index[pool["truth"] == species].to_numpy(str)
    others = clean.index[clean["truth"] != species].to_numpy(str)
    first, second = (
        np.concatenate([rng.choice(own, many, replace=False), rng.choice(others, size - many, replace=False)])
        for _ in range(2)
    )
    return first, second


def _halves(specimens: Specimens) -> Run:
    return specimens[: len(specimens) // 2], specimens[len(specimens) // 2 :]


def detect(scratch: Path) -> Iterator[Measurement]:
    """Measures false alarms on clean windows and detection by kind and severity."""
    model = Path(os.environ["TAXONFLOW_MODEL"]) if "TAXONFLOW_MODEL" in os.environ else _trained(scratch)
    pools = answered_pools(model)
    watch = Watch(model, pools)
    yield from _false_alarms(watch, pools)
    accuracies = (pools["truth"] == pools["species"]).groupby([pools["kind"], pools["severity"]]).mean()
    for kind, severity, runs in _runs(pools, watch.config.window_specimens):
        found = [[watch.judge(window) for window in run] for run in runs]
        noticed = np.mean([all(verdict.drift for verdict in run) for run in found])
        usual = np.mean([all(verdict.usual for verdict in run) for run in found])
        right = f"accuracy {accuracies[kind, severity]:.3f}; " if kind in SEVERITIES else ""
        bar = right + ("milder than the bar" if severity == {**SEVERITIES, **SHARES}[kind][0] else ">= 0.95")
        yield Measurement(f"drift-noticed {kind} {severity:g}", float(noticed), "of runs", float(usual), bar=bar)


def _false_alarms(watch: Watch, pools: pd.DataFrame) -> Iterator[Measurement]:
    rng, size = np.random.default_rng(1), watch.config.window_specimens
    clean = pools.loc[pools["kind"] == "clean", "specimen"].unique()
    windows = [rng.choice(clean, size, replace=False) for _ in range(CLEAN_WINDOWS)]
    verdicts = [watch.judge(window) for window in windows]
    alarms, usual = (np.mean([getattr(each, name) for each in verdicts]) for name in ("drift", "usual"))
    accuracy = (pools["truth"] == pools["species"])[pools["kind"] == "clean"].mean()
    bar = f"accuracy {accuracy:.3f}; <= 0.02 of {CLEAN_WINDOWS}"
    yield Measurement("drift-false-alarms", float(alarms), "of clean windows", float(usual), bar=bar)
    apart = max(_apart(watch, window) for window in windows[:REAL_WINDOWS])
    yield Measurement("drift-scores-apart", apart, "from the real judge's", 1e-6, apart / 1e-6, "the same scores")


def _apart(watch: Watch, specimens: Specimens) -> float:
    """Returns how far the monitor's real verdict is from the one of this benchmark, in score or threshold."""
    from monitoring.drift.detector import evaluate_window

    window = window_of([event for name in specimens for event in watch.events[name]])
    result = evaluate_window(window, watch.profile, watch.config).result
    scores = watch.scores(specimens)
    assert [each.feature for each in result.features] == list(watch.thresholds)
    return max(
        max(abs(each.score - scores[each.feature]), abs(each.threshold - watch.thresholds[each.feature]))
        for each in result.features
    )


def _trained(scratch: Path) -> Path:
    """Trains the preset `sample`; returns the folder of the served version."""
    command = [sys.executable, "-m", "pipelines.run", "--preset", "sample", "--out", str(scratch)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return next(iter((scratch / "models").glob("*/1")))


BENCHMARKS = {"drift-detection": detect}
