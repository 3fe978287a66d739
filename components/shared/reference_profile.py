"""The reference profile: what held-out slices look like, for the monitor to compare traffic with.

A parquet file, a row per slice: `specimen`, `species` (as the model answered), `confidence`, `unknown`, `embedding` (a
list of floats), and the descriptors. Those that a profile has are the ones that its model's traffic is watched on.
"""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from components.shared.errors import ContractError
from components.shared.images.descriptors import COLOUR_DESCRIPTORS, DESCRIPTORS

SCHEMA = "taxonflow.reference/1"
COLUMNS = ("specimen", "species", "confidence", "unknown", "embedding")
"""What every profile has besides its descriptors."""


def write_reference(path: Path, profile: pd.DataFrame) -> None:
    """Writes a profile with exactly COLUMNS and DESCRIPTORS, and COLOUR_DESCRIPTORS where it has them."""
    columns = [*COLUMNS, *DESCRIPTORS, *(name for name in COLOUR_DESCRIPTORS if name in profile)]
    table = pa.Table.from_pandas(profile[columns], preserve_index=False)
    pq.write_table(table.replace_schema_metadata({**(table.schema.metadata or {}), b"schema": SCHEMA.encode()}), path)


def read_reference(path: Path) -> pd.DataFrame:
    """Reads a profile.

    Raises:
        ContractError: the file is missing, damaged, or of another schema version.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise ContractError(f"{path} cannot be read as a reference profile ({error})", f"a {SCHEMA} file") from error
    found = (table.schema.metadata or {}).get(b"schema", b"none").decode()
    if found != SCHEMA:
        raise ContractError(f"{path} has schema {found!r}", repr(SCHEMA), "Evaluate the model again with this version.")
    return table.to_pandas()
