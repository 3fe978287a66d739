"""Options of `compile` and `submit` that place a pipeline on a cluster: resources, and the monitor's models."""

import argparse
import re

from kfp.dsl.base_component import BaseComponent

from components.shared.errors import BadConfigError
from pipelines.presets import Preset
from pipelines.resources import TrainingResources, cpu_resources
from pipelines.training import build_pipelines

_PLACE = re.compile(r"(s3|gs|minio)://[^/?#@\s]+[^?#@\s]*|[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
RESOURCES = ("preset", "cpu")


def add_placement_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to a parser."""
    parser.add_argument(
        "--resources",
        choices=RESOURCES,
        default=RESOURCES[0],
        help="resources of the tasks: those of the preset, or small ones without GPUs (default: %(default)s)",
    )
    parser.add_argument(
        "--monitored-models",
        default="",
        metavar="CLAIM|URL",
        help="PersistentVolumeClaim or address of an object store in which the deploy step writes what the drift "
        "monitor needs of each served version (default: none)",
    )


def placed_resources(preset: Preset, options: argparse.Namespace) -> TrainingResources:
    """Return the resources of the tasks."""
    return cpu_resources(preset.resources) if options.resources == "cpu" else preset.resources


def placed_pipelines(preset: Preset, options: argparse.Namespace) -> dict[str, BaseComponent]:
    """Build the pipelines with the resources and the place of the monitor's models.

    Raises:
        BadConfigError: The place is neither the name of a claim nor an address of an object store.
    """
    place = checked_place(options.monitored_models)
    return build_pipelines(placed_resources(preset, options), place)


def checked_place(place: str) -> str:
    """Return the place of the monitor's models; empty for none.

    Raises:
        BadConfigError: It is neither the name of a claim nor an address of an object store.
    """
    if place and not _PLACE.fullmatch(place):
        raise BadConfigError(
            f"--monitored-models {place!r}",
            "the name of a PersistentVolumeClaim, or an address such as s3://bucket/prefix",
            "Set MONITORED_MODELS=taxonflow-models, for example.",
        )
    return place
