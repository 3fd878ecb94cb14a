"""Tables of scale vectors: their validation, and which of their rows are equal."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int64
from numpy.typing import ArrayLike

from cardioemu.common.arrays import Scales
from cardioemu.common.errors import UserError

LARGEST_SCALE = 1e6  # larger scales make rates so fast that no solver step resolves them


def select_columns(scales: ArrayLike | pd.DataFrame | pd.Series, names: Sequence[str]) -> ArrayLike:
    """Return the named columns of a DataFrame, or entries of a Series with text labels; anything else unchanged.

    Raises:
        UserError: a name is missing.
    """
    if isinstance(scales, pd.DataFrame):
        labels, subject = scales.columns, "the table has no column"
    elif isinstance(scales, pd.Series) and any(isinstance(name, str) for name in scales.index):
        labels, subject = scales.index, "the row has no"
    else:
        return scales
    missing = [name for name in names if name not in labels]
    if missing:
        raise UserError(f"scales: {subject} {', '.join(missing)}; it needs {', '.join(names)}")
    return scales[list(names)]


def validate_scales(scales: ArrayLike | pd.DataFrame | pd.Series, names: Sequence[str]) -> Scales:
    """Return scale vectors as float64 (cells, scaled); a single vector is one cell.

    Columns of a DataFrame, and entries of its rows, are selected by name, in any order.

    Raises:
        UserError: the shape or a column is wrong, or a value is negative, not a number or above 1e6.
    """
    scales = select_columns(scales, names)
    try:
        array = np.atleast_2d(np.asarray(scales, dtype=float))
    except (TypeError, ValueError) as error:
        raise UserError(f"scales: allowed is a table of numbers ({error})") from error
    if array.ndim != 2 or array.shape[1] != len(names):
        raise UserError(
            f"scales: got shape {np.shape(scales)}; allowed is (cells, {len(names)}), "
            f"one column each for {', '.join(names)}"
        )
    invalid = np.argwhere(~((array >= 0) & (array <= LARGEST_SCALE)))
    if len(invalid):
        row, column = invalid[0]
        raise UserError(
            f"scales: cell {row} has {names[column]} = {array[row, column]}; "
            f"allowed is 0 to {LARGEST_SCALE:g}, where 1 is the control"
        )
    return array


def unique_rows(scales: Scales) -> tuple[Int64[np.ndarray, " cells"], Int64[np.ndarray, " unique_rows"]]:
    """Assign a number to each distinct scale vector of a design, in the order of first rows.

    Returns:
        The number of each row's scale vector (cells,), and the first row of each vector (unique_rows,), ascending.
    """
    _, first, inverse = np.unique(scales, axis=0, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))
    return rank[inverse.ravel()], np.sort(first)


def first_occurrence(scales: Scales) -> Bool[np.ndarray, " cells"]:
    """Return whether each row of a design is the first with its scale vector (cells,)."""
    return np.isin(np.arange(len(scales)), unique_rows(scales)[1])
