"""Descriptions of the pipelines in the Kubeflow UI: what a pipeline does, and a table of its parameters."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import yaml
from kfp.dsl.base_component import BaseComponent
from pydantic_core import PydanticUndefined

_TYPES = {
    "String": "text",
    "Integer": "integer",
    "Float": "number",
    "Boolean": "true or false",
    "List": "list",
    "Dict": "dictionary",
}


def describe(pipeline: BaseComponent) -> None:
    """Add the table of its parameters to the description of a pipeline, which its versions have too."""
    information = pipeline.pipeline_spec.pipeline_info
    information.description = "\n\n".join(
        [
            information.description,
            "## Parameters",
            table(("parameter", "accepts", "default", "meaning"), _rows(pipeline)),
        ]
    )


def parameter_rows(pipeline: BaseComponent) -> list[tuple[str, str, str]]:
    """Return name, default and meaning of each parameter of a pipeline."""
    return [(name, default, meaning) for name, _, default, meaning in _rows(pipeline)]


def _rows(pipeline: BaseComponent) -> list[tuple[str, str, str, str]]:
    return [
        (
            f"`{name}`",
            _TYPES[spec.type.partition("[")[0]],
            "required" if spec.default is None and not spec.optional else literal(spec.default),
            " ".join(spec.description.split()),
        )
        for name, spec in (pipeline.component_spec.inputs or {}).items()
    ]


def literal(value: Any) -> str:
    """Return a value as inline code, as it is written in YAML."""
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str):
        return f"`{value}`" if value else '`""`'
    if isinstance(value, list | dict):
        return f"`{yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=sys.maxsize).strip()}`"
    return f"`{json.dumps(value)}`"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of cells in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(" | ".join(["", *(cell.replace("|", r"\|") for cell in line), ""]).strip() for line in lines)
