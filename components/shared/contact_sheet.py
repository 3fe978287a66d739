"""Parts of the pages that show a data set: slices of each species, and how many there are."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from components.shared.contracts import SplitCount
from components.shared.pages import picture, table
from components.shared.slices import SPLITS

PER_SPECIES = 12
MOST_SPECIES = 100
_WIDTH = 112


class Thumbnails:
    """A few slices of each species, of as many specimens as there are."""

    def __init__(self) -> None:
        self.chosen: defaultdict[str, list[tuple[str, bytes]]] = defaultdict(list)
        self._specimens: defaultdict[str, set[str]] = defaultdict(set)

    def consider(self, species: str, split: str, specimen: str, png: bytes) -> None:
        """Keeps a slice unless MOST_SPECIES others came first, its species has enough, or its specimen is shown."""
        if species not in self.chosen and len(self.chosen) == MOST_SPECIES:
            return
        if len(self.chosen[species]) == PER_SPECIES or specimen in self._specimens[species]:
            return
        self._specimens[species].add(specimen)
        self.chosen[species].append((f"{specimen}, {split}", png))


def figures(pictures: Iterable[tuple[str, bytes]]) -> str:
    """Returns PNG images in a row, each with its caption."""
    return "".join(picture(png, caption, _WIDTH) for caption, png in pictures)


def splits_of(counts: Sequence[SplitCount]) -> list[str]:
    """Returns the splits that there are, the model's own first."""
    return [*SPLITS, *sorted({count.split for count in counts} - set(SPLITS))]


def species_of(counts: Sequence[SplitCount]) -> list[str]:
    """Returns the species in alphabetical order."""
    return sorted({count.species for count in counts})


def balance_table(counts: Sequence[SplitCount]) -> str:
    """Returns specimens and slices for each species and split, and of all species together."""
    splits = splits_of(counts)
    header = ["species", *(f"{split}: {unit}" for split in splits for unit in ("specimens", "slices")), "all slices"]
    rows = [
        _balance_row(name, [count for count in counts if count.species == name], splits) for name in species_of(counts)
    ]
    return table(header, [*rows, _balance_row("all", counts, splits)])


def _balance_row(name: str, counts: Sequence[SplitCount], splits: Sequence[str]) -> list[object]:
    numbers = [
        sum(getattr(count, unit) for count in counts if count.split == split)
        for split in splits
        for unit in ("specimens", "slices")
    ]
    return [name, *numbers, sum(numbers[1::2])]
