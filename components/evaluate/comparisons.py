"""Whether one model is better than another on the same test slices, or only luckier."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import permutation_test
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from components.shared.metrics import Specimens

_RESAMPLES = 9999
Hits = NDArray[np.bool_]


@dataclass(frozen=True)
class Comparison:
    """Two models on the same slices.

    Attributes:
        first: name of a model.
        second: name of the other.
        difference: accuracy of the first minus that of the second.
        mcnemar: two-sided exact p-value (McNemar 1947), slice by slice: too small where slices are correlated.
        by_specimen: two-sided p-value of a permutation test that swaps the models' answers for whole specimens.
        mcnemar_corrected: after Holm's correction for all comparisons made (Holm 1979).
        by_specimen_corrected: the same for the permutation test; the one to believe.
    """

    first: str
    second: str
    difference: float
    mcnemar: float
    by_specimen: float
    mcnemar_corrected: float
    by_specimen_corrected: float


def compare_models(right: Mapping[str, Hits], specimens: Specimens, seed: int) -> list[Comparison]:
    """Compares every two models.

    Args:
        right: whether each slice is named right, bool [N], by model.
        specimens: [N].
        seed: of the permutations.
    """
    pairs = list(combinations(right, 2))
    if not pairs:
        return []
    slicewise = [mcnemar_p(right[a], right[b]) for a, b in pairs]
    clustered = [specimen_permutation_p(right[a], right[b], specimens, seed) for a, b in pairs]
    corrected = zip(
        *(multipletests(values, method="holm")[1].tolist() for values in (slicewise, clustered)), strict=True
    )
    return [
        Comparison(a, b, float(right[a].mean() - right[b].mean()), *found, *mended)
        for (a, b), found, mended in zip(pairs, zip(slicewise, clustered, strict=True), corrected, strict=True)
    ]


def mcnemar_p(first: Hits, second: Hits) -> float:
    """Exact two-sided p-value of McNemar's test for bool [N] and [N]."""
    table = [[(first & second).sum(), (first & ~second).sum()], [(~first & second).sum(), (~first & ~second).sum()]]
    return float(mcnemar(table, exact=True).pvalue)


def specimen_permutation_p(first: Hits, second: Hits, specimens: Specimens, seed: int) -> float:
    """Two-sided p-value of the difference of two accuracies when the models are swapped specimen by specimen.

    All swaps are tried where there are few specimens, and 9,999 at random otherwise.
    """
    _, owner = np.unique(specimens, return_inverse=True)
    hits = [np.bincount(owner, weights=right) for right in (first, second)]
    differ = hits[0] != hits[1]
    if differ.sum() < 2:  # swapping one specimen gives the same difference
        return 1.0
    found = permutation_test(
        (hits[0][differ], hits[1][differ]),
        _gained,
        permutation_type="samples",
        vectorized=True,
        n_resamples=_RESAMPLES,
        rng=np.random.default_rng(seed),
    )
    return float(found.pvalue)


def _gained(first: NDArray[np.float64], second: NDArray[np.float64], axis: int) -> Any:
    return (first - second).sum(axis=axis)
