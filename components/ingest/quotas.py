"""How many slices are wanted of each scan."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from components.ingest.sources.manifest import Scan
from components.ingest.split import scans_of_the_model


def spread_quota(scans: Sequence[Scan], per_species: int) -> dict[str, int]:
    """Spreads each species' quota evenly over its specimens, at least one slice each, and theirs over their scans.

    A specimen of a species outside the model gets no more than one of the model's richest species does.
    """
    known = {(scan.species, scan.specimen) for scan in scans_of_the_model(scans)}
    richest = max(Counter(species for species, _ in known).values(), default=1)
    tree: defaultdict[str, defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for scan in scans:
        tree[scan.species][scan.specimen].append(scan.path)
    quotas: dict[str, int] = {}
    for species, specimens in tree.items():
        for number, specimen in enumerate(sorted(specimens)):
            among = len(specimens) if (species, specimen) in known else max(richest, len(specimens))
            share = max(1, _even_share(per_species, among, number))
            paths = specimens[specimen]
            quotas.update({path: _even_share(share, len(paths), place) for place, path in enumerate(paths)})
    return quotas


def _even_share(total: int, among: int, number: int) -> int:
    return total // among + (number < total % among)


def one_each(scans: Sequence[Scan], per_species: int) -> dict[str, int]:
    """Takes each scan once: a photograph is one slice, however many a species has."""
    del per_species
    return {scan.path: 1 for scan in scans}
