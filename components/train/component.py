"""The KFP component of the training step."""

from typing import Any

from kfp import dsl

from components.shared.container_images import TRAINING_IMAGE


@dsl.component(base_image=TRAINING_IMAGE, install_kfp_package=False)
def train(
    slices: dsl.Input[dsl.Dataset],
    backbone: str,
    recipe: dict[str, Any],
    seed: int,
    model: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    epochs: dsl.Output[dsl.Metrics],
    curves: dsl.Output[dsl.HTML],
    views: dsl.Output[dsl.HTML],
    tensorboard: dsl.Output[dsl.Artifact],
    checkpoints: str = "",
) -> None:
    """Trains one backbone on the segmented slices.

    Args:
        slices: Segmented slices.
        backbone: Name of the network in components/train/backbones/registry.py.
        recipe: How to train. Keys as in components/train/recipe.py; those under backbones for this
            one count more.
        seed: Seed of every random choice.
        model: The trained backbone with model.json and history.csv.
        metrics: Validation metrics of the best epoch.
        epochs: Validation metrics of every epoch.
        curves: Learning curves.
        views: What the network gets after augmentation.
        tensorboard: Logs for TensorBoard, which reads the artifact's folder.
        checkpoints: Folder on a volume that outlives the pod, from which an interrupted training goes on; beside the
            model where empty.
    """
    from pathlib import Path

    from components.shared.errors import exit_on_error
    from components.train.outputs import leave_pages, move_logs, numbers_of_epochs
    from components.train.recipe import Recipe
    from components.train.training import train_backbone

    with exit_on_error(f"train {backbone}"):
        chosen, kept = Recipe.parse(recipe, backbone), Path(checkpoints) if checkpoints else None
        card = train_backbone(Path(slices.path), backbone, chosen, seed, Path(model.path), kept)
        leave_pages(card, chosen, Path(slices.path), seed, Path(curves.path), Path(views.path))
        move_logs(Path(model.path), Path(tensorboard.path))
        for key, value in card.metrics.items():
            metrics.log_metric(key, value)
        for key, value in numbers_of_epochs(card):
            epochs.log_metric(key, value)
        model.metadata["backbone"] = backbone
