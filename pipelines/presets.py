"""Presets: named sets of pipeline parameters and resources, as YAML files in `pipelines/presets/`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import yaml
from pydantic import Field

from components.deploy.canary.settings import read_settings
from components.deploy.targets import parse_target
from components.evaluate.gate import GateConfig
from components.ingest.config import IngestConfig
from components.shared.config import Frozen, checked
from components.shared.errors import BadConfigError
from components.train.backbones.registry import find_backbone, find_published
from components.train.recipe import Recipe, check_seed
from pipelines.resources import TrainingResources

FOLDER = resources.files("pipelines") / "presets"
_DEFAULTS_OF_INGEST = {"image_size": 224, "slices_per_species": 10000, "planes": "published", "seed": 0}


class PhantomParameters(Frozen):
    """Parameters of the synthetic specimens of a run without volumes or photographs.

    Attributes:
        specimens_per_species: Number of specimens of each form, or of the most frequent form if imbalanced.
        phantom_size: Edge of a volume in voxels, or long side of the larger photographs in pixels.
        phantom_kind: Kind of the specimens, volumes or photographs.
        phantom_imbalance: Ratio of the specimens of the most frequent form to those of the rarest.
    """

    specimens_per_species: int = Field(ge=1)
    phantom_size: int = Field(ge=32)
    phantom_kind: str = "volumes"
    phantom_imbalance: float = Field(default=1.0, ge=1)


class Preset(Frozen):
    """Parameters and resources under a name.

    Attributes:
        description: Purpose and scale of the preset.
        phantoms: Parameters of the synthetic input; None for a preset that needs volumes or photographs.
        parameters: Parameters of the training pipeline.
        resources: Cluster resources of the training tasks.
    """

    description: str
    phantoms: PhantomParameters | None = None
    parameters: dict[str, Any]
    resources: TrainingResources = TrainingResources()


def preset_names() -> list[str]:
    """Return the names of all presets, sorted."""
    return sorted(file.name.removesuffix(".yaml") for file in FOLDER.iterdir() if file.name.endswith(".yaml"))


def load_preset(name: str) -> Preset:
    """Read a preset.

    Raises:
        BadConfigError: There is no preset of this name, or it has an unknown key.
    """
    if name not in preset_names():
        remedy = "Set PRESET or --preset to one of them."
        raise BadConfigError(f"preset {name!r}", f"one of {', '.join(preset_names())}", remedy)
    fields = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    return checked(Preset, fields, f"preset {name} key")


def check_training(parameters: Mapping[str, Any]) -> None:
    """Check the parameters of training and deployment at the start, before the ingest takes hours.

    Args:
        parameters: Parameters of a pipeline, of the right types. Absent ones have the pipeline's defaults.

    Raises:
        BadConfigError: There is no backbone, an unknown or a repeated one, a recipe is invalid for a backbone, the seed
            or a parameter of the ingest is invalid, the target is of an unknown kind, or the gate or canary has an
            unknown key or an invalid value.
    """
    check_seed(parameters.get("seed", 0))
    _check_ingest(parameters)
    read_settings(parameters.get("canary", {}))
    if "target" in parameters:
        parse_target(parameters["target"])
    GateConfig.parse(parameters.get("threshold", 0.0), parameters.get("gate", {}))
    for key in ("backbones", "large_backbones"):
        if parameters.get(key) == []:
            raise BadConfigError(f"{key} is empty", "at least one backbone", "Set BACKBONES=cnn_small, for example.")
        for backbone in parameters.get(key, ()):
            find_backbone(backbone)
            if Recipe.parse(parameters.get("recipe", {}), backbone).weights == "imagenet":
                find_published(backbone)
    _check_repeated([*parameters.get("backbones", ()), *parameters.get("large_backbones", ())])


def _check_repeated(backbones: Sequence[str]) -> None:
    repeated_names = sorted(name for name, count in Counter(backbones).items() if count > 1)
    if repeated_names:
        problem = f"backbones {', '.join(backbones)}: {', '.join(repeated_names)} more than once"
        raise BadConfigError(problem, "each backbone once", "Remove the repeated ones.")


def _check_ingest(parameters: Mapping[str, Any]) -> None:
    ingest_parameters = {name: value for name, value in parameters.items() if name in IngestConfig.model_fields}
    IngestConfig.checked(**{**_DEFAULTS_OF_INGEST, **ingest_parameters})
