"""Thumbnails: a few slices of each species."""

from components.shared.pages import MAX_SPECIES, PER_SPECIES, Thumbnails


def test_species_beyond_the_limit_have_no_thumbnails() -> None:
    thumbnails = Thumbnails()
    for specimen in range(PER_SPECIES + 1):
        for species in range(MAX_SPECIES + 5):
            thumbnails.add(f"species {species}", "train", f"{species}-{specimen}", b"png")
    assert {len(images) for images in thumbnails.by_species.values()} == {PER_SPECIES}
    assert list(thumbnails.by_species) == [f"species {number}" for number in range(MAX_SPECIES)]
