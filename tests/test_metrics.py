"""Errors of predicted windows and of predicted firing over cells, against hand counts."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cardioemu.evaluation import cell_errors, rmse_floor_mV, rmse_mV, summarise_errors
from cardioemu.evaluation.metrics.cell_errors import nearest_distance
from cardioemu.evaluation.metrics.firing import firing_metrics, reliability_table
from cardioemu.evaluation.metrics.summary import bootstrap_intervals
from cardioemu.training.module import cell_rmse_mV


def evaluate(time_ms, windows, predicted):
    """The summary over cells; it does not depend on the batches."""
    one_by_one = [(windows[i : i + 1], predicted[i : i + 1]) for i in range(len(windows))]
    result = summarise_errors(cell_errors(time_ms, [(windows, predicted)]))
    assert summarise_errors(cell_errors(time_ms, one_by_one)) == result
    return result


volts = st.floats(-100, 100, width=32)


def float32(values):
    return np.array(values, dtype=np.float32)


def test_rmse_by_hand():
    windows = float32([[[0, 0], [2, 0]], [[1, 1], [1, 1]]])
    predicted = float32([[1, 2], [1, 1]])
    # Cell 0: errors 1, 2, -1, 2: mean of squares 10 / 4.
    assert rmse_mV(windows, predicted) == pytest.approx([np.sqrt(2.5), 0])
    # About its mean (1, 0): errors 1, 0, -1, 0.
    assert rmse_floor_mV(windows) == pytest.approx([np.sqrt(0.5), 0])


@given(arrays(np.float32, (3, 2, 4), elements=volts), arrays(np.float32, (3, 4), elements=volts))
def test_training_and_evaluation_measure_the_same_rmse(windows, predicted):
    in_torch = cell_rmse_mV(torch.nn.Identity(), torch.from_numpy(predicted), torch.from_numpy(windows))
    np.testing.assert_allclose(in_torch, rmse_mV(windows, predicted), rtol=1e-5, atol=1e-6)


@given(arrays(np.float32, (3, 2, 4), elements=volts), arrays(np.float32, (3, 4), elements=volts))
def test_no_prediction_is_below_the_floor(windows, predicted):
    assert (rmse_floor_mV(windows) <= rmse_mV(windows, predicted) + 1e-5).all()
    # Pythagoras: error^2 = floor^2 + distance to the mean^2.
    distance = ((predicted - windows.mean(axis=1, dtype=np.float64)) ** 2).mean(axis=1)
    expected = rmse_floor_mV(windows) ** 2 + distance
    np.testing.assert_allclose(rmse_mV(windows, predicted) ** 2, expected, rtol=1e-6, atol=1e-6)


def test_summary_over_cells_by_hand():
    time_ms = np.arange(4.0)
    windows = np.zeros((5, 2, 4), np.float32)
    predicted = np.repeat(float32([[1], [2], [3], [4], [10]]), 4, axis=1)
    result = evaluate(time_ms, windows, predicted)
    assert result == {
        "cells": 5,
        "rmse_mV_mean": 4,
        "rmse_mV_median": 3,
        "rmse_mV_p95": pytest.approx(4 + 0.8 * 6),  # linear between the order statistics
        "rmse_mV_max": 10,
        "rmse_mV_pooled": pytest.approx(np.sqrt((1 + 4 + 9 + 16 + 100) / 5)),
        "rmse_floor_mV": 0,
        "mae_mV": 4,
        "error_max_mV": 10,
        "rest_rmse_mV": pytest.approx(np.sqrt(26)),
        "rest_share_percent": pytest.approx(100),
    }  # V does not vary: no R2


def test_errors_one_by_one_by_hand():
    windows = float32([[[0, 4, 2, 2], [2, 2, 0, 4]], [[1, 3, 1, 3], [1, 3, 1, 3]]])
    predicted = float32([[1, 3, 2, 2], [1, 3, 1, 3]])
    errors = cell_errors(np.arange(4.0), [(windows, predicted)])
    # Cell 0: errors 1, 1, 0, 0 and 1, 1, 2, 2; V about its mean of 2: -2, 2, 0, 0 and 0, 0, -2, 2.
    assert errors["mae_mV"].tolist() == [1, 0]
    assert errors["error_max_mV"].tolist() == [2, 0]
    assert errors["r2"].tolist() == [1 - 12 / 16, 1]
    found = evaluate(np.arange(4.0), windows, predicted)
    assert (found["mae_mV"], found["error_max_mV"], found["r2"]) == (0.5, 2, (1 - 12 / 16 + 1) / 2)
    assert found["rmse_mV_pooled"] == pytest.approx(np.sqrt(12 / 16))
    # Both cells have the mean 2; the second varies by 1 at each of its eight samples.
    assert found["r2_pooled"] == pytest.approx(1 - 12 / (16 + 8))
    errors = cell_errors(np.arange(4.0), [(windows + float32([[[0]], [[3]]]), predicted + float32([[0], [3]]))])
    # The second 3 mV higher: all are 1.5 further from the common mean.
    assert summarise_errors(errors)["r2_pooled"] == pytest.approx(1 - 12 / (16 + 8 + 16 * 1.5**2))


def errors_of(rmse_mV, **columns):
    """A table of errors of flat windows, with some columns set."""
    windows = np.zeros((len(rmse_mV), 1, 4), np.float32)
    return cell_errors(np.arange(4.0), [(windows, windows[:, 0])]).assign(rmse_mV=rmse_mV, **columns)


def test_phases_over_cells_by_hand():
    rest = {"rest_part": [0.5, 0.75], "rest_rmse_mV": [0.0, 2.0]}
    plateau = {"plateau_part": [0.5, 0.25], "plateau_rmse_mV": [np.sqrt(8), np.sqrt(52)]}
    found = summarise_errors(errors_of([2.0, 4.0], **rest, **plateau))
    # Squares: cell 0 has 0 and 4, cell 1 has 3 and 13.
    assert found["rest_rmse_mV"] == pytest.approx(np.sqrt(3 / 1.25))
    assert found["plateau_rmse_mV"] == pytest.approx(np.sqrt(17 / 0.75))
    assert found["rest_share_percent"] == pytest.approx(15)
    assert found["plateau_share_percent"] == pytest.approx(85)


def test_biomarkers_over_cells_by_hand():
    errors = errors_of(
        [1.0, 1.0, 1.0],
        mdp_mV=[-80.0, -50.0, -60.0],
        mdp_predicted_mV=[-84.0, -51.0, np.nan],
        apd50_ms=[100.0, 50.0, 40.0],
        apd50_predicted_ms=[110.0, 49.0, 40.0],
        apd75_ms=[100.0, 100.0, 100.0],
        apd75_predicted_ms=[100.0, 104.0, np.nan],
        apd90_ms=[200.0, 200.0, 200.0],
        apd90_predicted_ms=[190.0, 200.0, 100.0],
        timing_error_ms=[1.0, 3.0, np.nan],
        shape_rmse_mV=[2.0, 6.0, np.nan],
    )
    found = summarise_errors(errors)
    assert (found["mdp_mape_percent"], found["mdp_mae_mV"], found["mdp_median_error_mV"]) == (3.5, 2.5, 2.5)
    assert found["apd50_mape_percent"] == pytest.approx((10 + 2 + 0) / 3)
    assert (found["apd50_mae_ms"], found["apd50_median_error_ms"]) == (pytest.approx(11 / 3), 1)
    # Of the two cells that have all three: 10, 0, 5 and 2, 4, 0.
    assert found["apd_mape_percent"] == pytest.approx(21 / 6)
    assert found["apd90_cells"] == 3
    assert "cl_cells" not in found
    assert (found["timing_error_ms"], found["shape_rmse_mV"], found["timing_cells"]) == (2, 4, 2)


def test_intervals_by_hand():
    # Of two cells the mean of a resample is 0, 1 or 2 with probabilities 1/4, 1/2, 1/4: beyond 2.5 % on either side.
    found = bootstrap_intervals(errors_of([0.0, 2.0]))
    assert (found["rmse_mV_mean_low"], found["rmse_mV_mean_high"]) == (0, 2)
    assert (found["rmse_mV_median_low"], found["rmse_mV_median_high"]) == (0, 2)
    same = bootstrap_intervals(errors_of([3.0] * 5))
    assert set(same.values()) == {3}
    assert bootstrap_intervals(errors_of([3.0])) == {}


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution():
    rmse_mV = np.random.default_rng(0).normal(10, 2, 400)
    found = bootstrap_intervals(errors_of(rmse_mV))
    half = 1.96 * rmse_mV.std() / 20
    assert found["rmse_mV_mean_low"] == pytest.approx(rmse_mV.mean() - half, abs=0.03)
    assert found["rmse_mV_mean_high"] == pytest.approx(rmse_mV.mean() + half, abs=0.03)
    assert found == bootstrap_intervals(errors_of(rmse_mV))


# Predicted firing

SCALES = np.array([[0.0], [1.0], [2.0], [3.0], [4.0], [6.0]])
FIRES = np.array([False, False, False, True, True, True])


def test_counts_of_firing_by_hand():
    found = firing_metrics(SCALES, FIRES, np.array([0.1, 0.7, 0.2, 0.9, 0.4, 0.5]))
    # Predicted to fire: 1, 3 and 6. Wrong: 1, which is silent, and 4, which fires.
    assert found["fires_accuracy"] == pytest.approx(4 / 6)
    assert found["fires_sensitivity"] == pytest.approx(2 / 3)
    assert found["fires_specificity"] == pytest.approx(2 / 3)
    counts = {"silent_right": 2, "silent_wrong": 1, "fires_wrong": 1, "fires_right": 2}
    assert counts == {name: found[f"confusion_{name}"] for name in counts}
    # 1 is 2 away from the first that fires, 4 as far from the last that does not.
    assert found["fires_boundary_error"] == 2
    squares = [0.1**2, 0.7**2, 0.2**2, 0.1**2, 0.6**2, 0.5**2]
    assert found["fires_brier"] == pytest.approx(np.mean(squares))


def test_all_firing_is_right():
    found = firing_metrics(SCALES, FIRES, FIRES.astype(float))
    assert (found["fires_accuracy"], found["fires_boundary_error"], found["fires_brier"]) == (1, 0, 0)
    assert found["fires_calibration_error"] == 0


def test_cells_of_one_kind_only():
    found = firing_metrics(SCALES, np.ones(6, bool), np.array([1.0, 1, 1, 0, 1, 1]))
    assert found["fires_sensitivity"] == pytest.approx(5 / 6)
    assert "fires_specificity" not in found
    assert "fires_boundary_error" not in found  # no cell does what was predicted of the wrong one


def test_calibration_of_firing_by_hand():
    fires = np.array([False, True, True, True])
    table = reliability_table(fires, np.array([0.12, 0.18, 0.95, 1.0]))
    assert table["predicted"].tolist() == [pytest.approx(0.15), pytest.approx(0.975)]
    assert table["observed"].tolist() == [0.5, 1.0]
    assert table["cells"].tolist() == [2, 2]
    found = firing_metrics(np.arange(4.0)[:, None], fires, np.array([0.12, 0.18, 0.95, 1.0]))
    assert found["fires_calibration_error"] == pytest.approx((0.35 + 0.025) / 2)


def test_distance_by_hand():
    trained = np.array([[0.0, 0.0], [1.0, 1.0]])
    found = nearest_distance(np.array([[0.0, 0.3], [1.3, 1.4], [1.0, 1.0]]), trained)
    assert found == pytest.approx([0.3, 0.5, 0])
