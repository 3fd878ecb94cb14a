"""How hard a cell is, whatever the network: how far its windows are from those of the nearest trained cell."""

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float64
from scipy.spatial import KDTree

from cardioemu.evaluation.metrics import rmse_mV
from cardioemu.types import PerCell, Scales, Windows

CELLS_AT_ONCE = 64


def neighbour_rmse_mV(
    scales: Scales, rows: np.ndarray, trained: np.ndarray, read: Callable[[np.ndarray], Windows]
) -> Float64[np.ndarray, " rows"]:
    """Returns the RMSE of each cell's windows against the mean window of the trained cell nearest in its scales.

    Args:
        scales: of all cells (cells, scaled).
        rows: the cells asked for.
        trained: rows of the training part.
        read: from rows to windows (cells, windows, points), in mV.
    """
    nearest = trained[KDTree(scales[trained]).query(scales[rows])[1]]

    def errors() -> Iterator[PerCell]:
        for i in range(0, len(rows), CELLS_AT_ONCE):
            windows, others = read(rows[i : i + CELLS_AT_ONCE]), read(nearest[i : i + CELLS_AT_ONCE])
            yield rmse_mV(windows, others.mean(axis=1, dtype=np.float64))

    return np.concatenate([*errors()])
