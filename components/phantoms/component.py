"""The KFP component that makes synthetic specimens."""

from kfp import dsl

from components.shared.container_images import COMPONENT_IMAGE


@dsl.component(base_image=COMPONENT_IMAGE, install_kfp_package=False)
def phantoms(
    specimens_per_species: int,
    size: int,
    seed: int,
    volumes: dsl.Output[dsl.Dataset],
    contact_sheet: dsl.Output[dsl.HTML],
    kind: str = "volumes",
    imbalance: float = 1.0,
) -> None:
    """Make synthetic specimens with known truth: NIfTI volumes with masks, or photographs, and a manifest.

    Args:
        specimens_per_species: Individuals of each of the twelve species, or of the most frequent one if imbalanced.
        size: Edge of the scanned cube in voxels, 32 to 512, or typical long side of the photographs in pixels.
        seed: Seed; the same seed gives the same bytes.
        volumes: Folder with manifest.csv and the files that it lists.
        contact_sheet: Page with all species.
        kind: Kind of data, volumes or photographs.
        imbalance: Ratio of the specimens of the most frequent species to those of the rarest.
    """
    from pathlib import Path

    from components.phantoms.kinds import PhantomRequest, make_phantoms
    from components.shared.errors import exit_on_error
    from components.shared.files import write_atomically

    with exit_on_error("phantoms"):
        page = make_phantoms(kind, PhantomRequest(specimens_per_species, size, seed, imbalance), Path(volumes.path))
        volumes.metadata.update(synthetic=True, specimens_per_species=specimens_per_species, size=size, seed=seed)
        write_atomically(Path(contact_sheet.path), page.encode())
