"""Parquet tables and numpy arrays, each as the other."""

import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from jaxtyping import Shaped


def column(table: pa.Table, name: str) -> Shaped[np.ndarray, "rows width"]:
    """A column as a two-dimensional array; scalars become a width of one."""
    values = table.column(name).combine_chunks()
    if isinstance(values, pa.ChunkedArray):  # an empty column stays chunked
        values = pa.concat_arrays(values.chunks) if values.num_chunks else pa.array([], values.type)
    if pa.types.is_fixed_size_list(values.type) or pa.types.is_list(values.type):
        flat = np.asarray(values.flatten())
        array: np.ndarray = flat.reshape(len(values), -1) if len(values) else flat.reshape(0, 0)
        return array
    return np.asarray(values.to_numpy(zero_copy_only=False)).reshape(-1, 1)


def tasks_table(tasks: Sequence[str]) -> pa.Table:
    """The table of instructions, with the note that makes pandas take the instruction for its index, as LeRobot expects."""
    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), "task": pa.array(tasks, pa.string())})
    pandas = {
        "index_columns": ["task"],
        "column_indexes": [
            {"name": None, "field_name": None, "pandas_type": "unicode", "numpy_type": "object", "metadata": None}
        ],
        "columns": [
            {
                "name": "task_index",
                "field_name": "task_index",
                "pandas_type": "int64",
                "numpy_type": "int64",
                "metadata": None,
            },
            {"name": "task", "field_name": "task", "pandas_type": "unicode", "numpy_type": "object", "metadata": None},
        ],
        "pandas_version": "2.2.0",
    }
    return table.replace_schema_metadata({"pandas": json.dumps(pandas)})
