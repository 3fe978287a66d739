"""Masks that are alike in many specimens: they show the tube or holder of the scans instead of the specimens."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from components.ingest.sources.manifest import Scan

MANY_SPECIMENS = 3
"""Number of other specimens with a like mask from which on a mask is doubtful. One individual is rarely scanned under
four names, and the fingerprints of different specimens are never as near."""
MOST_LISTED = 10
"""Largest number of other specimens that are counted: the pairs of a large data set are not held in memory."""


@dataclass
class AlikeMasks:
    """The masks that are like that of a scan.

    Attributes:
        specimens: Numbers of the scans of the first MOST_LISTED other specimens, one for each.
        several_species: Whether a like mask is that of another species, so that they cannot be one individual.
    """

    specimens: list[int] = field(default_factory=list)
    several_species: bool = False

    def add(self, number: int, other: int, scans: Sequence[Scan]) -> None:
        """Add a scan with a like mask."""
        self.several_species |= scans[number].species != scans[other].species
        is_new = all(scans[other].specimen != scans[member].specimen for member in self.specimens)
        if is_new and len(self.specimens) < MOST_LISTED:
            self.specimens.append(other)

    def describe(self, scans: Sequence[Scan]) -> str:
        """Return the reason to doubt the mask."""
        count = len(self.specimens)
        number = f"{count} or more" if count == MOST_LISTED else str(count)
        return f"it is like the masks of {number} other specimens, such as that of {scans[self.specimens[0]].path}"


def find_alike_masks(scans: Sequence[Scan], pairs: Iterable[tuple[int, int, float]]) -> dict[str, AlikeMasks]:
    """Return the scans whose masks are like those of MANY_SPECIMENS other specimens or more, by path.

    Args:
        scans: Scans of all specimens.
        pairs: Pairs of scans with like masks: (first, second, distance).
    """
    alike: defaultdict[int, AlikeMasks] = defaultdict(AlikeMasks)
    for one, other, _ in pairs:
        if scans[one].specimen != scans[other].specimen:
            alike[one].add(one, other, scans)
            alike[other].add(other, one, scans)
    many = {number: masks for number, masks in alike.items() if len(masks.specimens) >= MANY_SPECIMENS}
    return {scans[number].path: many[number] for number in sorted(many)}
