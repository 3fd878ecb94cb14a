"""What an emulator must beat: four simple ways to predict a cell from those that the emulator was trained on.

Each is made from `TrainingCells` and predicts from scale vectors: `voltage_mV(scales)` and the probability
`fires(scales)`.
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

MOST_CELLS, MOST_INPUTS = 20_000, 5  # of a triangulation: so large it takes 2 GB, with more inputs many times that
COMPONENTS = 48
DEGREE = 3
ALPHAS = np.logspace(-6, 3, 10)
MAX_GP_CELLS = 2048  # half a second; the time grows with the third power, the memory with the second
MAX_KERNEL_CELLS = 512  # one or two seconds for the fit of the kernel
AT_ONCE = 256  # cells

Corners = Iterator[tuple[int, np.ndarray, np.ndarray]]  # a cell, the known ones around it, and the weight of each


@dataclass(frozen=True)
class TrainingCells:
    """The simulated cells that a baseline knows.

    Attributes:
        scales: of the cells that have windows (cells, scaled).
        windows: from indices of such cells to the mean of each one's windows (cells, samples), in mV.
        all_scales: of these and of the cells that do not fire (all, scaled).
        fires: whether each of all fires (all,).
    """

    scales: Scales
    windows: Callable[[np.ndarray], Predicted]
    all_scales: np.ndarray
    fires: Bool[np.ndarray, " all"]

    @cached_property
    def principal_components(self) -> tuple[IncrementalPCA, np.ndarray]:
        """Principal components of the windows, 48 or as many as there are cells, and the scores (cells, components)."""
        batches = np.array_split(np.arange(len(self.scales)), max(1, len(self.scales) // AT_ONCE))
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
    """What answers scale vectors."""

    @abstractmethod
    def voltage_mV(self, scales: Scales) -> Predicted:
        """Returns the window of each cell (cells, samples), in mV."""

    @abstractmethod
    def fires(self, scales: Scales) -> PerCell:
        """Returns the probability that each cell fires (cells,)."""


class NearestCell(Baseline):
    """Says of a cell what the nearest known one does, by the distance of the scales."""

    def __init__(self, known: TrainingCells) -> None:
        self.known = known
        self.windowed, self.all = KDTree(known.scales), KDTree(known.all_scales)

    def voltage_mV(self, scales: Scales) -> Predicted:
        """Returns the mean window of the nearest cell that has windows."""
        return self.known.windows(np.asarray(self.windowed.query(scales)[1]))

    def fires(self, scales: Scales) -> PerCell:
        """Returns 1 where the nearest cell fires, else 0."""
        return self.known.fires[self.all.query(scales)[1]].astype(np.float64)


class LinearInterpolation(Baseline):
    """Interpolates between the corners of the simplex of known cells that holds a cell (Delaunay triangulation).

    Of one conductance that is the interval between two cells. Outside their hull the nearest cell answers, as it does
    for all where there are too few cells, or all in one plane. Of more than 20 000 known cells 20 000 are used, evenly
    chosen from their order.
    """

    def __init__(self, known: TrainingCells) -> None:
        self.known, self.nearest = known, NearestCell(known)

    def voltage_mV(self, scales: Scales) -> Predicted:
        """Returns the interpolated mean windows."""
        return self._interpolated(self._windowed, scales, self.known.windows, self.nearest.voltage_mV(scales))

    def fires(self, scales: Scales) -> PerCell:
        """Returns the interpolated fraction that fires."""
        flags = self.known.fires.astype(np.float64)
        found = self._interpolated(self._all, scales, lambda rows: flags[rows], self.nearest.fires(scales))
        return np.clip(found, 0, 1)  # weights add up to 1 but for rounding

    @cached_property
    def _windowed(self) -> Callable[[Scales], Corners]:
        return _triangulate(self.known.scales)

    @cached_property
    def _all(self) -> Callable[[Scales], Corners]:
        return _triangulate(self.known.all_scales)

    @staticmethod
    def _interpolated(
        corners: Callable[[Scales], Corners],
        scales: Scales,
        values: Callable[[np.ndarray], np.ndarray],
        nearest: np.ndarray,
    ) -> np.ndarray:
        result = nearest.copy()
        for cell, rows, weights in corners(scales):
            result[cell] = weights @ values(rows)
        return result


def _triangulate(known: np.ndarray) -> Callable[[Scales], Corners]:
    """Triangulates cells, or so many as there is room for; of too many inputs, or no volume, none has corners."""
    rows = _evenly_spaced(len(known), MOST_CELLS)
    used, inputs = known[rows], known.shape[1]
    if inputs > MOST_INPUTS or len(used) < inputs + 2 or np.linalg.matrix_rank(used - used[0]) < inputs:
        return lambda scales: iter(())
    if inputs == 1:  # for which Delaunay is not made
        along, first = np.unique(used[:, 0], return_index=True)
        return partial(_in_intervals, along, rows[first])
    return partial(_in_simplices, Delaunay(used), rows)


def _in_intervals(along: np.ndarray, rows: np.ndarray, scales: Scales) -> Corners:
    for cell, scale in enumerate(scales[:, 0]):
        if along[0] <= scale <= along[-1]:
            above = max(int(np.searchsorted(along, scale)), 1)
            part = (scale - along[above - 1]) / (along[above] - along[above - 1])
            yield cell, rows[[above - 1, above]], np.array([1 - part, part])


def _in_simplices(simplices: Delaunay, rows: np.ndarray, scales: Scales) -> Corners:
    place = simplices.find_simplex(scales)
    for cell in np.flatnonzero(place >= 0).tolist():
        to_barycentric = simplices.transform[place[cell]]
        first = to_barycentric[:-1] @ (scales[cell] - to_barycentric[-1])
        weights = np.append(first, 1 - first.sum())
        if np.isfinite(weights).all():  # a simplex may be flat
            yield cell, rows[simplices.simplices[place[cell]]], weights


class PCARidge(Baseline):
    """Principal components of the windows, each a polynomial of degree 3 of the scales (ridge regression).

    The penalty is chosen by leave-one-out (scikit-learn's `RidgeCV`). A logistic regression on the same polynomial
    predicts whether a cell fires.
    """

    def __init__(self, known: TrainingCells) -> None:
        self.known = known
        self.pca, scores = known.principal_components
        self.regression = self._fit(known.scales, scores)

    def voltage_mV(self, scales: Scales) -> Predicted:
        """Return the windows that the predicted scores make."""
        scores = np.asarray(self.regression.predict(scales)).reshape(len(scales), -1)
        return np.asarray(self.pca.inverse_transform(scores))

    def fires(self, scales: Scales) -> PerCell:
        """Return the probability of the logistic regression."""
        if self.known.logistic is None:
            return np.full(len(scales), float(self.known.fires.all()))
        return np.asarray(self.known.logistic.predict_proba(scales)[:, 1])

    def _fit(self, scales: Scales, scores: np.ndarray) -> Any:
        return _polynomial(RidgeCV(ALPHAS)).fit(scales, scores)


class GaussianProcess(PCARidge):
    """Principal components of the windows, each a Gaussian process of the scales; cells fire as in `PCARidge`.

    Matern kernel of smoothness 5/2 with a length scale for each input, and white noise. All components share a kernel,
    which is fitted to the first component.
    """

    def _fit(self, scales: Scales, scores: np.ndarray) -> GaussianProcessRegressor:
        few, many = (_evenly_spaced(len(scales), most) for most in (MAX_KERNEL_CELLS, MAX_GP_CELLS))
        kernel = Matern(np.ones(scales.shape[1]), (0.05, 50.0), nu=2.5) + WhiteKernel(0.1, (1e-6, 1.0))
        with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):  # the noise is at its lower bound
            fitted = GaussianProcessRegressor(kernel, normalize_y=True).fit(scales[few], scores[few, :1])
        process = GaussianProcessRegressor(fitted.kernel_, optimizer=None, normalize_y=True)
        return process.fit(scales[many], scores[many])


def _polynomial(regression: Any) -> Pipeline:
    return make_pipeline(PolynomialFeatures(DEGREE, include_bias=False), StandardScaler(), regression)


def _evenly_spaced(cells: int, most: int) -> np.ndarray:
    return np.linspace(0, cells - 1, min(cells, most)).astype(int)


BASELINES: Mapping[str, Callable[[TrainingCells], Baseline]] = {
    "nearest_cell": NearestCell,
    "linear_interpolation": LinearInterpolation,
    "pca_ridge": PCARidge,
    "gaussian_process": GaussianProcess,
}
