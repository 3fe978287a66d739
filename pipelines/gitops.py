"""The pipelines as Kubernetes resources, for clusters whose Kubeflow Pipelines are kept in git.

Kubeflow Pipelines 2.5 and newer, installed with the Kubernetes-native API, reads `Pipeline` and `PipelineVersion`.
"""

import hashlib
from typing import Any

import yaml

from components import __version__


def version_name(text: str) -> str:
    """Names a version after Taxonflow's and the compiled text's digest: the same name stands for the same text."""
    return f"{__version__}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def pipeline_resources(text: str) -> str:
    """Returns the Pipeline and its PipelineVersion as YAML, without a namespace.

    Args:
        text: a compiled pipeline.
    """
    documents: list[dict[str, Any]] = list(yaml.safe_load_all(text))
    specification, platform = documents[0], documents[1:]
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
