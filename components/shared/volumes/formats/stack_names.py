"""The order of the slices of a TIFF stack by the number in their names."""

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import PurePosixPath

from components.shared.errors import BadSourceFileError

TIFF_SUFFIXES = (".tif", ".tiff")
_NUMBER = re.compile(r"\d+")


def is_tiff(name: str) -> bool:
    """Return whether a file name is that of a TIFF file; hidden files are not counted."""
    return name.lower().endswith(TIFF_SUFFIXES) and not PurePosixPath(name).name.startswith(".")


def is_numbered(name: str) -> bool:
    """Return whether a file name contains a number."""
    return bool(_NUMBER.search(PurePosixPath(name).stem))


def sort_slices(names: Sequence[str]) -> list[str]:
    """Return the names of the slices of a stack in the order of their numbers.

    Raises:
        BadSourceFileError: A name has no number or differs in more than its number, a number is missing, or two slices
            have the same number.
    """
    texts = [tuple(_NUMBER.split(PurePosixPath(name).stem)) for name in names]
    common = max(set(texts), key=texts.count)
    for name, text in zip(names, texts, strict=True):
        if text != common or len(text) == 1:
            raise BadSourceFileError(
                f"the slice {name!r}",
                f"names that differ only in a number, such as {names[texts.index(common)]!r}",
                "Move other images out of the folder.",
            )
    numbers = [tuple(map(int, _NUMBER.findall(PurePosixPath(name).stem))) for name in names]
    places = [place for place in range(len(numbers[0])) if len({number[place] for number in numbers}) > 1]
    if len(places) > 1:
        raise BadSourceFileError(
            f"the slices {names[0]!r} and {names[-1]!r} differ in {len(places)} numbers",
            "one number that counts slices",
        )
    place = places[0] if places else 0
    slices = sorted((number[place], name) for number, name in zip(numbers, names, strict=True))
    _check_numbers(slices)
    return [name for _, name in slices]


def _check_numbers(slices: Sequence[tuple[int, str]]) -> None:
    for (first, name), (second, next_name) in pairwise(slices):
        if first == second:
            raise BadSourceFileError(
                f"the slices {name!r} and {next_name!r} have the same number", "each number once", "Remove one of them."
            )
        if second != first + 1:
            raise BadSourceFileError(
                f"{second - first - 1} slices are missing between {name!r} and {next_name!r}",
                "numbers without a gap",
                "Copy the missing slices, or number the slices again.",
            )
