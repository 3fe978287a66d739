"""Evidently's drift scores, of many pseudo-windows of the reference at once."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon

Floats = NDArray[np.float64]

SMALLEST_NORM = 0.001


@dataclass(frozen=True)
class PseudoWindows:
    """Weights of the reference's slices in R pseudo-windows and in what is left.

    Attributes:
        window: float64 [R, N], rows sum to 1.
        rest: float64 [R, N], rows sum to 1.
    """

    window: Floats
    rest: Floats

    @cached_property
    def difference(self) -> Floats:
        """Window less rest, float64 [R, N]."""
        return self.window - self.rest

    def row(self, number: int) -> "PseudoWindows":
        """Returns one of them."""
        return PseudoWindows(self.window[number : number + 1], self.rest[number : number + 1])


def normed_wasserstein(values: Floats, drawn: PseudoWindows) -> Floats:
    """Returns float64 [R]: Wasserstein distance over the rest's standard deviation, as Evidently defines it."""
    order = np.argsort(values)
    gaps = np.diff(values[order])
    distance = np.cumsum(drawn.difference[:, order], axis=1)[:, :-1]
    mean = drawn.rest @ values
    deviation = np.sqrt(np.maximum(drawn.rest @ values**2 - mean**2, 0))
    return np.asarray(np.abs(distance) @ gaps / np.maximum(deviation, SMALLEST_NORM))


def jensen_shannon(names: NDArray[np.str_], drawn: PseudoWindows) -> Floats:
    """Returns float64 [R]: Jensen-Shannon distance (natural logarithm) of the shares of the names, as Evidently's."""
    member = (names[:, None] == np.unique(names)[None, :]).astype(np.float64)
    return shares_distance(drawn.window @ member, drawn.rest @ member)


def shares_distance(window: Floats, rest: Floats) -> Floats:
    """Returns float64 [R]: Jensen-Shannon distance (natural logarithm) of shares [R, K]."""
    # Rounding takes the divergence of equal shares below zero, whose root is NaN.
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(jensenshannon(window, rest, axis=1))
