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
    """Train one backbone on the segmented slices, and one more for each fold if the data set has folds.

    Args:
        slices: Segmented slices.
        backbone: Name of the network in components/train/backbones/registry.py.
        recipe: Settings of the training. Keys as in components/train/recipe.py; those under backbones override them
            for one backbone.
        seed: Seed of every random choice.
        model: The trained backbone with model.json and history.csv, and the logits of the folds in folds.
        metrics: Validation metrics of the best epoch, named after the network, so that runs can be compared.
        epochs: Validation metrics of every epoch, named after the network.
        curves: Learning curves.
        views: Slices after augmentation, as the network receives them.
        tensorboard: Logs for TensorBoard, which reads the artifact's folder.
        checkpoints: Folder for checkpoints on a volume that outlives the pod, from which an interrupted training is
            resumed; beside the model if empty.
    """
    from pathlib import Path

    from components.shared.errors import exit_on_error
    from components.train.checkpoint_folder import check_checkpoint_folder

    with exit_on_error(f"train {backbone}"):
        check_checkpoint_folder(checkpoints)

    from components.train.folds.training import train_with_folds
    from components.train.pages import epoch_metrics, move_logs, write_pages
    from components.train.recipe import Recipe

    with exit_on_error(f"train {backbone}"):
        settings, folder = Recipe.parse(recipe, backbone), Path(checkpoints) if checkpoints else None
        card = train_with_folds(Path(slices.path), backbone, settings, seed, Path(model.path), folder)
        write_pages(card, settings, Path(slices.path), seed, Path(curves.path), Path(views.path))
        move_logs(Path(model.path), Path(tensorboard.path))
        for key, value in card.metrics.items():
            metrics.log_metric(f"{backbone} {key}", value)
        for key, value in epoch_metrics(card):
            epochs.log_metric(f"{backbone} {key}", value)
        model.metadata["backbone"] = backbone
