"""Slices of the test specimens whose species is known, for the judge of a canary."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from components.deploy.verified_model import Publication
from components.shared.slices import iterate_split, read_info


@dataclass(frozen=True)
class KnownSlice:
    """An encoded, segmented slice and its species."""

    id: str
    image: bytes
    species: str


def examples_of(publication: Publication) -> list[KnownSlice]:
    """Returns the few slices that the served model carries, at most one for each species."""
    return [
        KnownSlice(known.id, (publication.folder / known.file).read_bytes(), known.species)
        for known in publication.card.examples
    ]


def sample_of_test_slices(folder: Path, count: int, seed: int = 0) -> list[KnownSlice]:
    """Draws slices of the test specimens at random, in constant memory (Vitter 1985, algorithm R).

    Args:
        folder: the data set that the model was evaluated on.
        count: at most so many.
        seed: of the choice and the order.

    Raises:
        ContractError: the data set is damaged or has no test slices.
    """
    classes = read_info(folder).classes
    chooser = random.Random(seed)
    drawn: list[KnownSlice] = []
    for number, (identifier, label, image) in enumerate(iterate_split(folder, "test")):
        place = number if number < count else chooser.randrange(number + 1)
        if place < count:
            drawn[place : place + 1] = [KnownSlice(identifier, image, classes[label])]
    chooser.shuffle(drawn)
    return drawn


def slices_for_the_judge(publication: Publication, data: Path | None, count: int) -> Sequence[KnownSlice]:
    """Returns the data set's test slices, or the model's own examples where there is no data set."""
    return examples_of(publication) if data is None else sample_of_test_slices(data, count)
