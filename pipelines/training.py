"""The training pipelines: one definition for the cluster, for local runs and for the tests.

`build_pipelines` builds the pipelines with the given cluster resources. kfp reads a pipeline's parameters from the
signature and their descriptions from the docstring, so each pipeline lists its parameters in full.
`tests/pipelines/test_parameters.py` checks that parameters of the same name agree.
"""

# ruff: noqa: B006, B008, E501 kfp shows the defaults in the UI and keeps the line breaks of descriptions

from typing import Any

from kfp import dsl, kubernetes
from kfp.dsl.base_component import BaseComponent

from components.deploy.component import deploy, refuse
from components.evaluate.component import evaluate
from components.evaluate.gate import GateConditions
from components.ingest.component import ingest, ingest_cut, ingest_plan
from components.phantoms.component import phantoms
from components.segment.component import segment
from components.shared.signing import SIGNING_KEY, VERIFICATION_KEY
from components.train.component import train
from pipelines.drift import build_drift
from pipelines.resources import TaskResources, TrainingResources, checkpoint_folder, request_resources

VOLUMES_SECRET = "taxonflow-volumes"  # noqa: S105 a secret's name
SIGNING_SECRET, VERIFICATION_MAP = "taxonflow-signing-key", "taxonflow-verification-key"
_STORE_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_REGION")


def build_pipelines(resources: TrainingResources | None) -> dict[str, BaseComponent]:
    """Build all pipelines.

    Args:
        resources: Cluster resources of the training tasks; None for local runs.

    Returns:
        The pipelines by name: training, phantom_training, large_training and drift.
    """
    training = build_training(resources.standard if resources else None)
    return {
        "training": training,
        "phantom_training": build_phantom_training(training),
        "large_training": build_large_training(resources),
        "drift": build_drift(training),
    }


def build_training(resources: TaskResources | None) -> BaseComponent:
    """Build the pipeline from volumes to a deployed ensemble."""

    @dsl.pipeline(name="taxonflow-training", description="From volumes to a deployed species classifier.")
    def training(
        volumes: str,
        name: str = "foraminifera",
        target: str = "kserve://taxonflow/foraminifera",
        backbones: list[str] = ["cnn_small", "resnet_small"],
        recipe: dict[str, Any] = {"epochs": 20},
        image_size: int = 224,
        slices_per_species: int = 10000,
        planes: str = "published",
        segmentation: str = "specimen",
        threshold: float = 0.95,
        canary: dict[str, Any] = {"percent": 10},
        gate: dict[str, Any] = GateConditions().model_dump(),
        seed: int = 0,
        shards: int = 1,
        doubtful_masks: str = "keep",
        confined: bool = True,
        rare_species: str = "unseen",
        material: str = "specimens",
    ) -> None:
        """Cut and segment slices, train each backbone, evaluate the ensemble, and deploy it if the gate passes.

        Args:
            volumes: Folder of species/specimen.nii.gz or species/photograph.jpg files, optionally inside folders
                train, val and test, or a manifest.csv with the columns path, species, specimen and optionally split. A mounted path, or an
                address of s3://, gs:// or minio://.
            name: Name of the model, as in the endpoint's address.
            target: Where to deploy. kserve://namespace/service, or file:///folder for a local model repository.
            backbones: Networks to train, one task and one GPU each.
            recipe: How to train. Keys as in components/train/recipe.py, for example epochs, batch_size, learning_rate; a
                dictionary under backbones overrides them for single backbones.
            image_size: Edge of a slice in pixels.
            slices_per_species: Slices to cut for each species, spread evenly over its specimens. A photograph is one slice.
            planes: Cutting planes, published (three axes and 20 to 160 degrees about them) or random.
            segmentation: Treatment of the background, specimen (sets it to black) or none (keeps it).
            threshold: Slice accuracy that the ensemble must reach on the test specimens.
            canary: Trial of a new model on a cluster. Keys as in components/deploy/canary/settings.py, e.g. percent.
            gate: Further conditions of the gate. Keys as in components/evaluate/gate.py, e.g. smallest_recall of each species.
            seed: Seed of every random choice.
            shards: Pods that cut volumes at the same time. The slices do not depend on it.
            doubtful_masks: Treatment of scans whose segmentation is doubtful, keep (reports them) or refuse.
            confined: Whether the files of a manifest must be inside its folder. Object stores are always confined.
            rare_species: Treatment of species with fewer than three specimens, unseen (the model has to recognize them as unknown), train (outside the gate's floors) or refuse.
            material: Name of the specimens in the report.
        """
        slices = segmented_slices(
            segmentation,
            volumes=volumes,
            image_size=image_size,
            slices_per_species=slices_per_species,
            planes=planes,
            seed=seed,
            shards=shards,
            doubtful_masks=doubtful_masks,
            confined=confined,
            rare_species=rare_species,
        )
        models = trained_models(slices, backbones, recipe, seed, resources)
        settings = {"name": name, "threshold": threshold, "gate": gate, "seed": seed, "material": material}
        evaluation = evaluate(slices=slices, models=models, **settings)
        deploy_if_passed(evaluation, slices, name, target, canary)

    return training


