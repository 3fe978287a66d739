"""The base class of every contract: a versioned JSON document."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import ValidationError

from components.shared.config import Frozen
from components.shared.errors import ContractError
from components.shared.files import write_atomically

MAX_DOCUMENT_BYTES = 64 * 2**20


class Document(Frozen):
    """A versioned JSON document: the base class of every contract.

    A subclass sets its `SCHEMA`, and in `OLDER_SCHEMAS` a function for each older schema that converts its fields.
    Readers reject any other schema.
    """

    SCHEMA: ClassVar[str]
    OLDER_SCHEMAS: ClassVar[Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]]] = {}

    def to_json(self) -> str:
        """Return the document as JSON, with the schema as the first key."""
        return json.dumps({"schema": self.SCHEMA, **self.model_dump(mode="json")}, indent=1)

    def write(self, path: Path) -> None:
        """Write the document atomically.

        Raises:
            ContractError: The document is larger than MAX_DOCUMENT_BYTES, which readers reject.
        """
        content = self.to_json().encode()
        if len(content) > MAX_DOCUMENT_BYTES:
            problem = f"{path} of {len(content)} bytes"
            raise ContractError(problem, f"at most {MAX_DOCUMENT_BYTES}", "Use fewer source files per run.")
        write_atomically(path, content)

    @classmethod
    def parse(cls, text: str | bytes, source: str) -> Self:
        """Parse a document from JSON.

        Args:
            text: JSON text.
            source: Origin of the text, for messages.

        Raises:
            ContractError: The text is not JSON, has another schema version, or has invalid fields.
        """
        try:
            fields: Any = json.loads(text)
        except (ValueError, RecursionError) as error:  # RecursionError: nested thousands of times
            raise ContractError(f"{source} is not JSON ({error})", f"a {cls.SCHEMA} document") from error
        schema = fields.pop("schema", None) if isinstance(fields, dict) else None
        upgrade = cls.OLDER_SCHEMAS.get(str(schema))
        if schema != cls.SCHEMA and upgrade is None:
            remedy = "Create it again with this version of Taxonflow."
            raise ContractError(f"{source} has schema {schema!r}", repr(cls.SCHEMA), remedy)
        try:
            return cls.model_validate(upgrade(fields) if upgrade else fields)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise ContractError(f"{source}: field {field!r}: {first['msg']}", f"a {cls.SCHEMA} document") from error

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a document from a file.

        Raises:
            ContractError: The file is missing, larger than MAX_DOCUMENT_BYTES, or not such a document.
        """
        if not path.is_file():
            raise ContractError(f"{path} does not exist", f"a {cls.SCHEMA} document", "Check the path.")
        if path.stat().st_size > MAX_DOCUMENT_BYTES:
            raise ContractError(f"{path} has {path.stat().st_size} bytes", f"at most {MAX_DOCUMENT_BYTES}")
        return cls.parse(path.read_bytes(), str(path))
