"""How far cells are from the trained ones, and how hard they are, whatever the network."""

from collections.abc import Callable, Iterable

import numpy as np
from jaxtyping import Float64
from scipy.spatial import KDTree

from cardioemu.common.arrays import PerCell, Scales, Windows
from cardioemu.evaluation.metrics.cell_errors import rmse_mV


def nearest_distance(scales: Scales, trained: np.ndarray) -> PerCell:
    """Returns how far each cell is from the nearest of the trained ones, in scales; both are (cells, scaled)."""
    return np.asarray(KDTree(trained).query(scales)[0])


def nearest_cell_rmse_mV(
    scales: Scales, rows: np.ndarray, trained: np.ndarray, read: Callable[[np.ndarray], Iterable[Windows]]
) -> Float64[np.ndarray, " rows"]:
    """Returns the RMSE of each cell's windows against the mean window of the trained cell nearest in its scales.

    Args:
        scales: of all cells (cells, scaled).
        rows: the cells asked for.
        trained: rows of the training part.
        read: from rows to windows (cells, windows, points), in mV, of some cells after the other.
    """
    nearest = trained[KDTree(scales[trained]).query(scales[rows])[1]]
    pairs = zip(read(rows), read(nearest), strict=True)
    return np.concatenate([rmse_mV(own, others.mean(axis=1, dtype=np.float64)) for own, others in pairs])