def build_phantom_training(training: BaseComponent) -> BaseComponent:
    """Build the pipeline that generates synthetic specimens and nests the training pipeline."""

    @dsl.pipeline(name="taxonflow-phantom-training", description="The training pipeline on synthetic specimens.")
    def phantom_training(
        specimens_per_species: int = 20,
        phantom_size: int = 64,
        phantom_kind: str = "volumes",
        phantom_imbalance: float = 1.0,
        seed: int = 0,
        name: str = "foraminifera",
        target: str = "kserve://taxonflow/foraminifera",
        backbones: list[str] = ["cnn_small", "resnet_small"],
        recipe: dict[str, Any] = {"epochs": 20},
        image_size: int = 64,
        slices_per_species: int = 600,
        planes: str = "random",
        segmentation: str = "specimen",
        threshold: float = 0.95,
        canary: dict[str, Any] = {"percent": 10},
        gate: dict[str, Any] = GateConditions().model_dump(),
        shards: int = 1,
        doubtful_masks: str = "keep",
        confined: bool = True,
        rare_species: str = "unseen",
    ) -> None:
        """Generate synthetic specimens of twelve forms and run the training pipeline on them.

        Args:
            specimens_per_species: Synthetic specimens of each form, where imbalanced of the most frequent one.
            phantom_size: Edge of a synthetic volume in voxels, or long side of the larger photographs in pixels.
            phantom_kind: What is made, volumes or photographs.
            phantom_imbalance: How many times more specimens the most frequent form has than the rarest.
            seed: Seed of every random choice.
            name: Name of the model, as in the endpoint's address.
            target: Where to deploy. kserve://namespace/service, or file:///folder for a local model repository.
            backbones: Networks to train, one task and one GPU each.
            recipe: How to train. Keys as in components/train/recipe.py, for example epochs, batch_size, learning_rate; a dictionary under backbones overrides them for single backbones.
            image_size: Edge of a slice in pixels.
            slices_per_species: Slices to cut for each species, spread evenly over its specimens. A photograph is one slice.
            planes: Cutting planes, published (three axes and 20 to 160 degrees about them) or random.
            segmentation: Treatment of the background, specimen (sets it to black) or none (keeps it).
            threshold: Slice accuracy that the ensemble must reach on the test specimens.
            canary: Trial of a new model on a cluster. Keys as in components/deploy/canary/settings.py, e.g. percent.
            gate: Further conditions of the gate. Keys as in components/evaluate/gate.py, e.g. smallest_recall of each species.
            shards: Pods that cut volumes at the same time. The slices do not depend on it.
            doubtful_masks: Treatment of scans whose segmentation is doubtful, keep (reports them) or refuse.
            confined: Whether the files of a manifest must be inside its folder. Object stores are always confined.
            rare_species: Treatment of species with fewer than three specimens, unseen (the model has to recognize them as unknown), train (outside the gate's floors) or refuse.
        """
        specimens = phantoms(
            specimens_per_species=specimens_per_species,
            size=phantom_size,
            seed=seed,
            kind=phantom_kind,
            imbalance=phantom_imbalance,
        )
        training(
            volumes=specimens.outputs["Output"],
            material="synthetic specimens",
            seed=seed,
            name=name,
            target=target,
            backbones=backbones,
            recipe=recipe,
            image_size=image_size,
            slices_per_species=slices_per_species,
            planes=planes,
            segmentation=segmentation,
            threshold=threshold,
            canary=canary,
            gate=gate,
            shards=shards,
            doubtful_masks=doubtful_masks,
            confined=confined,
            rare_species=rare_species,
        )

    return phantom_training


