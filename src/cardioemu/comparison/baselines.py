"""Baselines: four simple predictions of a cell from the training cells, which an emulator must beat.

Each is made from `TrainingCells` and predicts `voltage_mV(scales)` and the probability `fires_probability(scales)`.
"""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from jaxtyping import Bool
from scipy.spatial import Delaunay, KDTree
from sklearn.decomposition import IncrementalPCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern, WhiteKernel
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from cardioemu.common.arrays import PerCell, Predicted, Scales
from cardioemu.evaluation import evenly_spaced

MAX_CELLS, MAX_INPUTS = 20_000, 5  # of a triangulation, which then takes 2 GB; with more inputs many times that
COMPONENTS = 48
DEGREE = 3
ALPHAS = np.logspace(-6, 3, 10)
MAX_GP_CELLS = 2048  # half a second; the time grows with the third power, the memory with the second
MAX_KERNEL_CELLS = 512  # one or two seconds for the fit of the kernel
CELLS_AT_ONCE = 256

Corners = Iterator[tuple[int, np.ndarray, np.ndarray]]  # a cell, the training cells around it, and their weights


@dataclass(frozen=True)
class TrainingCells:
    """The simulated cells from which a baseline predicts.

    Attributes:
        scales: scale vectors of the cells that have windows (cells, scaled).
        windows: reads the mean window of such cells by their indices: (cells, samples), in mV.
        all_scales: scale vectors of all cells, including those that do not fire (all, scaled).
        fires: whether each of all cells fires (all,).
    """

    scales: Scales
    windows: Callable[[np.ndarray], Predicted]
    all_scales: np.ndarray
    fires: Bool[np.ndarray, " all"]

    @cached_property
    def principal_components(self) -> tuple[IncrementalPCA, np.ndarray]:
        """Principal components of the windows, 48 or as many as there are cells, and the scores (cells, components)."""
        batches = np.array_split(np.arange(len(self.scales)), max(1, len(self.scales) // CELLS_AT_ONCE))
        pca = IncrementalPCA(min(COMPONENTS, len(self.scales), self.windows(np.arange(1)).shape[1]))
        for cell_indices in batches:  # none smaller than the number of components
            pca.partial_fit(self.windows(cell_indices))
        return pca, np.concatenate([pca.transform(self.windows(cell_indices)) for cell_indices in batches])

    @cached_property
    def logistic(self) -> Pipeline | None:
        """Logistic regression of which cells fire on a polynomial of the scales; None if all cells do the same."""
        if len(np.unique(self.fires)) < 2:
            return None
        return _polynomial(LogisticRegression(C=10.0, max_iter=10_000)).fit(self.all_scales, self.fires)


class Baseline(ABC):
    """A prediction from scale vectors."""

    @abstractmethod
    def voltage_mV(self, scales: Scales) -> Predicted:
        """Return the window of each cell (cells, samples), in mV."""

    @abstractmethod
    def fires_probability(self, scales: Scales) -> PerCell:
        """Return the probability that each cell fires (cells,)."""


class NearestCell(Baseline):
    """The windows and the firing of the nearest training cell, by distance in scales."""

    def __init__(self, training: TrainingCells) -> None:
        self.training = training
        self.windowed, self.all = KDTree(training.scales), KDTree(training.all_scales)

    def voltage_mV(self, scales: Scales) -> Predicted:
        """Return the mean window of the nearest cell that has windows."""
        return self.training.windows(np.asarray(self.windowed.query(scales)[1]))

    def fires_probability(self, scales: Scales) -> PerCell:
        """Return 1 if the nearest cell fires, otherwise 0."""
        return self.training.fires[self.all.query(scales)[1]].astype(np.float64)


class LinearInterpolation(Baseline):
    """Linear interpolation between training cells, in the simplex of their Delaunay triangulation that contains a cell.

    With one conductance, the simplex is an interval. The nearest cell replaces the interpolation outside the convex
    hull, for more than 5 conductances, and for training cells that are too few or in one plane. Of more than 20 000
    training cells, 20 000 are used, evenly spaced in their order.
    """

    def __init__(self, training: TrainingCells) -> None:
        self.training, self.nearest = training, NearestCell(training)
        self.windowed, self.all = _triangulate(training.scales), _triangulate(training.all_scales)

    def voltage_mV(self, scales: Scales) -> Predicted:
        """Return the interpolated mean windows."""
        return _interpolate(self.nearest.voltage_mV(scales), self.windowed(scales), self.training.windows)

    def fires_probability(self, scales: Scales) -> PerCell:
        """Return the interpolated fraction that fires."""
        flags = self.training.fires.astype(np.float64)
        fraction = _interpolate(self.nearest.fires_probability(scales), self.all(scales), lambda cells: flags[cells])
        return np.clip(fraction, 0, 1)  # the sum of the weights is 1 except for rounding


def _interpolate(nearest: np.ndarray, corners: Corners, values: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Replace the values of the nearest cell where a cell has corners."""
    for cell, corner_cells, weights in corners:
        nearest[cell] = weights @ values(corner_cells)
    return nearest


def _triangulate(training_scales: np.ndarray) -> Callable[[Scales], Corners]:
    """Triangulate cells; without a triangulation (too many inputs, no volume), no cell has corners."""
    cells = evenly_spaced(len(training_scales), MAX_CELLS)
    used, inputs = training_scales[cells], training_scales.shape[1]
    if inputs > MAX_INPUTS or len(used) < inputs + 2 or np.linalg.matrix_rank(used - used[0]) < inputs:
        return lambda scales: iter(())
    if inputs == 1:  # SciPy's Delaunay needs two
        along, first = np.unique(used[:, 0], return_index=True)
        return partial(_in_intervals, along, cells[first])
    return partial(_in_simplices, Delaunay(used), cells)


def _in_intervals(along: np.ndarray, cells: np.ndarray, scales: Scales) -> Corners:
    for cell, scale in enumerate(scales[:, 0]):
        if along[0] <= scale <= along[-1]:
            above = max(int(np.searchsorted(along, scale)), 1)
            weight = (scale - along[above - 1]) / (along[above] - along[above - 1])
            yield cell, cells[[above - 1, above]], np.array([1 - weight, weight])


def _in_simplices(triangulation: Delaunay, cells: np.ndarray, scales: Scales) -> Corners:
    simplex = triangulation.find_simplex(scales)
    for cell in np.flatnonzero(simplex >= 0).tolist():
        to_barycentric = triangulation.transform[simplex[cell]]
        first = to_barycentric[:-1] @ (scales[cell] - to_barycentric[-1])
        weights = np.append(first, 1 - first.sum())
        if np.isfinite(weights).all():  # a simplex may be flat
            yield cell, cells[triangulation.simplices[simplex[cell]]], weights


class PCARidge(Baseline):
    """Principal components of the windows, each a polynomial of degree 3 of the scales (ridge regression).

    The penalty is chosen by leave-one-out (scikit-learn's `RidgeCV`). A logistic regression on the same polynomial
    predicts whether a cell fires.
    """

    def __init__(self, training: TrainingCells) -> None:
        self.training = training
        self.pca, scores = training.principal_components
        self.regression = self._fit(training.scales, scores)

    def voltage_mV(self, scales: Scales) -> Predicted:
        """Return the windows that the predicted scores make."""
        scores = np.asarray(self.regression.predict(scales)).reshape(len(scales), -1)
        return np.asarray(self.pca.inverse_transform(scores))

    def fires_probability(self, scales: Scales) -> PerCell:
        """Return the probability of the logistic regression."""
        if self.training.logistic is None:
            return np.full(len(scales), float(self.training.fires.all()))
        return np.asarray(self.training.logistic.predict_proba(scales)[:, 1])

    def _fit(self, scales: Scales, scores: np.ndarray) -> Any:
        return _polynomial(RidgeCV(ALPHAS)).fit(scales, scores)


class GaussianProcess(PCARidge):
    """Principal components of the windows, each a Gaussian process of the scales; cells fire as in `PCARidge`.

    Matern kernel of smoothness 5/2 with a length scale for each input, and white noise. All components share a kernel,
    which is fitted to the first component.
    """

    def _fit(self, scales: Scales, scores: np.ndarray) -> GaussianProcessRegressor:
        few, many = (evenly_spaced(len(scales), most) for most in (MAX_KERNEL_CELLS, MAX_GP_CELLS))
        kernel = Matern(np.ones(scales.shape[1]), (0.05, 50.0), nu=2.5) + WhiteKernel(0.1, (1e-6, 1.0))
        with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):  # the noise is at its lower bound
            fitted = GaussianProcessRegressor(kernel, normalize_y=True).fit(scales[few], scores[few, :1])
        process = GaussianProcessRegressor(fitted.kernel_, optimizer=None, normalize_y=True)
        return process.fit(scales[many], scores[many])


def _polynomial(regression: Any) -> Pipeline:
    return make_pipeline(PolynomialFeatures(DEGREE, include_bias=False), StandardScaler(), regression)


BASELINES: Mapping[str, Callable[[TrainingCells], Baseline]] = {
    "nearest_cell": NearestCell,
    "linear_interpolation": LinearInterpolation,
    "pca_ridge": PCARidge,
    "gaussian_process": GaussianProcess,
}
