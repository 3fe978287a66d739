"""`make submit HOST=...`: uploads a pipeline to Kubeflow and starts a run, or makes one that recurs."""

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from components.shared.errors import BadConfigError, TaxonflowError, exit_code_of
from pipelines.compile import compile_pipeline
from pipelines.gitops import version_name
from pipelines.kubeflow import TOKEN_VARIABLE, Kubeflow, read_token
from pipelines.presets import Preset, check_training, load_preset, preset_names
from pipelines.resources import TrainingResources, split_by_size
from pipelines.training import build_pipelines

_TYPES: dict[str, tuple[type, ...]] = {
    "NUMBER_INTEGER": (int,),
    "NUMBER_DOUBLE": (float, int),
    "STRING": (str,),
    "BOOLEAN": (bool,),
    "LIST": (list,),
    "STRUCT": (dict,),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    options = parse_arguments(arguments)
    try:
        sys.stdout.write(f"{submit(options)}\n")
    except TaxonflowError as error:
        sys.stderr.write(f"{error}\n")
        return exit_code_of(error)
    return 0


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.submit", description=__doc__)
    parser.add_argument("--host", required=True, help="Kubeflow Pipelines, as https://kubeflow.example.org/pipeline")
    parser.add_argument("--preset", default="sample", help=f"one of {', '.join(preset_names())}")
    parser.add_argument("--pipeline", choices=("drift",), help="the recurring check instead of a training")
    parser.add_argument(
        "--every", metavar="CRON", help='make it a recurring run: six fields, as "0 0 4 * * *", or @daily'
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a pipeline parameter, as YAML")
    parser.add_argument("--experiment", default="taxonflow", help="experiment that lists the run (%(default)s)")
    parser.add_argument("--namespace", help="your namespace, where Kubeflow has profiles")
    parser.add_argument("--service-account", help="service account of the run's pods")
    parser.add_argument("--token-file", type=Path, help=f"file with the bearer token; else {TOKEN_VARIABLE} is read")
    return parser.parse_args(arguments)


def submit(options: argparse.Namespace) -> str:
    """Compiles, uploads and starts.

    Returns:
        The page of the run, or of the recurring run, in the UI.

    Raises:
        BadConfigError: an unknown preset, parameter or host, a value of another type, or a recipe that cannot work.
        TaxonflowError: the server cannot be reached or refuses.
    """
    preset = load_preset(options.preset)
    settings = parse_settings(options.set)
    chosen, parameters = (options.pipeline, settings) if options.pipeline else chosen_parameters(preset, settings)
    check_schedule(options.every)
    pipeline = build_pipelines(preset.resources)[chosen]
    text = compile_pipeline(pipeline)
    check_parameters(parameters, next(yaml.safe_load_all(text))["root"]["inputDefinitions"]["parameters"])
    check_training(parameters)
    if parameters.get("retrain") and not parameters.get("volumes"):
        raise BadConfigError(
            "retrain without volumes", remedy="Add --set volumes=<folder or manifest.csv to train on>."
        )
    kubeflow = Kubeflow(options.host, options.namespace, read_token(options.token_file))
    uploaded = kubeflow.upload(pipeline.name, version_name(text), text)
    if options.every:
        title = f"{pipeline.name} {parameters.get('name', '')}".strip()
        account = options.service_account
        return kubeflow.repeat(title, options.experiment, uploaded, parameters, account, options.every)
    title = f"{options.pipeline or options.preset} {datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
    return kubeflow.start(title, options.experiment, uploaded, parameters, options.service_account)


def check_schedule(schedule: str | None) -> None:
    """Refuses what Kubeflow would not read as a schedule.

    Raises:
        BadConfigError: neither six fields nor a shorthand.
    """
    if schedule and not re.fullmatch(r"@(hourly|daily|weekly|monthly)|[\d*/,?-]+( [\w*/,?-]+){5}", schedule):
        raise BadConfigError(
            f"--every {schedule!r}", "six cron fields, seconds first, or @hourly, @daily, @weekly or @monthly"
        )


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """Reads `key=value` settings, the values as YAML.

    Raises:
        BadConfigError: a setting without `=`, or a value that is not YAML.
    """
    values = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key:
            raise BadConfigError(f"--set {setting!r}", "key=value")
        try:
            values[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise BadConfigError(f"--set {key}: {value!r} is not YAML", remedy="Quote it.") from error
    return values


def chosen_parameters(preset: Preset, settings: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Returns which pipeline to run, on the given volumes or on phantoms, and its parameters.

    Raises:
        BadConfigError: neither volumes are given nor does the preset make phantoms.
    """
    parameters = {**preset.parameters, **settings}
    if "volumes" in parameters:
        return _by_size(parameters, preset.resources)
    if preset.phantoms is None:
        raise BadConfigError("no volumes", remedy="Add --set volumes=<folder or manifest.csv that the cluster reads>.")
    return "phantom_training", {**preset.phantoms.model_dump(), **parameters}


def _by_size(parameters: dict[str, Any], resources: TrainingResources) -> tuple[str, dict[str, Any]]:
    """Gives backbones that need a large GPU a list of their own, if there are some of each size.

    Raises:
        BadConfigError: only backbones that need a large GPU.
    """
    given = parameters.get("backbones")
    if "large_backbones" in parameters or not isinstance(given, list):
        return ("large_training" if "large_backbones" in parameters else "training"), parameters
    standard, large = split_by_size(given, resources)
    if not large:
        return "training", parameters
    if not standard:
        raise BadConfigError(
            f"backbones {', '.join(large)}, which all need a large GPU",
            "one of the standard size among them",
            "Add one, or raise gpu_memory_gb of the preset's standard resources.",
        )
    return "large_training", {**parameters, "backbones": standard, "large_backbones": large}


def check_parameters(parameters: Mapping[str, Any], definitions: Mapping[str, Mapping[str, Any]]) -> None:
    """Checks names and types before anything is uploaded.

    Args:
        parameters: the run's.
        definitions: `root.inputDefinitions.parameters` of the compiled pipeline.

    Raises:
        BadConfigError: an unknown or missing parameter, or a value of another type.
    """
    unknown = sorted(parameters.keys() - definitions.keys())
    if unknown:
        raise BadConfigError(f"parameter {', '.join(unknown)}", f"one of {', '.join(sorted(definitions))}")
    for name, definition in definitions.items():
        required = not definition.get("isOptional", False)
        if name not in parameters and required:
            raise BadConfigError(f"parameter {name} is missing", remedy=f"Add --set {name}=<value>.")
        kind = definition["parameterType"]
        if name in parameters and not _fits(parameters[name], kind):
            raise BadConfigError(f"parameter {name}={parameters[name]!r}", f"a value of type {kind.lower()}")


def _fits(value: Any, kind: str) -> bool:
    """Returns whether a value has a KFP parameter type; True and False are no numbers."""
    return isinstance(value, _TYPES[kind]) and (kind == "BOOLEAN" or not isinstance(value, bool))


if __name__ == "__main__":
    sys.exit(main())
