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
    curves: dsl.Output[dsl.HTML],
    checkpoints: str = "",
) -> None:
    """Trains one backbone on the segmented slices.

    Args:
        slices: Segmented slices.
        backbone: Name of the network in components/train/backbones/registry.py.
        recipe: How to train. Keys as in components/train/recipe.py.
        seed: Seed of every random choice.
        model: The trained backbone with model.json and history.csv.
        metrics: Validation metrics of the best epoch.
        curves: Learning curves.
        checkpoints: Folder on a volume that outlives the pod, from which an interrupted training goes on; beside the
            model where empty.
    """
    from pathlib import Path

    from components.shared.errors import one_sentence
    from components.train.curves import curves_page
    from components.train.recipe import Recipe
    from components.train.training import train_backbone

    with one_sentence(f"train {backbone}"):
        kept = Path(checkpoints) if checkpoints else None
        card = train_backbone(Path(slices.path), backbone, Recipe.parse(recipe), seed, Path(model.path), kept)
        Path(curves.path).write_text(curves_page(card), encoding="utf-8")
        for key, value in card.metrics.items():
            metrics.log_metric(key, value)
        model.metadata["backbone"] = backbone
