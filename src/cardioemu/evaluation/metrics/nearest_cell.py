"""The nearest training cell: how far away it is, and how well its windows predict another cell."""

from collections.abc import Callable, Iterable

import numpy as np
from jaxtyping import Float64
from scipy.spatial import KDTree

from cardioemu.common.arrays import PerCell, Scales, Windows
from cardioemu.evaluation.metrics.cell_errors import rmse_mV


def nearest_distance(scales: Scales, training_scales: np.ndarray) -> PerCell:
    """Return the distance of each cell from the nearest training cell, in scales (cells,)."""
    return np.asarray(KDTree(training_scales).query(scales)[0])


def nearest_cell_rmse_mV(
    scales: Scales,
    cell_indices: np.ndarray,
    training_cells: np.ndarray,
    read: Callable[[np.ndarray], Iterable[Windows]],
) -> Float64[np.ndarray, " rows"]:
    """Return the RMSE of each cell's windows against the mean window of its nearest training cell, in mV.

    Args:
        scales: scale vectors of all cells (cells, scaled).
        cell_indices: the cells to measure.
        training_cells: indices of the training cells.
        read: reads the windows (cells, windows, samples) of cells by their indices, in batches.
    """
    nearest = training_cells[KDTree(scales[training_cells]).query(scales[cell_indices])[1]]
    pairs = zip(read(cell_indices), read(nearest), strict=True)
    return np.concatenate([rmse_mV(own, others.mean(axis=1, dtype=np.float64)) for own, others in pairs])
