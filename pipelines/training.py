"""The training pipelines: one definition for the cluster, for local runs and for the tests.

`build_pipelines` builds the pipelines with the given cluster resources. kfp reads a pipeline's parameters from the
signature and their descriptions from the docstring, so each pipeline lists its parameters in full.
`tests/pipelines/test_parameters.py` checks that parameters of the same name agree.
"""

# ruff: noqa: B006, B008, E501 kfp shows the defaults in the UI and keeps the line breaks of descriptions

from typing import Any

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from components.evaluate.component import evaluate
from components.evaluate.gate import GateConditions
from components.phantoms.component import phantoms
from pipelines.descriptions import describe
from pipelines.drift import build_drift
from pipelines.resources import TrainingResources, request_resources
from pipelines.run_needs import models_claim, training_needs
from pipelines.steps import Cluster, check_run, deployed_ensemble, segmented_slices, trained_models


def build_pipelines(resources: TrainingResources | None, monitored_models: str = "") -> dict[str, BaseComponent]:
    """Build all pipelines.

    Args:
        resources: Cluster resources of the tasks; None for local runs.
        monitored_models: PersistentVolumeClaim or fsspec URL in which the deploy step writes what the drift monitor
            needs of each served version; empty for none.

    Returns:
        The pipelines by name: training, phantom_training, large_training and drift.
    """
    standard = _cluster(resources, ("standard",), monitored_models)
    training = build_training(standard)
    pipelines = {
        "training": training,
        "phantom_training": build_phantom_training(standard),
        "large_training": build_large_training(_cluster(resources, ("standard", "large"), monitored_models)),
        "drift": build_drift(training, standard),
    }
    for pipeline in pipelines.values():
        describe(pipeline)
    return pipelines


def _cluster(resources: TrainingResources | None, sizes: tuple[str, ...], monitored_models: str) -> Cluster | None:
    if resources is None:
        return None
    return Cluster(resources, training_needs(resources, sizes, (models_claim(monitored_models),)), monitored_models)


def build_training(cluster: Cluster | None) -> BaseComponent:
    """Build the pipeline from volumes to a deployed ensemble."""

    @dsl.pipeline(name="taxonflow-training", description="From volumes to a deployed species classifier.")
    def training(
        volumes: str,
        name: str = "foraminifera",
        target: str = "",
        registry: str = "",
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
        folds: int = -1,
        material: str = "specimens",
    ) -> None:
        """Cut and segment slices, train each backbone, evaluate the ensemble, and deploy it if the gate passes.

        Args:
            volumes: Folder of species/specimen.nii.gz or species/photograph.jpg files, optionally inside folders
                train, val and test, or a manifest.csv with the columns path, species, specimen and optionally split. A mounted path, or an
                address of s3://, gs:// or minio://.
            name: Name of the model, as in the endpoint's address.
            target: Where to deploy. kserve://namespace/service, or file:///folder for a local model repository; empty for the service of the name in the namespace of the run.
            registry: Address of a Kubeflow Model Registry in which served versions are registered, https://host[:port]; empty for none.
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
            folds: Folds in which every specimen is tested once, instead of a test split; 0 for none, -1 for 5 folds of up to 150 specimens.
            material: Name of the specimens in the report.
        """
        source = {
            "image_size": image_size,
            "slices_per_species": slices_per_species,
            "planes": planes,
            "seed": seed,
            "doubtful_masks": doubtful_masks,
            "confined": confined,
            "rare_species": rare_species,
            "folds": folds,
        }
        training = {"backbones": backbones, "recipe": recipe, "threshold": threshold, "gate": gate}
        checks = check_run(
            cluster, name, target=target, registry=registry, canary=canary, **source, **training, volumes=volumes
        )
        slices = segmented_slices(cluster, checks, segmentation, volumes=volumes, shards=shards, **source)
        models = trained_models(cluster, "standard", slices, backbones, recipe, seed)
        settings = {"name": name, "threshold": threshold, "gate": gate, "seed": seed, "material": material}
        evaluation = evaluate(slices=slices, models=models, **settings)
        endpoint = {"name": name, "target": target, "canary": canary, "registry": registry}
        deployed_ensemble(cluster, evaluation, slices, threshold, **endpoint)

    return training


