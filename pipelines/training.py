"""The training pipeline: the one definition that the cluster, a laptop and the tests run."""

from typing import Any

from kfp import dsl

from components.deploy.component import deploy, refuse
from components.evaluate.component import evaluate
from components.ingest.component import ingest
from components.phantoms.component import phantoms
from components.segment.component import segment
from components.train.component import train
from pipelines.placement import checkpoints, place


@dsl.pipeline(name="taxonflow-training", description="From volumes to a deployed species classifier.")
def training(
    volumes: str,
    name: str = "foraminifera",
    target: str = "kserve://taxonflow/foraminifera",
    backbones: list[str] = ["cnn_small", "resnet_small"],  # noqa: B006 kfp reads the default as the UI's
    recipe: dict[str, Any] = {"epochs": 20},  # noqa: B006 kfp reads the default as the UI's
    image_size: int = 224,
    slices_per_species: int = 10000,
    planes: str = "published",
    threshold: float = 0.95,
    seed: int = 0,
) -> None:
    """Cuts and segments slices, trains each backbone, evaluates the ensemble, and deploys it if the gate passes.

    Args:
        volumes: Folder of species/specimen.nii.gz files, or a manifest.csv with the columns path, species, specimen.
        name: Name of the model, as in the endpoint's address.
        target: Where to deploy. kserve://namespace/service, or file:///folder for a local model repository.
        backbones: Networks to train, one task and one GPU each.
        recipe: How to train. Keys as in components/train/recipe.py, for example epochs, batch_size, learning_rate.
        image_size: Edge of a slice in pixels.
        slices_per_species: Slices to cut for each species, spread evenly over its specimens.
        planes: Cutting planes, published (three axes and 20 to 160 degrees about them) or random.
        threshold: Slice accuracy that the ensemble must reach on the test specimens.
        seed: Seed of every random choice.
    """
    ingested = ingest(
        volumes=volumes, image_size=image_size, slices_per_species=slices_per_species, planes=planes, seed=seed
    )
    segmented = segment(slices=ingested.outputs["slices"])
    with dsl.ParallelFor(
        backbones
    ) as backbone:  # a name would break Collected on the cluster (kubeflow/pipelines 13239)
        trained = train(
            slices=segmented.outputs["segmented"],
            backbone=backbone,
            recipe=recipe,
            seed=seed,
            checkpoints=checkpoints("standard"),
        )
        place(trained, "standard")
    evaluated = evaluate(
        slices=segmented.outputs["segmented"],
        models=dsl.Collected(trained.outputs["model"]),
        name=name,
        threshold=threshold,
        seed=seed,
    )
    with dsl.If(evaluated.outputs["passed"] == True, name="gate-passed"):  # noqa: E712 kfp builds the condition
        deploy(served=evaluated.outputs["served"], name=name, target=target)
    with dsl.Else(name="gate-refused"):
        refuse(reasons=evaluated.outputs["reasons"])


@dsl.pipeline(name="taxonflow-phantom-training", description="The training pipeline on synthetic specimens.")
def phantom_training(
    specimens_per_species: int = 20,
    phantom_size: int = 64,
    name: str = "foraminifera",
    target: str = "kserve://taxonflow/foraminifera",
    backbones: list[str] = ["cnn_small", "resnet_small"],  # noqa: B006 kfp reads the default as the UI's
    recipe: dict[str, Any] = {"epochs": 20},  # noqa: B006 kfp reads the default as the UI's
    image_size: int = 64,
    slices_per_species: int = 600,
    planes: str = "random",
    threshold: float = 0.95,
    seed: int = 0,
) -> None:
    """Makes synthetic specimens of twelve forms and runs the training pipeline on them.

    Args:
        specimens_per_species: Synthetic specimens of each form.
        phantom_size: Edge of a synthetic volume in voxels.
        name: Name of the model, as in the endpoint's address.
        target: Where to deploy. kserve://namespace/service, or file:///folder for a local model repository.
        backbones: Networks to train, one task and one GPU each.
        recipe: How to train. Keys as in components/train/recipe.py, for example epochs, batch_size, learning_rate.
        image_size: Edge of a slice in pixels.
        slices_per_species: Slices to cut for each species, spread evenly over its specimens.
        planes: Cutting planes, published (three axes and 20 to 160 degrees about them) or random.
        threshold: Slice accuracy that the ensemble must reach on the test specimens.
        seed: Seed of every random choice.
    """
    made = phantoms(specimens_per_species=specimens_per_species, size=phantom_size, seed=seed)
    training(
        volumes=made.outputs["Output"],
        name=name,
        target=target,
        backbones=backbones,
        recipe=recipe,
        image_size=image_size,
        slices_per_species=slices_per_species,
        planes=planes,
        threshold=threshold,
        seed=seed,
    )


