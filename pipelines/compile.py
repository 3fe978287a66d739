"""`make compile`: each pipeline as the YAML that a user uploads in the Kubeflow UI, and as resources for git."""

import argparse
import ast
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from kfp import compiler
from kfp.dsl.base_component import BaseComponent

from components.shared.container_images import COMPONENT_IMAGE, MONITORING_IMAGE, TRAINING_IMAGE
from components.shared.errors import EXIT_FAILED, ContractError, TaxonflowError, exit_code_of
from components.shared.files import write_atomically
from pipelines.gitops import pipeline_resources
from pipelines.presets import load_preset
from pipelines.resources import TrainingResources
from pipelines.training import build_pipelines

RESOURCES = "kubernetes"
REPOSITORY = Path(__file__).parents[1]
_IMAGES = {COMPONENT_IMAGE, MONITORING_IMAGE, TRAINING_IMAGE}
_DICT_DEFAULT = re.compile(r"(?m)^(#.*\[Default: )(\{.*\})\]$")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.compile", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the YAML files")
    parser.add_argument("--preset", default="fossil", help="whose resources training asks for (%(default)s)")
    options = parser.parse_args(arguments)
    out: Path = options.out
    try:
        for path in compile_pipelines(out, load_preset(options.preset).resources):
            sys.stdout.write(f"{path}\n")
    except (TaxonflowError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return exit_code_of(error) if isinstance(error, TaxonflowError) else EXIT_FAILED
    sys.stdout.write(
        "Upload one in the Kubeflow UI (Pipelines, Upload pipeline), or `make submit HOST=https://...`.\n"
        f"For a cluster kept in git: {out / RESOURCES}.\n"
    )
    return 0


def compile_pipelines(out: Path, resources: TrainingResources) -> list[Path]:
    """Writes every pipeline as `<its name>.yaml` for the UI and as `kubernetes/<its name>.yaml` for git.

    Args:
        out: folder that takes the files.
        resources: what training asks for.

    Returns:
        The files for the UI.

    Raises:
        ContractError: a pipeline is not fit to be uploaded; nothing is written for it.
    """
    paths = []
    for pipeline in build_pipelines(resources).values():
        path = out / f"{pipeline.name}.yaml"
        text = compile_pipeline(pipeline)
        write_atomically(out / RESOURCES / path.name, pipeline_resources(text).encode())
        write_atomically(path, text.encode())
        paths.append(path)
    return paths


def compile_pipeline(pipeline: BaseComponent) -> str:
    """Compiles a pipeline and checks that it is fit to be uploaded.

    Returns:
        The pipeline's intermediate representation as YAML; the same text each time.

    Raises:
        ContractError: a parameter without a description, an image that `container_images` does not name, or a path
            of this machine.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        compiler.Compiler().compile(pipeline, str(path))
        text = _DICT_DEFAULT.sub(_with_sorted_keys, path.read_text(encoding="utf-8"))
    specification = next(yaml.safe_load_all(text))
    _check_parameters(specification)
    _check_images(specification)
    _check_paths(text)
    return text


def _with_sorted_keys(default: re.Match[str]) -> str:
    """Sorts the keys of a default in the leading comment, where kfp writes them in the order of their hashes."""
    return f"{default[1]}{dict(sorted(ast.literal_eval(default[2]).items()))}]"


def _check_parameters(specification: dict[str, Any]) -> None:
    name = specification["pipelineInfo"]["name"]
    parameters = specification["root"].get("inputDefinitions", {}).get("parameters", {})
    bare = sorted(key for key, parameter in parameters.items() if not parameter.get("description"))
    if bare:
        raise ContractError(
            f"pipeline {name}: no description of {', '.join(bare)}", remedy="Add a line to Args: of its docstring."
        )


def _check_images(specification: dict[str, Any]) -> None:
    executors = specification["deploymentSpec"]["executors"].values()
    foreign = {executor["container"]["image"] for executor in executors if "container" in executor} - _IMAGES
    if foreign:
        raise ContractError(
            f"pipeline {specification['pipelineInfo']['name']}: image {', '.join(sorted(foreign))}",
            f"one of {', '.join(sorted(_IMAGES))}",
            "Name images in components/shared/container_images.py.",
        )


def _check_paths(text: str) -> None:
    local = {str(path) for path in (Path.home(), REPOSITORY, Path(sys.prefix), Path.cwd()) if path != Path("/")}
    found = sorted(path for path in local if path in text)
    if found:
        raise ContractError(
            f"the compiled pipeline holds {', '.join(found)}", "no path of this machine", "Remove it from the defaults."
        )


if __name__ == "__main__":
    sys.exit(main())
