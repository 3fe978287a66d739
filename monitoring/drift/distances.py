"""Evidently's drift scores for many pseudo-windows of the reference at once."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon

Floats = NDArray[np.float64]

SMALLEST_NORM = 0.001


@dataclass(frozen=True)
class PseudoWindows:
    """Weights of the reference's slices in R pseudo-windows and in the rest of the reference.

    Attributes:
        window: Weights in each pseudo-window, float64 [R, N]; each row sums to 1.
        rest: Weights in the remaining reference, float64 [R, N]; each row sums to 1.
    """

    window: Floats
    rest: Floats

    @cached_property
    def difference(self) -> Floats:
        """Window weights minus rest weights, float64 [R, N]."""
        return self.window - self.rest

    def row(self, number: int) -> "PseudoWindows":
        """Return a single pseudo-window."""
        return PseudoWindows(self.window[number : number + 1], self.rest[number : number + 1])


def normed_wasserstein(values: Floats, windows: PseudoWindows) -> Floats:
    """Return the Wasserstein distances divided by the standard deviation of the rest, as in Evidently, float64 [R]."""
    order = np.argsort(values)
    gaps = np.diff(values[order])
    distance = np.cumsum(windows.difference[:, order], axis=1)[:, :-1]
    mean = windows.rest @ values
    deviation = np.sqrt(np.maximum(windows.rest @ values**2 - mean**2, 0))
    return np.asarray(np.abs(distance) @ gaps / np.maximum(deviation, SMALLEST_NORM))


def jensen_shannon(categories: NDArray[np.str_], windows: PseudoWindows) -> Floats:
    """Return the Jensen-Shannon distances (natural logarithm) of category ratios, as in Evidently, float64 [R]."""
    member = (categories[:, None] == np.unique(categories)[None, :]).astype(np.float64)
    return jensen_shannon_of_ratios(windows.window @ member, windows.rest @ member)


def jensen_shannon_of_ratios(window: Floats, rest: Floats) -> Floats:
    """Return the Jensen-Shannon distances (natural logarithm) of ratios [R, K], float64 [R]."""
    # Rounding can make the divergence of equal ratios negative; its root is NaN.
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(jensenshannon(window, rest, axis=1))
