"""Features that are recomputed for each window, along the difference that is largest in that window.

Traffic with one dominant species, a few specimens of an unknown one, or descriptors that all shift slightly in one
direction can stay below the threshold of every single feature. The calibration recomputes these features in each
pseudo-window too, so the search raises no false alarms (the union-intersection principle, Roy 1953).
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from monitoring.drift.distances import Floats, PseudoWindows, jensen_shannon_of_ratios, normed_wasserstein
from monitoring.drift.features import (
    COMBINED_DESCRIPTORS,
    DOMINANT_SPECIES,
    EMBEDDING_DISTANCES,
    OUTLIER_SPECIMENS,
    PREDICTION_FEATURES,
)

OTHER, OUTLIER, TYPICAL = "other", "outlier", "typical"
OUTLIER_RATIO = 0.01
_SHRINKAGE = 0.05
_SMALLEST_VARIANCE, _SMALLEST_DEVIATION, _SMALLEST_DISTANCE = 1e-3, 0.1, 1e-6


class WindowFeatures:
    """The species with the largest excess, the outlier specimens, and the combined descriptors of windows.

    - DOMINANT_SPECIES: the species whose share exceeds that of the reference most, against all others.
    - OUTLIER_SPECIMENS: specimens with a higher outlier score than all but OUTLIER_RATIO of the reference's. The score
      combines both embedding distances and the share of slices predicted as unknown; it needs embeddings.
    - COMBINED_DESCRIPTORS: the descriptors projected on the direction in which the window's mean differs most, relative
      to the variation between specimens (Fisher's linear discriminant, 1936).

    Args:
        reference: One row per slice, with `specimen` and the features.
    """

    def __init__(self, reference: pd.DataFrame) -> None:
        self._reference, self._rng = reference, np.random.default_rng(0)
        self._codes, self._specimens = pd.factorize(reference["specimen"])
        self._species, self._names = pd.factorize(reference["species"])
        self._descriptors = [name for name in reference if name not in ("specimen", *PREDICTION_FEATURES)]
        values = reference[self._descriptors].to_numpy(np.float64)
        deviation = values.std(axis=0)
        self._deviation = np.where(deviation > 0, deviation, 1.0)
        self._scaled = values / self._deviation
        self._precision = np.linalg.inv(_shrunk_covariance(_means(self._scaled, self._codes)))
        self._has_distances = set(EMBEDDING_DISTANCES) <= set(reference)
        if self._has_distances:
            signals = _outlier_signals(reference)
            self._signal_scale = signals.mean(axis=0), np.maximum(signals.std(axis=0), _SMALLEST_DEVIATION)
            self._scores = self._outlier_scores(reference)
            specimen_scores = _means(self._scores[:, None], self._codes)[:, 0]
            self._outlier_limit = float(np.quantile(specimen_scores, 1 - OUTLIER_RATIO))
            self._is_outlier = specimen_scores > self._outlier_limit

    def resampled(self, windows: PseudoWindows) -> dict[str, Floats]:
        """Return the drift scores of pseudo-windows by feature, float64 [R] each."""
        outliers = {OUTLIER_SPECIMENS: self._resample_outliers(windows)} if self._has_distances else {}
        return {
            DOMINANT_SPECIES: self._resample_dominant_species(windows),
            **outliers,
            COMBINED_DESCRIPTORS: self._resample_combined(windows),
        }

    def columns(self, current: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return the WINDOW_FEATURES of a window's slices [N], and the same features of the reference."""
        window, reference = pd.DataFrame(index=current.index), pd.DataFrame(index=self._reference.index)
        species = self._dominant_species(current["species"])
        for columns, slices in ((window, current), (reference, self._reference)):
            columns[DOMINANT_SPECIES] = np.where(slices["species"] == species, species, OTHER)
        if self._has_distances:
            scores = pd.Series(self._outlier_scores(current))
            means = scores.groupby(current["specimen"].to_numpy()).transform("mean")
            window[OUTLIER_SPECIMENS] = np.where(means > self._outlier_limit, OUTLIER, TYPICAL)
            reference[OUTLIER_SPECIMENS] = np.where(self._is_outlier[self._codes], OUTLIER, TYPICAL)
        values = current[self._descriptors].to_numpy(np.float64) / self._deviation
        direction = self._directions(values.mean(axis=0) - self._scaled.mean(axis=0))
        window[COMBINED_DESCRIPTORS], reference[COMBINED_DESCRIPTORS] = values @ direction, self._scaled @ direction
        return window, reference

    def _dominant_species(self, species: pd.Series) -> str:
        ratios = species.value_counts(normalize=True)
        baseline = self._reference["species"].value_counts(normalize=True)
        return str((ratios - baseline.reindex(ratios.index, fill_value=0.0)).idxmax())

    def _resample_dominant_species(self, windows: PseudoWindows) -> Floats:
        """Score species mixes drawn with replacement: without it, a small reference allows hardly any variation."""
        specimen_ratios = _means(np.eye(len(self._names))[self._species], self._codes)
        slices = windows.window @ np.eye(len(self._specimens))[self._codes]
        mixes = np.stack([_mix(sizes[sizes > 0], specimen_ratios, self._rng) for sizes in slices])
        baseline = np.bincount(self._species) / len(self._species)
        rows, dominant = np.arange(len(mixes)), (mixes - baseline).argmax(axis=1)
        return jensen_shannon_of_ratios(_with_complement(mixes[rows, dominant]), _with_complement(baseline[dominant]))

    def _outlier_scores(self, slices: pd.DataFrame) -> Floats:
        """Return the sum of the outlier signals in standard deviations of the reference, float64 [N]."""
        mean, deviation = self._signal_scale
        return np.asarray(((_outlier_signals(slices) - mean) / deviation).sum(axis=1))

    def _resample_outliers(self, windows: PseudoWindows) -> Floats:
        member = np.eye(len(self._specimens))[self._codes]
        ratios = windows.window @ member
        means = windows.window @ (member * self._scores[:, None]) / np.maximum(ratios, 1e-12)
        outliers = np.where(means > self._outlier_limit, ratios, 0.0).sum(axis=1)
        reference_outliers = windows.rest @ self._is_outlier[self._codes]
        return jensen_shannon_of_ratios(_with_complement(outliers), _with_complement(reference_outliers))

    def _resample_combined(self, windows: PseudoWindows) -> Floats:
        directions = self._directions(windows.difference @ self._scaled)
        return np.array(
            [
                normed_wasserstein(self._scaled @ direction, windows.row(number))[0]
                for number, direction in enumerate(directions)
            ]
        )

    def _directions(self, differences: Floats) -> Floats:
        """Return unit vectors [..., D] for differences of means [..., D]."""
        directions = differences @ self._precision
        return np.asarray(directions / np.maximum(np.linalg.norm(directions, axis=-1, keepdims=True), 1e-12))


def _means(values: Floats, codes: NDArray[np.intp]) -> Floats:
    """Return the means [S, D] of values [N, D] by code."""
    member = np.eye(codes.max() + 1)[codes]
    return np.asarray(member.T @ values / member.sum(axis=0)[:, None])


def _mix(sizes: Floats, specimen_ratios: Floats, rng: np.random.Generator) -> Floats:
    """Return the species ratios [K] of M specimens drawn from S, weighted by sizes [M]; specimen_ratios is [S, K]."""
    return np.asarray(sizes @ specimen_ratios[rng.integers(len(specimen_ratios), size=len(sizes))])


def _outlier_signals(slices: pd.DataFrame) -> Floats:
    """Return float64 [N, 3]: the logarithms of both distances, and whether the slice is predicted as unknown."""
    distances = slices[list(EMBEDDING_DISTANCES)].to_numpy(np.float64)
    return np.column_stack([np.log(np.maximum(distances, _SMALLEST_DISTANCE)), slices["unknown"] == "unknown"])


def _shrunk_covariance(values: Floats) -> Floats:
    covariance = np.atleast_2d(np.cov(values.T))
    variances = np.diag(np.diag(covariance) + _SMALLEST_VARIANCE)
    return (1 - _SHRINKAGE) * covariance + _SHRINKAGE * variances + _SMALLEST_VARIANCE * np.eye(len(covariance))


def _with_complement(ratios: Floats) -> Floats:
    return np.stack([ratios, 1 - ratios], axis=1)
