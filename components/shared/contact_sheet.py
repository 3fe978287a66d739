"""Parts of the pages that show a data set: slices of each species, counts, refused files."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from components.shared.contracts import Refusal, SplitCount
from components.shared.pages import paragraph, picture, table

PER_SPECIES = 12
MOST_SPECIES = 100
_WIDTH = 112


class Thumbnails:
    """A few slices of each species, of as many specimens as there are."""

    def __init__(self) -> None:
        self.chosen: defaultdict[str, list[tuple[str, bytes]]] = defaultdict(list)
        self._specimens: defaultdict[str, set[str]] = defaultdict(set)

    def consider(self, species: str, split: str, specimen: str, png: bytes) -> None:
        """Keeps a slice unless its species has enough, or its specimen is shown already."""
        enough = len(self.chosen[species]) >= PER_SPECIES
        if enough or specimen in self._specimens[species] or len(self.chosen) > MOST_SPECIES:
            return
        self._specimens[species].add(specimen)
        self.chosen[species].append((f"{specimen}, {split}", png))


def figures(pictures: Iterable[tuple[str, bytes]]) -> str:
    """Returns PNG images in a row, each with its caption."""
    return "".join(picture(png, caption, _WIDTH) for caption, png in pictures)


def balance_table(counts: Sequence[SplitCount], splits: Sequence[str]) -> str:
    """Returns specimens and slices for each species and split."""
    found = {(count.species, count.split): count for count in counts}
    rows = []
    for species in sorted({count.species for count in counts}):
        row = [found.get((species, split)) for split in splits]
        rows.append([species, *(f"{cell.specimens} / {cell.slices}" if cell else "-" for cell in row)])
    return table(["species", *(f"{split}: specimens / slices" for split in splits)], rows)


def refused_table(refused: Sequence[Refusal]) -> str:
    """Returns the files left out and why."""
    if not refused:
        return paragraph("None.")
    return table(["file", "reason"], [(refusal.path, refusal.reason) for refusal in refused])