def build_phantom_training(cluster: Cluster | None) -> BaseComponent:
    """Build the pipeline that generates synthetic specimens and trains on them."""

    @dsl.pipeline(name="taxonflow-phantom-training", description="The training pipeline on synthetic specimens.")
    def phantom_training(
        specimens_per_species: int = 20,
        phantom_size: int = 64,
        phantom_kind: str = "volumes",
        phantom_imbalance: float = 1.0,
        seed: int = 0,
        name: str = "foraminifera",
        target: str = "",
        registry: str = "",
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
        folds: int = -1,
    ) -> None:
        """Generate synthetic specimens of twelve forms and run the training pipeline on them.

        Args:
            specimens_per_species: Synthetic specimens of each form, where imbalanced of the most frequent one.
            phantom_size: Edge of a synthetic volume in voxels, or long side of the larger photographs in pixels.
            phantom_kind: What is made, volumes or photographs.
            phantom_imbalance: How many times more specimens the most frequent form has than the rarest.
            seed: Seed of every random choice.
            name: Name of the model, as in the endpoint's address.
            target: Where to deploy. kserve://namespace/service, or file:///folder for a local model repository; empty for the service of the name in the namespace of the run.
            registry: Address of a Kubeflow Model Registry in which served versions are registered, https://host[:port]; empty for none.
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
            folds: Folds in which every specimen is tested once, instead of a test split; 0 for none, -1 for 5 folds of up to 150 specimens.
        """
        source = {
            "image_size": image_size,
            "slices_per_species": slices_per_species,
            "planes": planes,
            "seed": seed,
            "doubtful_masks": doubtful_masks,
            "confined": confined,
            "rare_species": rare_species,
            "folds": folds,
        }
        training = {"backbones": backbones, "recipe": recipe, "threshold": threshold, "gate": gate}
        checks = check_run(cluster, name, target=target, registry=registry, canary=canary, **source, **training)
        specimens = phantoms(
            specimens_per_species=specimens_per_species,
            size=phantom_size,
            seed=seed,
            kind=phantom_kind,
            imbalance=phantom_imbalance,
        ).after(*checks.tasks)
        request_resources(specimens, cluster.resources.data if cluster else None)
        slices = segmented_slices(
            cluster, checks, segmentation, specimens.outputs["volumes"], volumes="", shards=shards, **source
        )
        models = trained_models(cluster, "standard", slices, backbones, recipe, seed)
        settings = {"name": name, "threshold": threshold, "gate": gate, "seed": seed, "material": "synthetic specimens"}
        evaluation = evaluate(slices=slices, models=models, **settings)
        endpoint = {"name": name, "target": target, "canary": canary, "registry": registry}
        deployed_ensemble(cluster, evaluation, slices, threshold, **endpoint)

    return phantom_training


def build_large_training(cluster: Cluster | None) -> BaseComponent:
    """Build the training pipeline with a second list of backbones, which train on large GPUs."""

    @dsl.pipeline(
        name="taxonflow-large-training", description="The training pipeline with some backbones on large GPUs."
    )
    def large_training(
        volumes: str,
        backbones: list[str] = ["efficientnetv2_s", "convnext_base"],
        large_backbones: list[str] = ["convnext_large"],
        name: str = "foraminifera",
        target: str = "",
        registry: str = "",
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
        folds: int = -1,
        material: str = "specimens",
    ) -> None:
        """Run the training pipeline on backbones of two sizes, each with its own GPUs; neither list may be empty.

        Args:
            volumes: Folder or manifest of volumes or photographs, as in taxonflow-training.
            backbones: Networks to train that fit a standard GPU, one task each.
            large_backbones: Networks to train that need a large GPU, one task each.
            name: Name of the model, as in the endpoint's address.
            target: Where to deploy. kserve://namespace/service, or file:///folder for a local model repository; empty for the service of the name in the namespace of the run.
            registry: Address of a Kubeflow Model Registry in which served versions are registered, https://host[:port]; empty for none.
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
            folds: Folds in which every specimen is tested once, instead of a test split; 0 for none, -1 for 5 folds of up to 150 specimens.
            material: Name of the specimens in the report.
        """
        source = {
            "image_size": image_size,
            "slices_per_species": slices_per_species,
            "planes": planes,
            "seed": seed,
            "doubtful_masks": doubtful_masks,
            "confined": confined,
            "rare_species": rare_species,
            "folds": folds,
        }
        training = {"backbones": backbones, "recipe": recipe, "threshold": threshold, "gate": gate}
        checks = check_run(
            cluster,
            name,
            target=target,
            registry=registry,
            canary=canary,
            **source,
            **training,
            volumes=volumes,
            large_backbones=large_backbones,
        )
        slices = segmented_slices(cluster, checks, segmentation, volumes=volumes, shards=shards, **source)
        standard = trained_models(cluster, "standard", slices, backbones, recipe, seed)
        large = trained_models(cluster, "large", slices, large_backbones, recipe, seed)
        settings = {"name": name, "threshold": threshold, "gate": gate, "seed": seed, "material": material}
        evaluation = evaluate(slices=slices, models=standard, large_models=large, **settings)
        endpoint = {"name": name, "target": target, "canary": canary, "registry": registry}
        deployed_ensemble(cluster, evaluation, slices, threshold, **endpoint)

    return large_training
