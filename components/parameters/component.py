"""The KFP component that checks the parameters of a run at its start."""

from typing import Any

from kfp import dsl

from components.shared.container_images import COMPONENT_IMAGE


@dsl.component(base_image=COMPONENT_IMAGE, install_kfp_package=False)
def check_parameters(
    backbones: list[str],
    recipe: dict[str, Any],
    seed: int,
    image_size: int,
    slices_per_species: int,
    planes: str,
    threshold: float,
    gate: dict[str, Any],
    name: str,
    target: str,
    registry: str,
    canary: dict[str, Any],
    doubtful_masks: str,
    confined: bool,
    rare_species: str,
    folds: int,
    volumes: str = "",
    large_backbones: list[str] = None,  # type: ignore[assignment]  # noqa: RUF013 as kfp reads it
) -> str:
    """Check the parameters of a run, and describe its source, before the first step.

    Kubeflow retries a failed training whatever the reason, so a wrong parameter must not reach it.

    Args:
        backbones: Networks to train.
        recipe: Settings of the training. Keys as in components/train/recipe.py.
        seed: Seed of every random choice.
        image_size: Edge of a slice in pixels.
        slices_per_species: Slices to cut for each species.
        planes: Schedule of the planes.
        threshold: Slice accuracy that the gate requires.
        gate: Further conditions of the gate. Keys as in components/evaluate/gate.py.
        name: Name of the model in the endpoint's URL.
        target: Target of the deployment; empty for the InferenceService of the model's name.
        registry: Address of a Kubeflow Model Registry; empty for none.
        canary: Settings of the canary. Keys as in components/deploy/canary/settings.py.
        doubtful_masks: Treatment of scans whose segmentation is doubtful.
        confined: Whether the files of a manifest must be inside its folder.
        rare_species: Treatment of species with fewer than three specimens.
        folds: Number of folds in which every specimen is tested once; 0 for none, -1 by the number of specimens.
        volumes: Address of the volumes or photographs; empty for synthetic ones.
        large_backbones: Networks to train that need a large GPU.

    Returns:
        The digest of the source's listing, empty without a source; the cached plan is used only if it is the same.
    """
    from components.ingest.sources.listing_digest import listing_digest
    from components.parameters.check import check_run
    from components.shared.errors import exit_on_error

    parameters = {
        "backbones": backbones, "recipe": recipe, "seed": seed, "threshold": threshold, "gate": gate, "name": name,
        "image_size": image_size, "slices_per_species": slices_per_species, "planes": planes, "confined": confined,
        "doubtful_masks": doubtful_masks, "rare_species": rare_species, "folds": folds,
        "target": target, "registry": registry, "canary": canary, "large_backbones": large_backbones,
    }  # fmt: skip
    with exit_on_error("check_parameters"):
        check_run(parameters)
        return listing_digest(volumes, confined) if volumes else ""
