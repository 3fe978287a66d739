"""The pipeline step that cuts volumes into slices."""

from kfp import dsl

from components.shared.container_images import COMPONENT_IMAGE


@dsl.component(base_image=COMPONENT_IMAGE, install_kfp_package=False)
def ingest(
    volumes: str,
    image_size: int,
    slices_per_species: int,
    planes: str,
    seed: int,
    slices: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
    contact_sheet: dsl.Output[dsl.HTML],
) -> None:
    """Cut volumes into slices, split by specimen.

    Args:
        volumes: Folder of species/specimen.nii.gz files, or a manifest.csv of path, species, specimen, maybe split.
        image_size: Edge of the slices in pixels.
        slices_per_species: How many slices of each species, spread evenly over its specimens.
        planes: published (three axes with jitter, 20 to 160 degrees about each) or random (any direction).
        seed: Of the planes and the split.
        slices: Raw slices of all splits.
        metrics: Slices, specimens, classes, refused volumes.
        contact_sheet: Slices of each species, balance, grey values, refused volumes.
    """
    from pathlib import Path

    from components.ingest.config import IngestConfig
    from components.ingest.dataset import make_dataset
    from components.shared.errors import one_sentence
    from components.shared.files import write_atomically

    with one_sentence("ingest"):
        config = IngestConfig.checked(
            image_size=image_size, slices_per_species=slices_per_species, planes=planes, seed=seed
        )
        made = make_dataset(Path(volumes), Path(slices.path), config)
        write_atomically(Path(contact_sheet.path), made.html.encode())
        for name, value in made.metrics().items():
            metrics.log_metric(name, value)
