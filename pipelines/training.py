"""The training pipeline: the one definition that the cluster, a laptop and the tests run."""

from functools import partial
from typing import Any

from kfp import dsl, kubernetes

from components.deploy.component import deploy, refuse
from components.evaluate.component import evaluate
from components.evaluate.gate import GateConditions
from components.ingest.component import ingest, ingest_cut, ingest_plan
from components.phantoms.component import phantoms
from components.segment.component import segment
from components.shared.signing import SIGNING_KEY, VERIFICATION_KEY
from components.train.component import train
from pipelines.resources import Size, checkpoints, place
from pipelines.shared_parameters import WithParametersOf

VOLUMES_SECRET = "taxonflow-volumes"  # noqa: S105 a secret's name
SIGNING_SECRET, VERIFICATION_MAP = "taxonflow-signing-key", "taxonflow-verification-key"
_STORE_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_REGION")

CUTTING = ("volumes", "image_size", "slices_per_species", "planes", "segmentation", "seed", "shards")
JUDGING = ("name", "threshold", "gate", "seed", "material")
MODELS: dict[Size, str] = {"standard": "models", "large": "large_models"}
"""Where `evaluate` takes the models of a size of GPUs."""
GATE = GateConditions().model_dump()


def reading_volumes(task: dsl.PipelineTask) -> dsl.PipelineTask:
    """Gives a task the object store's credentials from a secret, if the namespace has it; else its own identity.

    The store holds volumes, and pre-trained weights for clusters without the Internet.
    """
    names = {name: name for name in _STORE_VARIABLES}
    kubernetes.use_secret_as_env(task, secret_name=VOLUMES_SECRET, secret_key_to_env=names, optional=True)
    return task


def with_keys(evaluated: dsl.PipelineTask, deployed: dsl.PipelineTask) -> None:
    """Gives two tasks the keys to sign a served model and to verify it with, if the namespace has them."""
    kubernetes.use_secret_as_volume(evaluated, SIGNING_SECRET, str(SIGNING_KEY[1].parent), optional=True)
    kubernetes.use_config_map_as_volume(deployed, VERIFICATION_MAP, str(VERIFICATION_KEY[1].parent), optional=True)


def segmented_slices(segmentation: Any, **cutting: Any) -> dsl.PipelineTask:
    """Adds the steps from volumes to segmented slices, with the cutting shared out over pods.

    Args:
        segmentation: the pipeline's parameter of this name.
        cutting: the parameters of `ingest_plan`.

    Returns:
        The task whose output `segmented` is the data set.
    """
    planned = reading_volumes(ingest_plan(**cutting))
    # A loop with a name would break Collected on the cluster (kubeflow/pipelines 13239).
    with dsl.ParallelFor(planned.outputs["Output"]) as shard:
        cut = reading_volumes(ingest_cut(plan=planned.outputs["plan"], shard=shard))
    slice_files = dsl.Collected(cut.outputs["slice_files"])
    ingested = reading_volumes(ingest(plan=planned.outputs["plan"], slice_files=slice_files))
    return segment(slices=ingested.outputs["slices"], segmentation=segmentation)


def trained_models(slices: Any, backbones: Any, size: Size, recipe: Any, seed: Any) -> dsl.Collected:
    """Adds one training task for each backbone of a size and returns their models."""
    with dsl.ParallelFor(backbones) as backbone:
        trained = train(slices=slices, backbone=backbone, recipe=recipe, seed=seed, checkpoints=checkpoints(size))
        place(reading_volumes(trained), size)
    return dsl.Collected(trained.outputs["model"])


def deployed_if_passed(evaluated: dsl.PipelineTask, slices: Any, name: Any, target: Any, canary: Any) -> None:
    """Adds what follows the verdict: the deployment, or a refusal that says why."""
    with dsl.If(evaluated.outputs["passed"] == True, name="gate-passed"):  # noqa: E712 kfp builds the condition
        deployed = deploy(served=evaluated.outputs["served"], slices=slices, name=name, target=target, canary=canary)
        with_keys(evaluated, deployed)
    with dsl.Else(name="gate-refused"):
        refuse(reasons=evaluated.outputs["reasons"])