@dsl.pipeline(name="taxonflow-large-training", description="The training pipeline with some backbones on large GPUs.")
def large_training(
    volumes: str,
    name: str = "foraminifera",
    target: str = "kserve://taxonflow/foraminifera",
    backbones: list[str] = ["efficientnetv2_s", "convnext_base"],  # noqa: B006 kfp reads the default as the UI's
    large_backbones: list[str] = ["convnext_large"],  # noqa: B006 kfp reads the default as the UI's
    recipe: dict[str, Any] = {"epochs": 20},  # noqa: B006 kfp reads the default as the UI's
    image_size: int = 224,
    slices_per_species: int = 10000,
    planes: str = "published",
    threshold: float = 0.95,
    seed: int = 0,
) -> None:
    """Does what `training` does for two sizes of backbones, each with its own GPUs; neither list may be empty.

    Args:
        volumes: Folder of species/specimen.nii.gz files, or a manifest.csv with the columns path, species, specimen.
        name: Name of the model, as in the endpoint's address.
        target: Where to deploy. kserve://namespace/service, or file:///folder for a local model repository.
        backbones: Networks to train that fit a standard GPU, one task each.
        large_backbones: Networks to train that need a large GPU, one task each.
        recipe: How to train. Keys as in components/train/recipe.py, for example epochs, batch_size, learning_rate.
        image_size: Edge of a slice in pixels.
        slices_per_species: Slices to cut for each species, spread evenly over its specimens.
        planes: Cutting planes, published (three axes and 20 to 160 degrees about them) or random.
        threshold: Slice accuracy that the ensemble must reach on the test specimens.
        seed: Seed of every random choice.
    """
    ingested = ingest(
        volumes=volumes, image_size=image_size, slices_per_species=slices_per_species, planes=planes, seed=seed
    )
    segmented = segment(slices=ingested.outputs["slices"])
    with dsl.ParallelFor(backbones) as backbone:
        trained = train(
            slices=segmented.outputs["segmented"],
            backbone=backbone,
            recipe=recipe,
            seed=seed,
            checkpoints=checkpoints("standard"),
        )
        place(trained, "standard")
    with dsl.ParallelFor(large_backbones) as backbone:
        large = train(
            slices=segmented.outputs["segmented"],
            backbone=backbone,
            recipe=recipe,
            seed=seed,
            checkpoints=checkpoints("large"),
        )
        place(large, "large")
    evaluated = evaluate(
        slices=segmented.outputs["segmented"],
        models=dsl.Collected(trained.outputs["model"]),
        large_models=dsl.Collected(large.outputs["model"]),
        name=name,
        threshold=threshold,
        seed=seed,
    )
    with dsl.If(evaluated.outputs["passed"] == True, name="gate-passed"):  # noqa: E712 kfp builds the condition
        deploy(served=evaluated.outputs["served"], name=name, target=target)
    with dsl.Else(name="gate-refused"):
        refuse(reasons=evaluated.outputs["reasons"])


PIPELINES = {"training": training, "phantom_training": phantom_training, "large_training": large_training}
