"""Arrow tables without `pyarrow.array`, which imports pandas and costs every worker process half a second."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

_TYPES: dict[type, pa.DataType] = {
    str: pa.string(),
    bytes: pa.binary(),
    int: pa.int64(),
    float: pa.float64(),
    np.int8: pa.int8(),
}


def record_batch(rows: Sequence[Mapping[str, Any]]) -> pa.RecordBatch:
    """Return rows as a record batch; the first row determines names, order and types of the columns.

    Args:
        rows: At least one row. Every value is a str, bytes, int, float or numpy.int8; missing values are not supported.
    """
    columns = {name: _column([row[name] for row in rows]) for name in rows[0]}
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def _column(values: Sequence[Any]) -> pa.Array:
    kind = _TYPES[type(values[0])]
    if kind in (pa.int64(), pa.float64(), pa.int8()):
        buffers = [None, pa.py_buffer(np.array(values, dtype=kind.to_pandas_dtype()))]
    else:
        contents = [value if isinstance(value, bytes) else value.encode() for value in values]
        ends = np.cumsum([0, *map(len, contents)]).astype(np.int32)
        buffers = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(contents))]
    return pa.Array.from_buffers(kind, len(values), buffers)
