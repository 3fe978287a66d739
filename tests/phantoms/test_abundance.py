"""Numbers of specimens in imbalanced sets."""

import pytest

from components.phantoms.abundance import abundances
from components.shared.errors import BadConfigError


def test_numbers_fall_by_the_same_factor() -> None:
    assert abundances("abc", 100, 4) == {"a": 100, "b": 50, "c": 25}
    assert abundances("abc", 7, 1) == {"a": 7, "b": 7, "c": 7}
    for specimens, imbalance in ((0, 1), (5, 6), (5, 0.5), (10**5, 1)):
        with pytest.raises(BadConfigError):
            abundances("abc", specimens, imbalance)
