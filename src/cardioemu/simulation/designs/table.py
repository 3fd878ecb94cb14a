"""The design from a table in a file."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv, parquet

from cardioemu.common.arrays import Scales
from cardioemu.common.errors import UserError
from cardioemu.simulation.designs.arguments import CURRENTS, Names, validated_design
from cardioemu.simulation.scales import validate_scales


@validated_design
def from_file(path: Path, scaled: Names = CURRENTS) -> Scales:
    """Read the scale vectors from a CSV or Parquet file with one column per scaled conductance.

    The columns may be in any order; other columns are ignored. A CSV file is separated by commas and starts with a line
    of names.

    Args:
        path: path of the file, which ends in .csv or .parquet.
        scaled: names of the conductances.

    Returns:
        Scales (cells, scaled), one row per row of the file.

    Raises:
        UserError: the file cannot be read, lacks a column, has no rows, or a value is not an allowed scale.
    """
    table = _read(path, scaled)
    try:
        columns = {name: _to_numbers(table[name], name) for name in scaled if name in table.column_names}
        return validate_scales(pd.DataFrame(columns), scaled)
    except UserError as error:
        raise UserError(f"design.path: in {path}, {str(error).removeprefix('scales: ')}") from error


def _read(path: Path, scaled: Names) -> Any:
    """Return at least the scaled columns of a file that has them, as a pyarrow Table."""
    kind = path.suffix.lower()
    if kind not in (".csv", ".parquet"):
        raise UserError(f"design.path: got {path}; allowed is a file that ends in .csv or .parquet")
    if not path.is_file():
        raise UserError(f"design.path: there is no file {path}")
    try:
        # ParquetFile, because read_table interprets folders named a=b as columns.
        table = csv.read_csv(path) if kind == ".csv" else parquet.ParquetFile(path).read(columns=list(scaled))
        table = table.rename_columns([name.strip() for name in table.column_names])
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"design.path: {path} cannot be read as {kind[1:]} ({reason})") from error
    for name in scaled:
        if table.column_names.count(name) > 1:
            raise UserError(f"design.path: {path} has more than one column {name}")
    if not table.num_rows:
        raise UserError(f"design.path: {path} has no rows")
    return table


def _to_numbers(column: Any, name: str) -> Any:
    """Return a pyarrow column as numbers (cells,), with NaN for missing values."""
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        return column.to_numpy()
    values = np.full(len(column), np.nan)
    for cell, value in enumerate(column.to_pylist()):
        try:
            values[cell] = np.nan if value is None else float(value)
        except (TypeError, ValueError) as error:
            raise UserError(f"cell {cell} has {name} = {value!r}, which is not a number") from error
    return values
