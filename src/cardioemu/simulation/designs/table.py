"""A design that somebody else made: a table in a file."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv, parquet

from cardioemu.common.arrays import Scales
from cardioemu.common.errors import UserError
from cardioemu.simulation.designs.arguments import SEED_CURRENTS, Names, validated_design
from cardioemu.simulation.scales import validate_scales


@validated_design
def from_file(path: Path, scaled: Names = SEED_CURRENTS) -> Scales:
    """Reads the scale vectors from a CSV or Parquet file with a column per scaled conductance.

    The columns stand in any order; further ones are left out. A CSV file has commas and a line of names at the top.

    Args:
        path: of the file, which ends in .csv or .parquet.
        scaled: names of the conductances.

    Returns:
        (cells, scaled), one row per row of the file.

    Raises:
        UserError: a file that cannot be read, lacks a column or has no rows, or a value that is no allowed scale.
    """
    table = _read(path, scaled)
    try:
        columns = {name: _numbers(table[name], name) for name in scaled if name in table.column_names}
        return validate_scales(pd.DataFrame(columns), scaled)
    except UserError as error:
        raise UserError(f"design.path: in {path}, {str(error).removeprefix('scales: ')}") from error


def _read(path: Path, scaled: Names) -> Any:
    """Returns the columns of a file that are wanted, or more, as a pyarrow Table."""
    kind = path.suffix.lower()
    if kind not in (".csv", ".parquet"):
        raise UserError(f"design.path: got {path}, allowed is a file that ends in .csv or .parquet")
    if not path.is_file():
        raise UserError(f"design.path: there is no file {path}")
    try:
        # ParquetFile, because read_table takes folders named a=b for columns.
        table = csv.read_csv(path) if kind == ".csv" else parquet.ParquetFile(path).read(columns=list(scaled))
        table = table.rename_columns([name.strip() for name in table.column_names])
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        said = " ".join(str(error).split())
        raise UserError(f"design.path: {path} cannot be read as {kind[1:]} ({said})") from error
    for name in scaled:
        if table.column_names.count(name) > 1:
            raise UserError(f"design.path: {path} has more than one column {name}")
    if not table.num_rows:
        raise UserError(f"design.path: {path} has no rows")
    return table


def _numbers(column: Any, name: str) -> Any:
    """Returns a pyarrow column as numbers (cells,); what is missing is NaN."""
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        return column.to_numpy()
    numbers = np.full(len(column), np.nan)
    for cell, value in enumerate(column.to_pylist()):
        try:
            numbers[cell] = np.nan if value is None else float(value)
        except (TypeError, ValueError) as error:
            raise UserError(f"cell {cell} has {name} = {value!r}, which is no number") from error
    return numbers
