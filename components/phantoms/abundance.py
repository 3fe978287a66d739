"""Numbers of specimens of each species in a balanced or an imbalanced set."""

from collections.abc import Sequence

from components.shared.errors import BadConfigError

MAX_SPECIMENS = 9999


def abundances(species: Sequence[str], specimens: int, imbalance: float) -> dict[str, int]:
    """Return the number of specimens of each species, which falls by the same factor from one to the next.

    Args:
        species: Names of the species, the most frequent one first.
        specimens: Number of specimens of the first species.
        imbalance: Ratio of the first number to the last; 1 for equal numbers.

    Raises:
        BadConfigError: The number is out of range, or the last species would have less than one specimen.
    """
    if not 1 <= specimens <= MAX_SPECIMENS:
        raise BadConfigError(
            f"{specimens} specimens per species",
            f"1 to {MAX_SPECIMENS}",
            f"Set specimens_per_species to a number from 1 to {MAX_SPECIMENS}.",
        )
    if not 1 <= imbalance <= specimens:
        raise BadConfigError(
            f"imbalance {imbalance:g} : 1",
            f"1 to {specimens}, the specimens of the most frequent species",
            f"Set imbalance to a number from 1 to {specimens}.",
        )
    steps = max(1, len(species) - 1)
    return {name: round(specimens * imbalance ** (-rank / steps)) for rank, name in enumerate(species)}
