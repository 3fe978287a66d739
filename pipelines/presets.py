"""Presets: named sets of pipeline parameters, as YAML files beside this module."""

from collections.abc import Mapping
from importlib import resources
from typing import Any

import yaml
from pydantic import Field

from components.deploy.canary.settings import read_settings
from components.deploy.targets import parse_target
from components.evaluate.gate import GateConfig
from components.shared.config import Frozen, checked
from components.shared.errors import BadConfigError
from components.train.backbones.registry import find_backbone, find_published
from components.train.recipe import Recipe, check_seed
from pipelines.resources import TrainingResources

FOLDER = resources.files("pipelines") / "presets"


class Phantoms(Frozen):
    """How many synthetic specimens to make where the user gives none, how large, of what kind, how unevenly."""

    specimens_per_species: int = Field(ge=1)
    phantom_size: int = Field(ge=32)
    phantom_kind: str = "volumes"
    phantom_imbalance: float = Field(default=1.0, ge=1)


class Preset(Frozen):
    """A preset.

    Attributes:
        description: what it is for.
        phantoms: the synthetic input, or None where it only makes sense on real volumes.
        parameters: of the training pipeline.
        resources: what training asks of a cluster.
    """

    description: str
    phantoms: Phantoms | None = None
    parameters: dict[str, Any]
    resources: TrainingResources = TrainingResources()


def preset_names() -> list[str]:
    """Lists the presets."""
    return sorted(file.name.removesuffix(".yaml") for file in FOLDER.iterdir() if file.name.endswith(".yaml"))


def load_preset(name: str) -> Preset:
    """Reads a preset.

    Raises:
        BadConfigError: no such preset, or an unknown key in it.
    """
    if name not in preset_names():
        raise BadConfigError(f"preset {name!r}", f"one of {', '.join(preset_names())}", "Choose one of them.")
    fields = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    return checked(Preset, fields, f"preset {name} key")


def check_training(parameters: Mapping[str, Any]) -> None:
    """Checks what training and deployment are told before the steps in front of them take their hours.

    Args:
        parameters: of a pipeline, of the right types; those that are left out are the pipeline's own.

    Raises:
        BadConfigError: no backbone, an unknown one, a recipe that one of them cannot have, an
            impossible seed, a target of no known kind, or a gate or canary with an unknown key or an impossible value.
    """
    check_seed(parameters.get("seed", 0))
    read_settings(parameters.get("canary", {}))
    if "target" in parameters:
        parse_target(parameters["target"])
    GateConfig.parse(parameters.get("threshold", 0.0), parameters.get("gate", {}))
    for key in ("backbones", "large_backbones"):
        if parameters.get(key) == []:
            raise BadConfigError(f"{key} is empty", "at least one backbone", "Name one of the registry.")
        for backbone in parameters.get(key, ()):
            find_backbone(backbone)
            if Recipe.parse(parameters.get("recipe", {}), backbone).weights == "imagenet":
                find_published(backbone)
