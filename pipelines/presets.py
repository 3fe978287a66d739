"""Presets: named sets of pipeline parameters and resources, as YAML files in `pipelines/presets/`."""

from importlib import resources
from typing import Any

import yaml
from pydantic import Field

from components.shared.config import Frozen, checked
from components.shared.errors import BadConfigError
from pipelines.resources import TrainingResources

FOLDER = resources.files("pipelines") / "presets"
FOR_PHANTOMS, FOR_PHOTOGRAPHS, FOR_SCANS = "sample", "photographs", "scans"


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


def default_preset(volumes: str | None, photographs: str | None) -> str:
    """Return the name of the preset of a run that names none.

    Args:
        volumes: Address of the volumes; None or empty for none.
        photographs: Address of the photographs; None or empty for none.
    """
    if photographs:
        return FOR_PHOTOGRAPHS
    return FOR_SCANS if volumes else FOR_PHANTOMS


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
