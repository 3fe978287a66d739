"""`make submit HOST=...`: upload a pipeline to Kubeflow and start a run or create a recurring run."""

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from components.parameters.check import check_training
from components.shared.errors import BadConfigError, TaxonflowError, exit_code_of
from pipelines.compile import compile_pipeline, parse_documents, pipeline_description, version_name
from pipelines.kubeflow.client import TOKEN_VARIABLE, Credentials, Kubeflow, PipelineVersion, RunRequest, read_token
from pipelines.placement import add_placement_options, placed_pipelines
from pipelines.presets import Preset, load_preset, preset_names
from pipelines.resources import TrainingResources, split_by_size

_TYPES: dict[str, tuple[type, ...]] = {
    "NUMBER_INTEGER": (int,),
    "NUMBER_DOUBLE": (float, int),
    "STRING": (str,),
    "BOOLEAN": (bool,),
    "LIST": (list,),
    "STRUCT": (dict,),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Submit a pipeline and return the exit code."""
    options = parse_options(arguments)
    try:
        sys.stdout.write(f"{submit(options)}\n")
    except TaxonflowError as error:
        sys.stderr.write(f"{error}\n")
        return exit_code_of(error)
    return 0


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.submit", description=__doc__)
    parser.add_argument(
        "--host", required=True, help="URL of Kubeflow Pipelines, such as https://kubeflow.example.org/pipeline"
    )
    parser.add_argument("--preset", default="sample", help=f"one of {', '.join(preset_names())} (default: %(default)s)")
    parser.add_argument("--pipeline", choices=("drift",), help="submit the drift check instead of a training")
    parser.add_argument(
        "--every", metavar="CRON", help='create a recurring run: six cron fields such as "0 0 4 * * *", or @daily'
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="set a pipeline parameter to a YAML value"
    )
    add_placement_options(parser)
    parser.add_argument("--experiment", default="taxonflow", help="experiment of the run (default: %(default)s)")
    parser.add_argument("--namespace", help="namespace of the user, if Kubeflow has profiles")
    parser.add_argument("--service-account", help="service account of the run's pods")
    parser.add_argument("--token-file", type=Path, help=f"file with the bearer token (default: ${TOKEN_VARIABLE})")
    parser.add_argument("--ca", type=Path, metavar="FILE", help="certificates of the server's authority in PEM")
    return parser.parse_args(arguments)


def submit(options: argparse.Namespace) -> str:
    """Compile and upload a pipeline, and start a run or create a recurring run.

    Returns:
        URL of the run or of the recurring run in the UI.

    Raises:
        BadConfigError: The preset, a parameter or the host is unknown, a value has another type, or a recipe is
            invalid.
        TaxonflowError: The server cannot be reached or rejects a request.
    """
    preset = load_preset(options.preset)
    settings = parse_settings(options.set)
    name, parameters = (options.pipeline, settings) if options.pipeline else select_pipeline(preset, settings)
    check_schedule(options.every)
    pipeline = placed_pipelines(preset, options)[name]
    text = compile_pipeline(pipeline)
    check_parameters(parameters, parse_documents(text)[0]["root"]["inputDefinitions"]["parameters"])
    check_training(parameters)
    if parameters.get("retrain") and not parameters.get("volumes"):
        remedy = "Add --set volumes=<folder or manifest.csv to train on>."
        raise BadConfigError("retrain without volumes", "a folder or a manifest", remedy)
    kubeflow = Kubeflow(options.host, Credentials(read_token(options.token_file), options.namespace, options.ca))
    if kubeflow.remark:
        sys.stderr.write(f"{kubeflow.remark}\n")
    description = pipeline_description(text)
    pipeline_id, version_id = kubeflow.upload(PipelineVersion(pipeline.name, version_name(text), text, description))
    title = f"{options.pipeline or options.preset} {datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
    if options.every:
        title = f"{pipeline.name} {parameters.get('name', '')}".strip()
    request = RunRequest(title, options.experiment, pipeline_id, version_id, parameters, options.service_account)
    return kubeflow.create_recurring_run(request, options.every) if options.every else kubeflow.start_run(request)


def check_schedule(schedule: str | None) -> None:
    """Check that Kubeflow can read a schedule.

    Raises:
        BadConfigError: The schedule is neither six cron fields nor a shorthand.
    """
    if schedule and not re.fullmatch(r"@(hourly|daily|weekly|monthly)|[\d*/,?-]+( [\w*/,?-]+){5}", schedule):
        raise BadConfigError(
            f"--every {schedule!r}",
            "six cron fields, seconds first, or @hourly, @daily, @weekly or @monthly",
            'Set EVERY="0 0 4 * * *" for every day at 4:00.',
        )


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """Parse `key=value` settings; the values are YAML.

    Raises:
        BadConfigError: A setting has no `=`, or a value is not YAML.
    """
    values = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key:
            raise BadConfigError(f"--set {setting!r}", "key=value", "Write --set seed=1, for example.")
        try:
            values[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise BadConfigError(f"--set {key}: {value!r} is not YAML", remedy="Quote the value.") from error
    return values


def select_pipeline(preset: Preset, settings: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the name of the pipeline for the given volumes or for phantoms, and its parameters.

    Raises:
        BadConfigError: There are no volumes and the preset has no phantoms.
    """
    parameters = {**preset.parameters, **settings}
    if "volumes" in parameters:
        return _select_by_size(parameters, preset.resources)
    if preset.phantoms is None:
        remedy = "Add --set volumes=<folder or manifest.csv>."
        raise BadConfigError("no volumes", "a folder or a manifest that the cluster can read", remedy)
    return "phantom_training", {**preset.phantoms.model_dump(), **parameters}


def _select_by_size(parameters: dict[str, Any], resources: TrainingResources) -> tuple[str, dict[str, Any]]:
    """Move backbones that need a large GPU to a list of their own, if there are backbones of each size.

    Raises:
        BadConfigError: Every backbone needs a large GPU.
    """
    backbones = parameters.get("backbones")
    if "large_backbones" in parameters or not isinstance(backbones, list):
        return ("large_training" if "large_backbones" in parameters else "training"), parameters
    standard, large = split_by_size(backbones, resources)
    if not large:
        return "training", parameters
    if not standard:
        raise BadConfigError(
            f"backbones {', '.join(large)}, which all need a large GPU",
            "at least one backbone of the standard size",
            "Add one, or raise gpu_memory_gb of the preset's standard resources.",
        )
    return "large_training", {**parameters, "backbones": standard, "large_backbones": large}


def check_parameters(parameters: Mapping[str, Any], definitions: Mapping[str, Mapping[str, Any]]) -> None:
    """Check names and types of parameters before the upload.

    Args:
        parameters: Parameters of the run.
        definitions: `root.inputDefinitions.parameters` of the compiled pipeline.

    Raises:
        BadConfigError: A parameter is unknown or missing, or a value has another type.
    """
    unknown = sorted(parameters.keys() - definitions.keys())
    if unknown:
        raise BadConfigError(f"parameter {', '.join(unknown)}", f"one of {', '.join(sorted(definitions))}")
    for name, definition in definitions.items():
        is_required = not definition.get("isOptional", False)
        if name not in parameters and is_required:
            raise BadConfigError(f"parameter {name} is missing", remedy=f"Add --set {name}=<value>.")
        kind = definition["parameterType"]
        if name in parameters and not _has_type(parameters[name], kind):
            text = f"parameter {name}={parameters[name]!r}"
            raise BadConfigError(text, f"a value of type {kind.lower()}", f"Use --set {name}=<{kind.lower()}>.")


def _has_type(value: Any, kind: str) -> bool:
    """Return True if a value has a KFP parameter type; True and False are not numbers."""
    return isinstance(value, _TYPES[kind]) and (kind == "BOOLEAN" or not isinstance(value, bool))


if __name__ == "__main__":
    sys.exit(main())
