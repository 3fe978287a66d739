"""Features that are found anew for each window: in what it differs most from the reference.

Traffic of one dominant species, a few specimens of an unseen one, or descriptors that all move a little in one
direction can stay below every single feature's threshold. Each pseudo-window of the calibration is looked at in the
same way, so that the freedom to choose raises no false alarms (the union-intersection principle, Roy 1953).
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from monitoring.drift.distances import Floats, PseudoWindows, normed_wasserstein, shares_distance
from monitoring.drift.features import ANSWERS, DISTANCES, DOMINANT, STRANGE, TOGETHER

OTHERS = "the others"
STRANGE_SHARE = 0.01
_SHRINKAGE = 0.05
_SMALLEST_VARIANCE, _SMALLEST_DEVIATION, _SMALLEST_DISTANCE = 1e-3, 0.1, 1e-6


class Contrasts:
    """What a window has most too much of, its specimens like none of the reference, and its descriptors all together.

    - DOMINANT: slices of the species whose share exceeds the reference's most, against all others.
    - STRANGE: slices of specimens that are further from what is known, by both distances of their embeddings and by the
      share of slices taken for unknown, than all but STRANGE_SHARE of the reference's; only where there are embeddings.
    - TOGETHER: descriptors along the direction in which the window's mean differs most for how much specimens vary
      (Fisher's linear discriminant, 1936).

    Args:
        reference: a row per slice, `specimen` and features.
    """

    def __init__(self, reference: pd.DataFrame) -> None:
        self._reference, self._rng = reference, np.random.default_rng(0)
        self._codes, self._specimens = pd.factorize(reference["specimen"])
        self._species, self._names = pd.factorize(reference["species"])
        self._descriptors = [name for name in reference if name not in ("specimen", *ANSWERS)]
        values = reference[self._descriptors].to_numpy(np.float64)
        deviation = values.std(axis=0)
        self._deviation = np.where(deviation > 0, deviation, 1.0)
        self._scaled = values / self._deviation
        self._precision = np.linalg.inv(_shrunk_covariance(_means(self._scaled, self._codes)))
        self._has_distance = set(DISTANCES) <= set(reference)
        if self._has_distance:
            signs = _strange_signs(reference)
            self._usual_signs = signs.mean(axis=0), np.maximum(signs.std(axis=0), _SMALLEST_DEVIATION)
            self._strangeness = self._strangeness_of(reference)
            found = _means(self._strangeness[:, None], self._codes)[:, 0]
            self._strange_from = float(np.quantile(found, 1 - STRANGE_SHARE))
            self._strange = found > self._strange_from

    def resampled(self, drawn: PseudoWindows) -> dict[str, Floats]:
        """Returns the scores of pseudo-windows, float64 [R] by feature."""
        strange = {STRANGE: self._strange_specimens(drawn)} if self._has_distance else {}
        return {DOMINANT: self._dominance(drawn), **strange, TOGETHER: self._together(drawn)}

    def columns(self, current: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Returns a window's features [N] of CONTRASTS, and those of the reference beside it."""
        window, reference = pd.DataFrame(index=current.index), pd.DataFrame(index=self._reference.index)
        species = self._dominant(current["species"])
        for frame, given in ((window, current), (reference, self._reference)):
            frame[DOMINANT] = np.where(given["species"] == species, species, OTHERS)
        if self._has_distance:
            means = pd.Series(self._strangeness_of(current)).groupby(current["specimen"].to_numpy()).transform("mean")
            window[STRANGE] = np.where(means > self._strange_from, "strange", "usual")
            reference[STRANGE] = np.where(self._strange[self._codes], "strange", "usual")
        scaled = current[self._descriptors].to_numpy(np.float64) / self._deviation
        direction = self._directions(scaled.mean(axis=0) - self._scaled.mean(axis=0))
        window[TOGETHER], reference[TOGETHER] = scaled @ direction, self._scaled @ direction
        return window, reference

    def _dominant(self, species: pd.Series) -> str:
        shares = species.value_counts(normalize=True)
        usual = self._reference["species"].value_counts(normalize=True)
        return str((shares - usual.reindex(shares.index, fill_value=0.0)).idxmax())

    def _dominance(self, drawn: PseudoWindows) -> Floats:
        """Draws the mix of species anew, with replacement: without, a small reference leaves hardly a choice."""
        answered = _means(np.eye(len(self._names))[self._species], self._codes)
        slices = drawn.window @ np.eye(len(self._specimens))[self._codes]
        mixes = np.stack([_mix(sizes[sizes > 0], answered, self._rng) for sizes in slices])
        usual = np.bincount(self._species) / len(self._species)
        rows, chosen = np.arange(len(mixes)), (mixes - usual).argmax(axis=1)
        return shares_distance(_and_others(mixes[rows, chosen]), _and_others(usual[chosen]))

    def _strangeness_of(self, slices: pd.DataFrame) -> Floats:
        """Returns float64 [N]: how far slices are from what is known, in the reference's standard deviations."""
        mean, deviation = self._usual_signs
        return np.asarray(((_strange_signs(slices) - mean) / deviation).sum(axis=1))

    def _strange_specimens(self, drawn: PseudoWindows) -> Floats:
        member = np.eye(len(self._specimens))[self._codes]
        shares = drawn.window @ member
        means = drawn.window @ (member * self._strangeness[:, None]) / np.maximum(shares, 1e-12)
        strange = np.where(means > self._strange_from, shares, 0.0).sum(axis=1)
        return shares_distance(_and_others(strange), _and_others(drawn.rest @ self._strange[self._codes]))

    def _together(self, drawn: PseudoWindows) -> Floats:
        directions = self._directions(drawn.difference @ self._scaled)
        return np.array(
            [
                normed_wasserstein(self._scaled @ direction, drawn.row(number))[0]
                for number, direction in enumerate(directions)
            ]
        )

    def _directions(self, differences: Floats) -> Floats:
        """Returns unit vectors [..., D] for differences of means [..., D]."""
        found = differences @ self._precision
        return np.asarray(found / np.maximum(np.linalg.norm(found, axis=-1, keepdims=True), 1e-12))


def _means(values: Floats, codes: NDArray[np.intp]) -> Floats:
    """Returns the means [S, D] of values [N, D] by code."""
    member = np.eye(codes.max() + 1)[codes]
    return np.asarray(member.T @ values / member.sum(axis=0)[:, None])


def _mix(sizes: Floats, answered: Floats, rng: np.random.Generator) -> Floats:
    """Returns the shares [K] of species in M specimens drawn from S, whose own shares are `answered` [S, K]."""
    return np.asarray(sizes @ answered[rng.integers(len(answered), size=len(sizes))])


def _strange_signs(slices: pd.DataFrame) -> Floats:
    """Returns float64 [N, 3]: logarithms of both distances, and whether the slice is taken for unknown."""
    distances = np.log(np.maximum(slices[list(DISTANCES)].to_numpy(np.float64), _SMALLEST_DISTANCE))
    return np.column_stack([distances, slices["unknown"] == "unknown"])


def _shrunk_covariance(values: Floats) -> Floats:
    covariance = np.atleast_2d(np.cov(values.T))
    variances = np.diag(np.diag(covariance) + _SMALLEST_VARIANCE)
    return (1 - _SHRINKAGE) * covariance + _SHRINKAGE * variances + _SMALLEST_VARIANCE * np.eye(len(covariance))


def _and_others(shares: Floats) -> Floats:
    return np.stack([shares, 1 - shares], axis=1)
