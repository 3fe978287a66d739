"""Fixtures that several rooms' tests share."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

SCHEMAS = Path(__file__).parents[2] / "shared" / "schemas"


def closed(schema: Any) -> Any:
    """Forbids unknown fields in every object of a CRD schema that lists its fields, so that a typo cannot pass."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: closed(value) for key, value in schema.items()}
    open_object = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object" and not open_object:
        inner["additionalProperties"] = False
    return inner


@cache
def _validator(kind: str, version: str) -> jsonschema.protocols.Validator:
    for path in SCHEMAS.glob("*.yaml"):
        text = path.read_text()
        if f"\n    kind: {kind}\n" not in text:  # reading the other definitions would take seconds
            continue
        definition = yaml.load(text, yaml.CSafeLoader)
        served = {item["name"]: item["schema"]["openAPIV3Schema"] for item in definition["spec"]["versions"]}
        return jsonschema.Draft202012Validator(closed(served[version]))
    raise LookupError(f"no CRD schema of {kind}")


@pytest.fixture(scope="session")
def complaints_of_crd() -> Callable[[dict[str, Any]], list[str]]:
    """Returns a function that lists what a custom resource violates in its CRD schema, unknown fields included."""
    if not SCHEMAS.is_dir():
        pytest.skip("the CRD schemas are not beside the repository")
    return crd_complaints


def crd_complaints(document: dict[str, Any]) -> list[str]:
    version = document["apiVersion"].rpartition("/")[2]
    errors = _validator(document["kind"], version).iter_errors(document)
    return [f"{error.json_path}: {error.message[:200]}" for error in errors]
