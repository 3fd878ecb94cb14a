"""The baselines: by hand, against SciPy's own interpolation, and on windows in closed form."""

import numpy as np
import pytest
from scipy.interpolate import LinearNDInterpolator

from cardioemu.comparison.baselines import (
    BASELINES,
    GaussianProcess,
    LinearInterpolation,
    NearestCell,
    PCARidge,
    TrainingCells,
)

RNG = np.random.default_rng(0)
SCALES = RNG.uniform(0, 2, (200, 3))
TIME = np.linspace(0, 1, 30)


def training_cells(scales, windows, all_scales=None, fires=None):
    return TrainingCells(
        scales,
        lambda cells: windows[cells],
        scales if all_scales is None else all_scales,
        np.ones(len(scales), bool) if fires is None else fires,
    )


def cubic(scales):
    """Windows whose every sample is a polynomial of degree 3 of the scales."""
    x, y, z = scales.T[:, :, None]
    return 10 * x * TIME + 5 * (y - 1) ** 2 * z * TIME**2 - 80 + x**3


def test_the_nearest_cell_by_hand():
    scales = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    windows = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    all_scales, fires = np.array([[0.0, 0.0], [2.0, 2.0]]), np.array([True, False])
    nearest = NearestCell(training_cells(scales, windows, all_scales, fires))
    asked = np.array([[0.9, 0.3], [0.1, 1.4]])
    assert nearest.voltage_mV(asked).tolist() == [[3, 4], [5, 6]]
    assert nearest.fires_probability(np.array([[0.9, 0.3], [1.1, 1.4]])).tolist() == [1, 0]


def test_linear_interpolation_by_hand():
    scales = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [-5.0, -5.0]])
    windows = np.array([[0.0, 10.0], [4.0, 10.0], [8.0, 20.0], [0.0, 0.0]])
    linear = LinearInterpolation(training_cells(scales, windows, fires=np.array([True, True, False, False])))
    # A quarter of the way along one axis, half along the other; and beyond the hull, where the nearest answers.
    asked = np.array([[0.25, 0.5], [3.0, 0.0]])
    assert linear.voltage_mV(asked).tolist() == [[0.25 * 4 + 0.5 * 8, 15], [4, 10]]
    assert linear.fires_probability(asked).tolist() == [0.5, 1]


def test_linear_interpolation_is_scipys():
    windows = cubic(SCALES)
    asked = RNG.uniform(0.2, 1.8, (100, 3))
    expected = LinearNDInterpolator(SCALES, windows)(asked)
    inside = np.isfinite(expected).all(axis=1)
    assert inside.sum() > 80
    linear, nearest = (make(training_cells(SCALES, windows)) for make in (LinearInterpolation, NearestCell))
    found = linear.voltage_mV(asked)
    np.testing.assert_allclose(found[inside], expected[inside], rtol=1e-9)
    np.testing.assert_array_equal(found[~inside], nearest.voltage_mV(asked[~inside]))


