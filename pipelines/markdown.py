"""Markdown of values and tables, for the reference pages and the descriptions of pipelines."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import yaml
from pydantic_core import PydanticUndefined


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
