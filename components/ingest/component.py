"""The pipeline steps of ingest: a plan, shards in parallel, and the data set merged from them."""

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
    doubtful_masks: str = "keep",
    confined: bool = True,
    rare_species: str = "unseen",
    folds: int = 0,
    listing: str = "",  # noqa: ARG001 Kubeflow's cache compares it
    specimens: dsl.Input[dsl.Dataset] = None,
) -> list[int]:
    """List the volumes or photographs, check their headers, and spread their specimens over shards.

    Args:
        volumes: Folder of species/specimen.nii.gz files or species/photograph.jpg files, or a manifest.csv with the
            columns path, species, specimen and optionally split. A path, or an address of s3://, gs:// or minio://.
        image_size: Edge of the slices in pixels.
        slices_per_species: Slices of each species, spread evenly over its specimens.
        planes: Schedule of the planes: published (three axes with jitter, 20 to 160 degrees about each) or random (any
            direction).
        seed: Seed of the planes and the split.
        shards: Number of pods that cut at the same time.
        plan: Every file with its shard and its quota.
        doubtful_masks: Treatment of scans whose segmentation is doubtful: keep or refuse.
        confined: Whether the files of a manifest must be inside its folder. Object stores are always confined.
        rare_species: Treatment of species with fewer than three specimens: unseen, train or refuse.
        folds: Number of folds in which every specimen is tested once, instead of a test split; 0 for none, -1 for 5
            folds of up to 150 specimens.
        listing: Digest of the source's listing, so that Kubeflow takes a plan from its cache only for the same files.
        specimens: Synthetic specimens of this run, which replace the volumes.

    Returns:
        The numbers of the shards.
    """
    from pathlib import Path

    from components.ingest.config import IngestConfig
    from components.ingest.plan import make_plan, write_plan
    from components.shared.errors import exit_on_error

    with exit_on_error("ingest"):
        config = IngestConfig.checked(
            image_size=image_size,
            slices_per_species=slices_per_species,
            planes=planes,
            seed=seed,
            doubtful_masks=doubtful_masks,
            confined=confined,
            rare_species=rare_species,
            folds=folds,
        )
        dataset_plan = make_plan(specimens.path if specimens else volumes, config, shards)
        write_plan(Path(plan.path), dataset_plan)
    return dataset_plan.shard_numbers()


@dsl.component(base_image=COMPONENT_IMAGE, install_kfp_package=False)
def ingest_cut(
    plan: dsl.Input[dsl.Dataset],
    shard: int,
    slice_files: dsl.Output[dsl.Dataset],
    specimens: dsl.Input[dsl.Dataset] = None,  # noqa: ARG001 Kubeflow makes its files available
) -> None:
    """Cut the volumes of one shard into slices, on all cores.

    Args:
        plan: Every file with its shard and its quota.
        shard: Number of the shard.
        slice_files: Slices of the shard, one file for each volume or photograph.
        specimens: Synthetic specimens of this run, at the same path as in the step that made the plan.
    """
    from pathlib import Path

    from components.ingest.plan import read_plan
    from components.ingest.shards import cut_shard
    from components.shared.errors import exit_on_error

    with exit_on_error("ingest"):
        cut_shard(read_plan(Path(plan.path)), shard, Path(slice_files.path))


@dsl.component(base_image=COMPONENT_IMAGE, install_kfp_package=False)
def ingest(
    plan: dsl.Input[dsl.Dataset],
    slice_files: dsl.Input[list[dsl.Dataset]],
    slices: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
    contact_sheet: dsl.Output[dsl.HTML],
    specimens: dsl.Input[dsl.Dataset] = None,  # noqa: ARG001 Kubeflow makes its files available
) -> None:
    """Merge the data set of slices from all shards: refuse copies, split by specimen, write in one order.

    Args:
        plan: Every file with its shard and its quota.
        slice_files: Slices of all shards.
        slices: Raw slices of all splits.
        metrics: Slices, specimens, classes, refused files.
        contact_sheet: Slices of each species, balance, grey values, refused files.
        specimens: Synthetic specimens of this run, at the same path as in the step that made the plan.
    """
    from pathlib import Path

    from components.ingest.dataset import merge_dataset
    from components.ingest.plan import read_plan
    from components.shared.errors import exit_on_error
    from components.shared.files import write_atomically

    with exit_on_error("ingest"):
        shards = [Path(shard.path) for shard in slice_files]
        result = merge_dataset(read_plan(Path(plan.path)), shards, Path(slices.path))
        write_atomically(Path(contact_sheet.path), result.html.encode())
        for name, value in result.metrics().items():
            metrics.log_metric(name, value)
