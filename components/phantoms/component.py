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
) -> str:
    """Make synthetic specimens with known truth, as NIfTI volumes, masks and a manifest.

    Args:
        specimens_per_species: Individuals of each of the twelve forms.
        size: Edge of the scanned cube in voxels, 32 to 512.
        seed: The same seed gives the same bytes.
        volumes: Folder with manifest.csv, volumes/, masks/, and the species outside the model in unseen/.
        contact_sheet: All forms from outside and in section.

    Returns:
        The address of the folder with manifest.csv.
    """
    from pathlib import Path

    from components.phantoms.contact_sheet import contact_sheet as draw
    from components.phantoms.contact_sheet import contact_sheet_html
    from components.phantoms.generate import PhantomConfig, generate_phantoms
    from components.shared.errors import one_sentence
    from components.shared.files import write_atomically

    with one_sentence("phantoms"):
        config = PhantomConfig(specimens_per_species=specimens_per_species, size=size, seed=seed)
        generate_phantoms(Path(volumes.path), config)
        volumes.metadata.update(synthetic=True, specimens_per_species=specimens_per_species, size=size, seed=seed)
        write_atomically(Path(contact_sheet.path), contact_sheet_html(draw(seed, min(size, 96))).encode())
    return volumes.uri
