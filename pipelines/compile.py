"""`make compile`: write each pipeline as YAML for the Kubeflow UI, and as Kubernetes resources for GitOps.

Kubeflow Pipelines 2.5 and newer, installed with the Kubernetes-native API, reads the resources `Pipeline` and
`PipelineVersion`.
"""

import argparse
import ast
import hashlib
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from kfp import compiler
from kfp.dsl.base_component import BaseComponent

from components import __version__
from components.shared.container_images import COMPONENT_IMAGE, MONITORING_IMAGE, TRAINING_IMAGE, image_variables
from components.shared.errors import EXIT_FAILED, ContractError, TaxonflowError, exit_code_of
from components.shared.files import write_atomically
from pipelines.placement import add_placement_options, placed_pipelines
from pipelines.presets import load_preset, preset_names

KUBERNETES_FOLDER = "kubernetes"
REPOSITORY = Path(__file__).parents[1]
_IMAGES = {COMPONENT_IMAGE, MONITORING_IMAGE, TRAINING_IMAGE}
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # of libyaml where it is installed
_DICT_DEFAULT = re.compile(r"(?m)^(#.*\[Default: )(\{.*\})\]$")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the pipelines and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.compile", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the YAML files")
    parser.add_argument(
        "--preset",
        default="fossil",
        help=f"preset with the resources of the training tasks, one of {', '.join(preset_names())} "
        "(default: %(default)s)",
    )
    add_placement_options(parser)
    options = parser.parse_args(arguments)
    out: Path = options.out
    try:
        for path in compile_pipelines(out, placed_pipelines(load_preset(options.preset), options)):
            sys.stdout.write(f"{path}\n")
    except (TaxonflowError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return exit_code_of(error) if isinstance(error, TaxonflowError) else EXIT_FAILED
    sys.stdout.write(
        "Upload a file in the Kubeflow UI (Pipelines, Upload pipeline), or use `make submit HOST=https://...`.\n"
        f"Kubernetes resources for GitOps: {out / KUBERNETES_FOLDER}\n"
    )
    return 0


def compile_pipelines(out: Path, pipelines: Mapping[str, BaseComponent]) -> list[Path]:
    """Write every pipeline as `<its name>.yaml` for the UI and as `kubernetes/<its name>.yaml` for GitOps.

    Args:
        out: Folder for the files.
        pipelines: Pipelines by name, from `build_pipelines`.

    Returns:
        Paths of the files for the UI.

    Raises:
        ContractError: A pipeline fails a check of `compile_pipeline`; no file is written for it.
    """
    paths = []
    for pipeline in pipelines.values():
        path = out / f"{pipeline.name}.yaml"
        text = compile_pipeline(pipeline)
        write_atomically(out / KUBERNETES_FOLDER / path.name, pipeline_resources(text).encode())
        write_atomically(path, text.encode())
        paths.append(path)
    return paths


def compile_pipeline(pipeline: BaseComponent) -> str:
    """Compile a pipeline and check its descriptions, images and paths.

    The steps get the registry and the tag of the images, because the step `deploy` names the image of the transformer.

    Returns:
        The pipeline's intermediate representation as YAML. The same pipeline gives the same text.

    Raises:
        ContractError: A parameter has no description, an image is not in `container_images`, or the text contains a
            path of this machine.
    """
    _set_image_variables(pipeline)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        compiler.Compiler().compile(pipeline, str(path))
        text = _DICT_DEFAULT.sub(_sort_keys, path.read_text(encoding="utf-8"))
    specification = parse_documents(text)[0]
    _check_parameters(specification)
    _check_images(specification)
    _check_paths(text)
    return text


def parse_documents(text: str) -> list[dict[str, Any]]:
    """Return the documents of a compiled pipeline: its specification and, if any, the settings of its platform."""
    return list(yaml.load_all(text, _LOADER))


def version_name(text: str) -> str:
    """Return the name of a pipeline version: Taxonflow's version and the digest of the compiled text."""
    return f"{__version__}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def pipeline_description(text: str) -> str:
    """Return the description of a compiled pipeline; empty if it has none."""
    return str(parse_documents(text)[0]["pipelineInfo"].get("description", ""))


def pipeline_resources(text: str) -> str:
    """Return the resources Pipeline and PipelineVersion as YAML, without a namespace.

    Args:
        text: Compiled pipeline.
    """
    specification, *platform = parse_documents(text)
    name, version = specification["pipelineInfo"]["name"], version_name(text)
    pipeline = _resource("Pipeline", name, {"displayName": name, **_description(specification)})
    fields = {
        "displayName": version,
        "versionName": version,
        "pipelineName": name,
        **_description(specification),
        "pipelineSpec": specification,
        **({"platformSpec": platform[0]} if platform else {}),
    }
    return yaml.safe_dump_all([pipeline, _resource("PipelineVersion", f"{name}-{version}", fields)], sort_keys=False)


def _resource(kind: str, name: str, specification: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "pipelines.kubeflow.org/v2beta1",
        "kind": kind,
        "metadata": {"name": name, "labels": {"app.kubernetes.io/part-of": "taxonflow"}},
        "spec": specification,
    }


def _description(specification: dict[str, Any]) -> dict[str, str]:
    description = specification["pipelineInfo"].get("description")
    return {"description": description} if description else {}


def _sort_keys(default: re.Match[str]) -> str:
    """Sort the keys of a default in the leading comment, which kfp writes in the order of their hashes."""
    return f"{default[1]}{dict(sorted(ast.literal_eval(default[2]).items()))}]"


def _set_image_variables(pipeline: BaseComponent) -> None:
    variables = image_variables()
    for executor in pipeline.pipeline_spec.deployment_spec["executors"].values():
        if "container" in executor:
            container = executor["container"]
            others = [item for item in container.get_or_create_list("env") if item["name"] not in variables]
            container["env"] = [*others, *({"name": name, "value": value} for name, value in variables.items())]


def _check_parameters(specification: dict[str, Any]) -> None:
    name = specification["pipelineInfo"]["name"]
    parameters = specification["root"].get("inputDefinitions", {}).get("parameters", {})
    undocumented_names = sorted(key for key, parameter in parameters.items() if not parameter.get("description"))
    if undocumented_names:
        raise ContractError(
            f"pipeline {name}: no description of {', '.join(undocumented_names)}",
            "a description of every parameter",
            "Add a line to Args: of the pipeline's docstring.",
        )


def _check_images(specification: dict[str, Any]) -> None:
    executors = specification["deploymentSpec"]["executors"].values()
    unknown_images = {executor["container"]["image"] for executor in executors if "container" in executor} - _IMAGES
    if unknown_images:
        raise ContractError(
            f"pipeline {specification['pipelineInfo']['name']}: image {', '.join(sorted(unknown_images))}",
            f"one of {', '.join(sorted(_IMAGES))}",
            "Add the image to components/shared/container_images.py.",
        )


def _check_paths(text: str) -> None:
    local = {str(path) for path in (Path.home(), REPOSITORY, Path(sys.prefix), Path.cwd()) if path != Path("/")}
    paths = sorted(path for path in local if path in text)
    if paths:
        raise ContractError(
            f"the compiled pipeline contains {', '.join(paths)}",
            "no path of this machine",
            "Remove the path from the defaults.",
        )


if __name__ == "__main__":
    sys.exit(main())
