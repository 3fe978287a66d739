"""The parameters of training, evaluation and deployment, checked before the ingest takes hours."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from components.deploy.canary.settings import read_settings
from components.deploy.model_registry import registry_address
from components.deploy.target_address import inference_service_of
from components.deploy.targets import parse_target
from components.evaluate.gate import GateConfig
from components.ingest.config import IngestConfig
from components.shared.errors import BadConfigError
from components.train.backbones.registry import check_image_size, find_backbone, find_packaged, find_published
from components.train.packaged_weights import read_verified
from components.train.recipe import Recipe, check_seed

_DEFAULTS_OF_INGEST = {"image_size": 224, "slices_per_species": 10000, "planes": "published", "seed": 0}


def check_training(parameters: Mapping[str, Any]) -> None:
    """Check the parameters of training and deployment at the start, before the ingest takes hours.

    Args:
        parameters: Parameters of a pipeline, of the right types. Absent ones have the pipeline's defaults;
            `large_backbones` may also be None, which stands for no large backbones.

    Raises:
        BadConfigError: There is no backbone, an unknown or a repeated one, a recipe is invalid for a backbone, the seed
            or a parameter of the ingest is invalid, the target is of an unknown kind or incomplete, KServe does not
            accept the service's name, the address of the Model Registry is invalid, or the gate or canary has an
            unknown key or an invalid value.
    """
    check_seed(parameters.get("seed", 0))
    _check_ingest(parameters)
    read_settings(parameters.get("canary", {}))
    _check_deployment(parameters)
    GateConfig.parse(parameters.get("threshold", 0.0), parameters.get("gate", {}))
    for key in ("backbones", "large_backbones"):
        if parameters.get(key) == []:
            raise BadConfigError(f"{key} is empty", "at least one backbone", "Set BACKBONES=cnn_small, for example.")
    backbones = _backbones(parameters)
    for backbone in backbones:
        find_backbone(backbone)
        _check_weights(_initial_weights(parameters, backbone), backbone)
        _check_image_size(parameters, backbone)
    _check_repeated(backbones)


def _backbones(parameters: Mapping[str, Any]) -> list[str]:
    return [*(parameters.get("backbones") or ()), *(parameters.get("large_backbones") or ())]


def _initial_weights(parameters: Mapping[str, Any], backbone: str) -> str:
    return Recipe.parse(parameters.get("recipe", {}), backbone).weights


def _check_image_size(parameters: Mapping[str, Any], backbone: str) -> None:
    """Check that the slices, as large as the recipe scales them, are large enough for a backbone."""
    size = Recipe.parse(parameters.get("recipe", {}), backbone).image_size
    if size != "native":
        slices = parameters.get("image_size", _DEFAULTS_OF_INGEST["image_size"])
        check_image_size(backbone, slices if size == "slices" else size)


def _check_weights(weights: str, backbone: str) -> None:
    """Check that a backbone has published or packaged weights if the recipe asks for them."""
    if weights == "imagenet":
        find_published(backbone)
    elif weights == "packaged":
        find_packaged(backbone)


def check_run(parameters: Mapping[str, Any]) -> None:
    """Check the parameters of a run on the machine that runs it, with the packages that contain weights.

    Args:
        parameters: Parameters of a pipeline, as in `check_training`.

    Raises:
        BadConfigError: A parameter is invalid, or a package is not installed, damaged or of another version.
    """
    check_training(parameters)
    for backbone in _backbones(parameters):
        if _initial_weights(parameters, backbone) == "packaged":
            read_verified(backbone)


def _check_deployment(parameters: Mapping[str, Any]) -> None:
    """Check the target, by default the InferenceService of the model's name, and the address of the Model Registry."""
    name = parameters.get("name", "model")
    target = parse_target(parameters.get("target") or f"kserve://namespace/{name}")
    if target.scheme == "kserve":
        inference_service_of(target)
    if parameters.get("registry"):
        registry_address(parameters["registry"])


def _check_repeated(backbones: Sequence[str]) -> None:
    repeated_names = sorted(name for name, count in Counter(backbones).items() if count > 1)
    if repeated_names:
        problem = f"backbones {', '.join(backbones)}: {', '.join(repeated_names)} more than once"
        raise BadConfigError(problem, "each backbone once", "Remove the repeated ones.")


def _check_ingest(parameters: Mapping[str, Any]) -> None:
    ingest_parameters = {name: value for name, value in parameters.items() if name in IngestConfig.model_fields}
    IngestConfig.checked(**{**_DEFAULTS_OF_INGEST, **ingest_parameters})
