"""The reference profile: predictions and descriptors of held-out slices, with which the monitor compares served slices.

A Parquet file with one row per slice: `specimen`, `species` (the predicted one), `confidence`, `unknown`, `embedding`
(a list of floats), and the descriptors. The monitor compares the descriptors that the profile contains.
"""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from components.shared.errors import ContractError
from components.shared.images.descriptors import COLOUR_DESCRIPTORS, DESCRIPTORS

SCHEMA = "taxonflow.reference/1"
COLUMNS = ("specimen", "species", "confidence", "unknown", "embedding")
"""Columns of every profile, besides its descriptors."""


def write_reference(path: Path, profile: pd.DataFrame) -> None:
    """Write a profile with exactly COLUMNS, DESCRIPTORS and, if present, COLOUR_DESCRIPTORS."""
    columns = [*COLUMNS, *DESCRIPTORS, *(name for name in COLOUR_DESCRIPTORS if name in profile)]
    table = pa.Table.from_pandas(profile[columns], preserve_index=False)
    pq.write_table(table.replace_schema_metadata({**(table.schema.metadata or {}), b"schema": SCHEMA.encode()}), path)


def read_reference(path: Path) -> pd.DataFrame:
    """Read a profile.

    Raises:
        ContractError: The file is missing, damaged, or of another schema version.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise ContractError(f"{path} cannot be read as a reference profile ({error})", f"a {SCHEMA} file") from error
    schema = (table.schema.metadata or {}).get(b"schema", b"none").decode()
    if schema != SCHEMA:
        remedy = "Evaluate the model again with this version of Taxonflow."
        raise ContractError(f"{path} has schema {schema!r}", repr(SCHEMA), remedy)
    return table.to_pandas()