def test_of_one_conductance_it_is_numpys():
    scales = RNG.permutation([*range(20, 181, 5), 20, 180, 90]) / 100  # some of them twice
    windows, fires = np.sin(np.outer(scales, [5, 10, 15])), scales > 1
    linear = LinearInterpolation(training_cells(scales[:, None], windows, fires=fires))
    asked = np.concatenate([RNG.uniform(0.0, 2.0, 50), scales])  # np.interp, too, takes the nearest outside
    order = np.argsort(scales)
    expected = [np.interp(asked, scales[order], column[order]) for column in windows.T]
    np.testing.assert_allclose(linear.voltage_mV(asked[:, None]), np.transpose(expected), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(
        linear.fires_probability(asked[:, None]), np.interp(asked, scales[order], fires[order]), atol=1e-12
    )


def test_an_interpolated_probability_is_one():
    scales = np.unique(np.random.default_rng(0).integers(0, 11, (200, 5)) / 5, axis=0)
    asked = np.concatenate([scales, (scales[1:] + scales[:-1]) / 2])
    fires = scales[:, 4] > 0.5
    linear = LinearInterpolation(training_cells(scales, fires[:, None].astype(float), fires=fires))
    interpolated = linear.voltage_mV(asked)
    assert interpolated.max() > 1  # on a face of its simplex a cell has a weight of 0 but for rounding
    assert (linear.fires_probability(asked) == np.clip(interpolated[:, 0], 0, 1)).all()


def test_of_too_many_cells_some_all_over_are_used(monkeypatch):
    order = np.argsort(SCALES[:, 0])  # as in a factorial, where the first ones fill a slab
    scales = SCALES[order]
    monkeypatch.setattr("cardioemu.comparison.baselines.MAX_CELLS", 100)
    asked = RNG.uniform(0.3, 1.7, (50, 3))
    found = LinearInterpolation(training_cells(scales, cubic(scales))).voltage_mV(asked)
    used = scales[np.linspace(0, 199, 100).astype(int)]
    expected = LinearNDInterpolator(used, cubic(used))(asked)
    inside = np.isfinite(expected).all(axis=1)
    assert inside.sum() > 30
    np.testing.assert_allclose(found[inside], expected[inside], rtol=1e-9)


def test_cells_in_a_plane_or_too_few_are_answered_by_the_nearest():
    flat = np.column_stack([SCALES[:, :2], np.ones(200)])
    for scales in (flat, SCALES[:3]):
        simulated = training_cells(scales, cubic(scales))
        asked = SCALES[50:60]
        assert (LinearInterpolation(simulated).voltage_mV(asked) == NearestCell(simulated).voltage_mV(asked)).all()


@pytest.mark.parametrize(("make", "error_mV"), [(PCARidge, 0.01), (GaussianProcess, 0.5)])
def test_regression_finds_a_polynomial(make, error_mV):
    fires = SCALES.sum(axis=1) > 3
    regression = make(training_cells(SCALES, cubic(SCALES), fires=fires))
    asked = np.random.default_rng(1).uniform(0, 2, (100, 3))
    np.testing.assert_allclose(regression.voltage_mV(asked), cubic(asked), atol=error_mV)
    clear, probability = np.abs(asked.sum(axis=1) - 3) > 0.3, regression.fires_probability(asked)
    assert ((probability > 0.5) == (asked.sum(axis=1) > 3))[clear].all()
    assert ((probability >= 0) & (probability <= 1)).all()


@pytest.mark.parametrize("make", [PCARidge, GaussianProcess])
@pytest.mark.parametrize("fires", [True, False])
def test_regression_where_all_do_the_same(make, fires):
    regression = make(training_cells(SCALES, cubic(SCALES), fires=np.full(200, fires)))
    assert regression.fires_probability(SCALES[:5]).tolist() == [float(fires)] * 5


def test_a_gaussian_process_of_too_many_cells_uses_some(monkeypatch):
    scales = SCALES[np.argsort(SCALES[:, 0])]
    rows = np.linspace(0, 199, 100).astype(int)
    used = scales[rows]
    for name in ("MAX_GP_CELLS", "MAX_KERNEL_CELLS"):
        monkeypatch.setattr(f"cardioemu.comparison.baselines.{name}", 100)
    regression = GaussianProcess(training_cells(scales, cubic(scales))).regression
    assert regression.X_train_.tolist() == used.tolist()
    scores = training_cells(scales, cubic(scales)).principal_components[1]
    expected = GaussianProcess(training_cells(used, cubic(used)))._fit(used, scores[rows])
    np.testing.assert_array_equal(regression.predict(SCALES), expected.predict(SCALES))


@pytest.mark.parametrize("name", ["nearest_cell", "linear_interpolation", "gaussian_process"])
def test_a_single_cell_is_answered_with(name):
    baseline = BASELINES[name](training_cells(SCALES[:1], cubic(SCALES[:1])))
    np.testing.assert_allclose(baseline.voltage_mV(SCALES[5:8]), np.repeat(cubic(SCALES[:1]), 3, axis=0), atol=1e-9)


def test_many_inputs_are_not_triangulated():
    scales = RNG.uniform(0, 2, (50, 6))
    windows = RNG.normal(size=(50, 4))
    asked = RNG.uniform(0.5, 1.5, (5, 6))
    interpolation, nearest = (make(training_cells(scales, windows)) for make in (LinearInterpolation, NearestCell))
    np.testing.assert_array_equal(interpolation.voltage_mV(asked), nearest.voltage_mV(asked))
