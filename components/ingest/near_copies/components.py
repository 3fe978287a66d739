"""Connected components of specimens, built from pairs one at a time, so that no list of pairs is held in memory."""

from collections import defaultdict


class ConnectedSpecimens:
    """Disjoint sets of specimens with path halving (Tarjan and van Leeuwen 1984, doi:10.1145/62.2160)."""

    def __init__(self, count: int) -> None:
        """Create one set for each of a number of specimens."""
        self._parents = list(range(count))
        self._distances: dict[int, float] = {}

    def connect(self, one: int, other: int, distance: float) -> None:
        """Join the sets of two specimens; the scans of one specimen are not a pair."""
        if one == other:
            return
        first, second = sorted((self._root(one), self._root(other)))
        self._parents[second] = first
        largest = max(self._distances.pop(second, 0.0), self._distances.get(first, 0.0))
        self._distances[first] = max(distance, largest)

    def groups(self) -> list[tuple[list[int], float]]:
        """Return (ascending specimens, largest distance of a pair) of each set of two or more, by their first ones."""
        members: defaultdict[int, list[int]] = defaultdict(list)
        for specimen in range(len(self._parents)):
            members[self._root(specimen)].append(specimen)
        return [(members[root], self._distances[root]) for root in sorted(self._distances)]

    def _root(self, specimen: int) -> int:
        while self._parents[specimen] != specimen:
            self._parents[specimen] = self._parents[self._parents[specimen]]
            specimen = self._parents[specimen]
        return specimen
