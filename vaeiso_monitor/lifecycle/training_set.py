"""Records as one Arrow file: how a training set reaches the process that trains on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import ipc

from vaeiso_monitor.types import Records


def save_records(records: Records, path: Path) -> None:
    """Write the columns of ``records`` to ``path``, without their labels."""
    columns: dict[str, pa.Array] = {
        f"number{j}": pa.array(records.numbers[:, j]) for j in range(records.numbers.shape[1])
    }
    columns |= {
        f"category{j}": pa.array(list(texts), pa.string())
        for j, texts in enumerate(records.categories)
    }
    table = pa.table(columns)
    with pa.OSFile(str(path), "wb") as file, ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def load_records(path: Path) -> Records:
    """Read what :func:`save_records` wrote."""
    with pa.memory_map(str(path)) as file:
        table = ipc.open_file(file).read_all()
    names = table.column_names
    numbers = [table[name].to_numpy() for name in names if name.startswith("number")]
    texts = [table[name].to_pylist() for name in names if name.startswith("category")]
    rows = np.arange(len(table), dtype=np.int64)
    matrix = np.column_stack(numbers) if numbers else np.empty((len(table), 0))
    return Records(matrix.astype(np.float64, copy=False), texts, rows)