def deployed_ensemble(backbones: dict[Size, Any], **given: Any) -> None:
    """Adds all steps from volumes to a deployed ensemble.

    Args:
        backbones: networks to train, by the size of their GPUs.
        given: the other parameters of `training`.
    """
    slices = segmented_slices(**{name: given[name] for name in CUTTING}).outputs["segmented"]
    models = {
        MODELS[size]: trained_models(slices, names, size, given["recipe"], given["seed"])
        for size, names in backbones.items()
    }
    evaluated = evaluate(slices=slices, **models, **{name: given[name] for name in JUDGING})
    deployed_if_passed(evaluated, slices, given["name"], given["target"], given["canary"])


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
    segmentation: str = "specimen",
    threshold: float = 0.95,
    canary: dict[str, Any] = {"percent": 10},  # noqa: B006 kfp reads the default as the UI's
    gate: dict[str, Any] = GATE,
    seed: int = 0,
    shards: int = 1,
    material: str = "specimens",
) -> None:
    """Cuts and segments slices, trains each backbone, evaluates the ensemble, and deploys it if the gate passes.

    Args:
        volumes: Folder of species/specimen.nii.gz or species/photograph.jpg files, perhaps below train, val and test,
            or a manifest.csv with the columns path, species, specimen, and if wanted split. A mounted path, or an
            address of s3://, gs:// or minio://.
        name: Name of the model, as in the endpoint's address.
        target: Where to deploy. kserve://namespace/service, or file:///folder for a local model repository.
        backbones: Networks to train, one task and one GPU each.
        recipe: How to train. Keys as in components/train/recipe.py, for example epochs, batch_size, learning_rate; a
            dictionary under backbones says what is different for some of them.
        image_size: Edge of a slice in pixels.
        slices_per_species: Slices to cut for each species, spread evenly over its specimens. A photograph is one slice.
        planes: Cutting planes, published (three axes and 20 to 160 degrees about them) or random.
        segmentation: What is done with the background, specimen (all but the specimen becomes black) or none.
        threshold: Slice accuracy that the ensemble must reach on the test specimens.
        canary: How a cluster tries the model first. Keys as in components/deploy/canary/settings.py, e.g. percent.
        gate: What else the gate requires. Keys as in components/evaluate/gate.py, e.g. smallest_recall of each species.
        seed: Seed of every random choice.
        shards: Pods that cut volumes at the same time. The slices do not depend on it.
        material: What the specimens are, as the report calls them.
    """
    deployed_ensemble(
        {"standard": backbones},
        volumes=volumes,
        name=name,
        target=target,
        recipe=recipe,
        image_size=image_size,
        slices_per_species=slices_per_species,
        planes=planes,
        segmentation=segmentation,
        threshold=threshold,
        canary=canary,
        gate=gate,
        seed=seed,
        shards=shards,
        material=material,
    )


@dsl.pipeline(name="taxonflow-phantom-training", description="The training pipeline on synthetic specimens.")
@partial(
    WithParametersOf,
    other=training,
    given=("volumes", "material"),
    image_size=64,
    slices_per_species=600,
    planes="random",
)
def phantom_training(
    specimens_per_species: int = 20,
    phantom_size: int = 64,
    phantom_kind: str = "volumes",
    phantom_imbalance: float = 1.0,
    seed: int = 0,
    **of_training: Any,
) -> None:
    """Makes synthetic specimens of twelve forms and runs the training pipeline on them.

    Args:
        specimens_per_species: Synthetic specimens of each form, where imbalanced of the most frequent one.
        phantom_size: Edge of a synthetic volume in voxels, or long side of the larger photographs in pixels.
        phantom_kind: What is made, volumes or photographs.
        phantom_imbalance: How many times more specimens the most frequent form has than the rarest.
        seed: Seed of every random choice.
        **of_training: What training takes besides.
    """
    made = phantoms(
        specimens_per_species=specimens_per_species,
        size=phantom_size,
        seed=seed,
        kind=phantom_kind,
        imbalance=phantom_imbalance,
    )
    training(volumes=made.outputs["Output"], material="synthetic specimens", seed=seed, **of_training)


@dsl.pipeline(name="taxonflow-large-training", description="The training pipeline with some backbones on large GPUs.")
@partial(WithParametersOf, other=training)
def large_training(
    volumes: str,
    backbones: list[str] = ["efficientnetv2_s", "convnext_base"],  # noqa: B006 kfp reads the default as the UI's
    large_backbones: list[str] = ["convnext_large"],  # noqa: B006 kfp reads the default as the UI's
    **of_training: Any,
) -> None:
    """Does what `training` does for two sizes of backbones, each with its own GPUs; neither list may be empty.

    Args:
        volumes: Folder or manifest of volumes or photographs, as in taxonflow-training.
        backbones: Networks to train that fit a standard GPU, one task each.
        large_backbones: Networks to train that need a large GPU, one task each.
        **of_training: What training takes besides.
    """
    deployed_ensemble({"standard": backbones, "large": large_backbones}, volumes=volumes, **of_training)


PIPELINES = {"training": training, "phantom_training": phantom_training, "large_training": large_training}
