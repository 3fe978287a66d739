"""Largest distance of near-copies in a data set, estimated from scans of different species.

Two scans of different species cannot show one individual. Their distances are therefore a sample of the distances of
different individuals, and the threshold is a quantile of them: of each scan the nearest neighbour of another species is
taken, and at most one in SCANS_FOR_ONE_BELOW scans may have one below the threshold.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import compress

import numpy as np
from numpy.typing import NDArray

SCANS_FOR_ONE_BELOW = 1000
"""Number of scans of which one may have a neighbour of another species below the threshold."""
FEWEST_PAIRS = 1000
"""Number of pairs of scans of different species below which the threshold is not estimated from them."""


def distance_of_copies(
    fingerprints: Sequence[str], species: Sequence[str], pairs: Iterable[tuple[int, int, float]]
) -> float:
    """Return the distance below which two scans of a data set are near-copies; infinite if it rejects no pair.

    Args:
        fingerprints: Fingerprints of the scans.
        species: Species of the scans, in the same order.
        pairs: Pairs of scans within the largest distance of any data set: (first, second, distance).
    """
    sure_species = list(compress(species, _with_one_species(fingerprints, species)))
    if count_pairs_between(sure_species) < FEWEST_PAIRS:
        return np.inf
    nearest = np.sort(nearest_of_other_species(fingerprints, species, pairs))
    return float(nearest[len(nearest) // SCANS_FOR_ONE_BELOW]) if len(nearest) else np.inf


def count_pairs_between(species: Sequence[str]) -> int:
    """Return the number of pairs of scans of different species."""
    return (len(species) ** 2 - sum(count**2 for count in Counter(species).values())) // 2


def nearest_of_other_species(
    fingerprints: Sequence[str], species: Sequence[str], pairs: Iterable[tuple[int, int, float]]
) -> NDArray[np.float64]:
    """Return the distance of each scan from the nearest of another species, infinite if no pair contains one.

    Scans with the same fingerprint are exact copies. If their species differ, one of the labels is wrong, and these
    scans are ignored.
    """
    is_sure = _with_one_species(fingerprints, species)
    nearest = [np.inf] * len(fingerprints)
    for one, other, distance in pairs:
        if species[one] != species[other] and is_sure[one] and is_sure[other]:
            nearest[one] = min(nearest[one], distance)
            nearest[other] = min(nearest[other], distance)
    return np.array(nearest)[is_sure]


def _with_one_species(fingerprints: Sequence[str], species: Sequence[str]) -> list[bool]:
    """Return whether all exact copies of each scan are of its species."""
    species_of: defaultdict[str, set[str]] = defaultdict(set)
    for fingerprint, name in zip(fingerprints, species, strict=True):
        species_of[fingerprint].add(name)
    return [len(species_of[fingerprint]) == 1 for fingerprint in fingerprints]