def build_large_training(resources: TrainingResources | None) -> BaseComponent:
    """Build the training pipeline with a second list of backbones, which train on large GPUs."""

    @dsl.pipeline(
        name="taxonflow-large-training", description="The training pipeline with some backbones on large GPUs."
    )
    def large_training(
        volumes: str,
        backbones: list[str] = ["efficientnetv2_s", "convnext_base"],
        large_backbones: list[str] = ["convnext_large"],
        name: str = "foraminifera",
        target: str = "kserve://taxonflow/foraminifera",
        recipe: dict[str, Any] = {"epochs": 20},
        image_size: int = 224,
        slices_per_species: int = 10000,
        planes: str = "published",
        segmentation: str = "specimen",
        threshold: float = 0.95,
        canary: dict[str, Any] = {"percent": 10},
        gate: dict[str, Any] = GateConditions().model_dump(),
        seed: int = 0,
        shards: int = 1,
        doubtful_masks: str = "keep",
        confined: bool = True,
        rare_species: str = "unseen",
        material: str = "specimens",
    ) -> None:
        """Run the training pipeline on backbones of two sizes, each with its own GPUs; neither list may be empty.

        Args:
            volumes: Folder or manifest of volumes or photographs, as in taxonflow-training.
            backbones: Networks to train that fit a standard GPU, one task each.
            large_backbones: Networks to train that need a large GPU, one task each.
            name: Name of the model, as in the endpoint's address.
            target: Where to deploy. kserve://namespace/service, or file:///folder for a local model repository.
            recipe: How to train. Keys as in components/train/recipe.py, for example epochs, batch_size, learning_rate; a dictionary under backbones overrides them for single backbones.
            image_size: Edge of a slice in pixels.
            slices_per_species: Slices to cut for each species, spread evenly over its specimens. A photograph is one slice.
            planes: Cutting planes, published (three axes and 20 to 160 degrees about them) or random.
            segmentation: Treatment of the background, specimen (sets it to black) or none (keeps it).
            threshold: Slice accuracy that the ensemble must reach on the test specimens.
            canary: Trial of a new model on a cluster. Keys as in components/deploy/canary/settings.py, e.g. percent.
            gate: Further conditions of the gate. Keys as in components/evaluate/gate.py, e.g. smallest_recall of each species.
            seed: Seed of every random choice.
            shards: Pods that cut volumes at the same time. The slices do not depend on it.
            doubtful_masks: Treatment of scans whose segmentation is doubtful, keep (reports them) or refuse.
            confined: Whether the files of a manifest must be inside its folder. Object stores are always confined.
            rare_species: Treatment of species with fewer than three specimens, unseen (the model has to recognize them as unknown), train (outside the gate's floors) or refuse.
            material: Name of the specimens in the report.
        """
        slices = segmented_slices(
            segmentation,
            volumes=volumes,
            image_size=image_size,
            slices_per_species=slices_per_species,
            planes=planes,
            seed=seed,
            shards=shards,
            doubtful_masks=doubtful_masks,
            confined=confined,
            rare_species=rare_species,
        )
        standard = trained_models(slices, backbones, recipe, seed, resources.standard if resources else None)
        large = trained_models(slices, large_backbones, recipe, seed, resources.large if resources else None)
        settings = {"name": name, "threshold": threshold, "gate": gate, "seed": seed, "material": material}
        evaluation = evaluate(slices=slices, models=standard, large_models=large, **settings)
        deploy_if_passed(evaluation, slices, name, target, canary)

    return large_training


def segmented_slices(segmentation: Any, **ingest_parameters: Any) -> Any:
    """Add the steps from volumes to segmented slices; cutting is divided among pods.

    Args:
        segmentation: Treatment of the background.
        ingest_parameters: Parameters of the step ingest-plan, by name.

    Returns:
        The data set of segmented slices.
    """
    plan = ingest_plan(**ingest_parameters)
    add_store_credentials(plan)
    # A loop with a name would break Collected on the cluster (kubeflow/pipelines 13239).
    with dsl.ParallelFor(plan.outputs["Output"]) as shard:
        cut = ingest_cut(plan=plan.outputs["plan"], shard=shard)
        add_store_credentials(cut)
    merge = ingest(plan=plan.outputs["plan"], slice_files=dsl.Collected(cut.outputs["slice_files"]))
    add_store_credentials(merge)
    return segment(slices=merge.outputs["slices"], segmentation=segmentation).outputs["segmented"]


def trained_models(
    slices: Any, backbones: Any, recipe: Any, seed: Any, resources: TaskResources | None
) -> dsl.Collected:
    """Add one training task for each backbone and return their models."""
    with dsl.ParallelFor(backbones) as backbone:
        checkpoints = checkpoint_folder(resources)
        task = train(slices=slices, backbone=backbone, recipe=recipe, seed=seed, checkpoints=checkpoints)
        add_store_credentials(task)
        request_resources(task, resources)
    return dsl.Collected(task.outputs["model"])


def deploy_if_passed(evaluation: dsl.PipelineTask, slices: Any, name: Any, target: Any, canary: Any) -> None:
    """Add the steps after the gate: the deployment, or a task that reports why the model was rejected."""
    with dsl.If(evaluation.outputs["passed"] == True, name="gate-passed"):  # noqa: E712 kfp builds the condition
        deployment = deploy(served=evaluation.outputs["served"], slices=slices, name=name, target=target, canary=canary)
        mount_keys(evaluation, deployment)
    with dsl.Else(name="gate-refused"):
        refuse(reasons=evaluation.outputs["reasons"])


def add_store_credentials(task: dsl.PipelineTask) -> None:
    """Set the object store's credentials from a secret if the namespace has it; else the pod's identity is used.

    The store holds volumes, and pre-trained weights for clusters without Internet access.
    """
    variables = {name: name for name in _STORE_VARIABLES}
    kubernetes.use_secret_as_env(task, secret_name=VOLUMES_SECRET, secret_key_to_env=variables, optional=True)


def mount_keys(evaluation: dsl.PipelineTask, deployment: dsl.PipelineTask) -> None:
    """Mount the keys that sign a served model and verify it, if the namespace has them."""
    kubernetes.use_secret_as_volume(evaluation, SIGNING_SECRET, str(SIGNING_KEY[1].parent), optional=True)
    kubernetes.use_config_map_as_volume(deployment, VERIFICATION_MAP, str(VERIFICATION_KEY[1].parent), optional=True)
