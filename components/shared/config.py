"""What a user gives as a parameter becomes a checked configuration, or a sentence about the first thing wrong in it."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from components.shared.errors import BadConfigError

_SHOWN = 80


class Frozen(BaseModel):
    """An immutable configuration or document that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Configuration = TypeVar("Configuration", bound=Frozen)


def checked(kind: type[Configuration], fields: Mapping[str, Any], named: str) -> Configuration:
    """Makes a configuration; numbers may come as JSON's floats.

    Args:
        kind: the class of the configuration.
        fields: by name.
        named: what the user knows a field as, such as "recipe key".

    Raises:
        BadConfigError: an unknown key, an impossible value, or values that contradict one another.
    """
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise _refusal(error.errors(), list(kind.model_fields), named) from error


def shown(value: object) -> str:
    """Writes a value for a message, cut where it is long."""
    written = repr(value)
    return written if len(written) <= _SHOWN else f"{written[:_SHOWN]}..."


def _refusal(errors: Sequence[ErrorDetails], keys: Sequence[str], named: str) -> BadConfigError:
    first = errors[0]
    if not first["loc"]:
        return BadConfigError(f"{named}s that do not fit: {_wanted(first['msg'])}", remedy="Mend one of them.")
    attempts = [error for error in errors if error["loc"][0] == first["loc"][0] and error["input"] is first["input"]]
    key = ".".join(map(str, first["loc"][:-1] if len(attempts) > 1 else first["loc"]))  # each attempt names its type
    if first["type"] == "extra_forbidden":
        return BadConfigError(f"{named} {key!r}", f"one of {', '.join(keys)}", "Mend it.")
    if first["type"] == "value_error":  # a validator's own sentence
        return BadConfigError(f"{named} {key!r}: {_wanted(first['msg'])}", remedy="Mend it.")
    wanted = dict.fromkeys(_wanted(error["msg"]) for error in attempts)
    return BadConfigError(f"{named} {key!r} with value {shown(first['input'])}", " or ".join(wanted), "Mend it.")


def _wanted(message: str) -> str:
    """Returns what pydantic wanted, without what it says of the attempt."""
    return re.sub(r"^Input should be |^String should have |^Value error, |, (unable|got) .*", "", message)
