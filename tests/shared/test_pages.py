"""Which slices are shown of each species."""

from components.shared.pages import MOST_SPECIES, PER_SPECIES, Thumbnails


def test_species_beyond_the_limit_take_nothing_from_those_before_it() -> None:
    thumbnails = Thumbnails()
    for specimen in range(PER_SPECIES + 1):
        for species in range(MOST_SPECIES + 5):
            thumbnails.consider(f"species {species}", "train", f"{species}-{specimen}", b"png")
    assert {len(chosen) for chosen in thumbnails.chosen.values()} == {PER_SPECIES}
    assert list(thumbnails.chosen) == [f"species {number}" for number in range(MOST_SPECIES)]
