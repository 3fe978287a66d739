"""Validation of user parameters, with an error message of one sentence, and the base class of all documents."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from components.shared.errors import BadConfigError

_MAX_VALUE_CHARACTERS = 80


class Frozen(BaseModel):
    """An immutable configuration or document that rejects unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Configuration = TypeVar("Configuration", bound=Frozen)


def checked(kind: type[Configuration], fields: Mapping[str, Any], label: str) -> Configuration:
    """Validate fields and return the configuration; whole numbers may be given as JSON floats.

    Args:
        kind: Class of the configuration.
        fields: Values by field name.
        label: Term for a field in messages, for example "recipe key".

    Raises:
        BadConfigError: A key is unknown, a value is invalid, or values contradict each other.
    """
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise _config_error(error.errors(), list(kind.model_fields), label) from error


def abbreviate(value: object) -> str:
    """Return the representation of a value for a message, truncated to 80 characters."""
    text = repr(value)
    return text if len(text) <= _MAX_VALUE_CHARACTERS else f"{text[:_MAX_VALUE_CHARACTERS]}..."


def _config_error(errors: Sequence[ErrorDetails], keys: Sequence[str], label: str) -> BadConfigError:
    first = errors[0]
    if not first["loc"]:
        problem = f"{label}s contradict each other: {_constraint(first['msg'])}"
        return BadConfigError(problem, remedy="Change one of them.")
    attempts = [error for error in errors if error["loc"][0] == first["loc"][0] and error["input"] is first["input"]]
    key = ".".join(map(str, first["loc"][:-1] if len(attempts) > 1 else first["loc"]))  # each attempt names its type
    if first["type"] == "extra_forbidden":
        return BadConfigError(f"{label} {key!r}", f"one of {', '.join(keys)}", "Correct or remove it.")
    if first["type"] == "value_error":  # the message is the validator's own sentence
        return BadConfigError(f"{label} {key!r}: {_constraint(first['msg'])}", remedy=f"Correct {key!r}.")
    constraints = dict.fromkeys(_constraint(error["msg"]) for error in attempts)
    problem = f"{label} {key!r} with value {abbreviate(first['input'])}"
    return BadConfigError(problem, " or ".join(constraints), f"Correct {key!r}.")


def _constraint(message: str) -> str:
    """Return the constraint that a pydantic message names, without its standard phrases."""
    return re.sub(r"^Input should be |^String should have |^Value error, |, (unable|got) .*", "", message)
