"""The pipeline step that makes synthetic specimens."""

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
) -> str:
    """Make synthetic specimens with known truth: NIfTI volumes with masks, or photographs, and a manifest.

    Args:
        specimens_per_species: Individuals of each of the twelve forms, where imbalanced of the most frequent one.
        size: Edge of the scanned cube in voxels, 32 to 512, or typical long side of the photographs in pixels.
        seed: The same seed gives the same bytes.
        volumes: Folder with manifest.csv and what it names.
        contact_sheet: All forms.
        kind: What is made, volumes or photographs.
        imbalance: How many times more specimens the most frequent form has than the rarest.

    Returns:
        The address of the folder with manifest.csv.
    """
    from pathlib import Path

    from components.phantoms.kinds import make_phantoms
    from components.shared.errors import exit_on_error
    from components.shared.files import write_atomically

    with exit_on_error("phantoms"):
        page = make_phantoms(kind, Path(volumes.path), specimens_per_species, size, seed, imbalance)
        volumes.metadata.update(synthetic=True, specimens_per_species=specimens_per_species, size=size, seed=seed)
        write_atomically(Path(contact_sheet.path), page.encode())
    return volumes.uri
