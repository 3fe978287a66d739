"""The pipeline steps that cut volumes into slices: a plan, shards side by side, and the data set made of them."""

from kfp import dsl

from components.shared.container_images import COMPONENT_IMAGE


@dsl.component(base_image=COMPONENT_IMAGE, install_kfp_package=False)
def ingest_plan(
    volumes: str,
    image_size: int,
    slices_per_species: int,
    planes: str,
    seed: int,
    shards: int,
    plan: dsl.Output[dsl.Dataset],
) -> list[int]:
    """List the volumes, check their headers, and spread their specimens over shards.

    Args:
        volumes: Folder of species/specimen.nii.gz files or species/photograph.jpg files, or a manifest.csv of path,
            species, specimen, maybe split. A path, or an address of s3://, gs:// or minio://.
        image_size: Edge of the slices in pixels.
        slices_per_species: How many slices of each species, spread evenly over its specimens.
        planes: published (three axes with jitter, 20 to 160 degrees about each) or random (any direction).
        seed: Of the planes and the split.
        shards: How many pods cut at the same time.
        plan: Every volume with its shard.

    Returns:
        The numbers of the shards.
    """
    from pathlib import Path

    from components.ingest.config import IngestConfig
    from components.ingest.plan import make_plan, write_plan
    from components.shared.errors import exit_on_error

    with exit_on_error("ingest"):
        config = IngestConfig.checked(
            image_size=image_size, slices_per_species=slices_per_species, planes=planes, seed=seed
        )
        made = make_plan(volumes, config, shards)
        write_plan(Path(plan.path), made)
    return made.numbers()


@dsl.component(base_image=COMPONENT_IMAGE, install_kfp_package=False)
def ingest_cut(plan: dsl.Input[dsl.Dataset], shard: int, parts: dsl.Output[dsl.Dataset]) -> None:
    """Cut the volumes of one shard into slices, on all cores.

    Args:
        plan: Every volume with its shard.
        shard: Number of the shard.
        parts: The slices of each volume in a file of its own.
    """
    from pathlib import Path

    from components.ingest.plan import read_plan
    from components.ingest.shards import cut_shard
    from components.shared.errors import exit_on_error

    with exit_on_error("ingest"):
        cut_shard(read_plan(Path(plan.path)), shard, Path(parts.path))


@dsl.component(base_image=COMPONENT_IMAGE, install_kfp_package=False)
def ingest(
    plan: dsl.Input[dsl.Dataset],
    parts: dsl.Input[list[dsl.Dataset]],
    slices: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
    contact_sheet: dsl.Output[dsl.HTML],
) -> None:
    """Make the data set of slices from all shards: refuse copies, split by specimen, write in one order.

    Args:
        plan: Every volume with its shard.
        parts: The shards.
        slices: Raw slices of all splits.
        metrics: Slices, specimens, classes, refused volumes.
        contact_sheet: Slices of each species, balance, grey values, refused volumes.
    """
    from pathlib import Path

    from components.ingest.dataset import merge_dataset
    from components.ingest.plan import read_plan
    from components.shared.errors import exit_on_error
    from components.shared.files import write_atomically

    with exit_on_error("ingest"):
        shards = [Path(part.path) for part in parts]
        made = merge_dataset(read_plan(Path(plan.path)), shards, Path(slices.path))
        write_atomically(Path(contact_sheet.path), made.html.encode())
        for name, value in made.metrics().items():
            metrics.log_metric(name, value)
