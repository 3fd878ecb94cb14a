"""Scale vectors: what a table of them must be, and which of its rows are the same."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int64
from numpy.typing import ArrayLike

from cardioemu.common.arrays import Scales
from cardioemu.common.errors import UserError

LARGEST_SCALE = 1e6  # beyond, a rate is so fast that no step resolves what a current does


def select_columns(scales: ArrayLike | pd.DataFrame | pd.Series, names: Sequence[str]) -> ArrayLike:
    """Returns the columns of a DataFrame, or what a Series has under texts, in the order of `names`; all else as it is.

    Raises:
        UserError: a name is not among them.
    """
    if isinstance(scales, pd.DataFrame):
        there, what = scales.columns, "the table has no column"
    elif isinstance(scales, pd.Series) and any(isinstance(name, str) for name in scales.index):
        there, what = scales.index, "the row has no"
    else:
        return scales
    missing = [name for name in names if name not in there]
    if missing:
        raise UserError(f"scales: {what} {', '.join(missing)}; it needs {', '.join(names)}")
    return scales[list(names)]


def validate_scales(scales: ArrayLike | pd.DataFrame | pd.Series, names: Sequence[str]) -> Scales:
    """Returns scale vectors as (cells, scaled) float64; a single vector counts as one cell.

    The columns of a DataFrame are taken by their names, in whatever order they stand, and so is a row of it.

    Raises:
        UserError: a wrong width or column, or a value that is negative, not a number or above 1e6.
    """
    scales = select_columns(scales, names)
    try:
        array = np.atleast_2d(np.asarray(scales, dtype=float))
    except (TypeError, ValueError) as error:
        raise UserError(f"scales: got something that is no table of numbers ({error})") from error
    if array.ndim != 2 or array.shape[1] != len(names):
        raise UserError(
            f"scales: got shape {np.shape(scales)}, allowed is (cells, {len(names)}), "
            f"one column each for {', '.join(names)}"
        )
    bad = np.argwhere(~((array >= 0) & (array <= LARGEST_SCALE)))
    if len(bad):
        row, column = bad[0]
        raise UserError(
            f"scales: cell {row} has {names[column]} = {array[row, column]}, "
            f"allowed are values from 0 to {LARGEST_SCALE:g}; 1 is the control"
        )
    return array


def unique_rows(scales: Scales) -> tuple[Int64[np.ndarray, " cells"], Int64[np.ndarray, " unique_rows"]]:
    """Numbers the distinct scale vectors of a design in the order of their first rows.

    Returns:
        The number of each row's scale vector (cells,), and the first row of each (distinct,), ascending.
    """
    _, first, inverse = np.unique(scales, axis=0, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))
    return rank[inverse.ravel()], np.sort(first)


def first_occurrence(scales: Scales) -> Bool[np.ndarray, " cells"]:
    """Returns whether each row of a design is the first with its scale vector (cells,)."""
    return np.isin(np.arange(len(scales)), unique_rows(scales)[1])
