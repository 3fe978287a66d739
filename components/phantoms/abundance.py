"""How many specimens there are of each species, when some are frequent and some are rare."""

from collections.abc import Sequence

from components.shared.errors import BadConfigError

MOST_SPECIMENS = 9999


def abundances(species: Sequence[str], most: int, imbalance: float) -> dict[str, int]:
    """Returns the number of specimens of each species, falling by the same factor from one to the next.

    Args:
        species: the most frequent one first.
        most: specimens of the first.
        imbalance: how many times more these are than those of the last; 1 for equal numbers.

    Raises:
        BadConfigError: no specimens, too many, or less than one of the rarest.
    """
    if not 1 <= most <= MOST_SPECIMENS:
        raise BadConfigError(f"{most} specimens per species", f"1 to {MOST_SPECIMENS}", "Ask for another number.")
    if not 1 <= imbalance <= most:
        raise BadConfigError(f"imbalance {imbalance:g} : 1", f"1 to {most}, the specimens of the most frequent species")
    steps = max(1, len(species) - 1)
    return {name: round(most * imbalance ** (-rank / steps)) for rank, name in enumerate(species)}
