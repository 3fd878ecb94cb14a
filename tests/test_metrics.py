"""Errors of predicted windows, against hand counts and against APs with known APD and cycle length; figures."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import brentq, minimize_scalar
from trace_shapes import LogisticAPs

from cardioemu.evaluation import cell_errors, cell_title, overlay, rmse_floor_mV, rmse_mV, summary, window_biomarkers


def evaluate(time_ms, windows, predicted):
    """The summary over cells; what comes first and what after makes no difference."""
    one_by_one = [(windows[i : i + 1], predicted[i : i + 1]) for i in range(len(windows))]
    result = summary(cell_errors(time_ms, [(windows, predicted)]))
    assert summary(cell_errors(time_ms, one_by_one)) == result
    return result


TIME_MS = np.arange(0, 1500.5, 0.5) - 50  # 0 at the AP start
BIOMARKERS = ("apd50", "apd75", "apd90", "cl")
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
def test_no_prediction_gets_below_the_floor(windows, predicted):
    assert (rmse_floor_mV(windows) <= rmse_mV(windows, predicted) + 1e-5).all()
    # Pythagoras: error^2 = floor^2 + distance to the mean^2.
    distance = ((predicted - windows.mean(axis=1, dtype=np.float64)) ** 2).mean(axis=1)
    np.testing.assert_allclose(
        rmse_mV(windows, predicted) ** 2, rmse_floor_mV(windows) ** 2 + distance, rtol=1e-6, atol=1e-6
    )


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


def ap(length=100.0, cycle=600.0, count=3):
    """A window whose first AP starts at time 0, and its shape."""
    shape = LogisticAPs(50 + cycle * np.arange(count), length)
    ahead = brentq(lambda t: float(shape.V(t)) + 40, 40, 60, xtol=1e-12) - 50
    return float32(shape.V(TIME_MS + 50 + ahead)), shape


def test_biomarkers_of_a_window_are_those_of_the_closed_form():
    window, shape = ap()
    found = window_biomarkers(TIME_MS, window)
    upstroke = minimize_scalar(lambda t: -shape.dVdt(t), bounds=(45, 55), method="bounded", options={"xatol": 1e-9}).x
    peak = minimize_scalar(lambda t: -shape.V(t), bounds=(55, 140), method="bounded", options={"xatol": 1e-9}).x
    top, bottom = float(shape.V(peak)), -80.0
    assert found["cl"] == pytest.approx(600, abs=1e-3)
    for percent in (50, 75, 90):
        level = top - percent / 100 * (top - bottom)
        fall = brentq(lambda t, level=level: float(shape.V(t)) - level, peak, 400)
        # 0.01 ms: the spline through samples 0.5 ms apart, at an upstroke of 1 ms.
        assert found[f"apd{percent}"] == pytest.approx(fall - upstroke, abs=0.01)


def test_percentages_of_known_errors():
    simulated = np.stack([[ap(100, 600)[0]] * 2, [ap(120, 700)[0]] * 2])
    predicted = np.stack([ap(110, 630)[0], ap(120, 686)[0]])
    before = [window_biomarkers(TIME_MS, cell[0]) for cell in simulated]
    result = evaluate(TIME_MS, simulated, predicted)
    assert result["cl_mape_percent"] == pytest.approx((30 / 600 + 14 / 700) / 2 * 100, abs=1e-3)
    # An AP of another length is the same AP but for its plateau: every APD is 10 ms longer.
    for name in BIOMARKERS[:3]:
        assert result[f"{name}_mape_percent"] == pytest.approx(10 / before[0][name] / 2 * 100, abs=0.02)
    three = [result[f"{name}_mape_percent"] for name in BIOMARKERS[:3]]
    assert result["apd_mape_percent"] == pytest.approx(np.mean(three))
    assert result["apd90_cells"] == result["cl_cells"] == 2


def test_percentages_are_of_the_mean_over_the_windows_of_a_cell():
    simulated = np.stack([[ap(cycle=580)[0], ap(cycle=620)[0]]])
    result = evaluate(TIME_MS, simulated, ap(cycle=630)[0][None])
    assert result["cl_mape_percent"] == pytest.approx(100 * 30 / 600, abs=1e-3)
    assert result["rmse_floor_mV"] > 1


def test_a_window_that_begins_at_its_ap_start_has_that_ap():
    window, _ = ap()
    begins = TIME_MS >= 0
    found, whole = window_biomarkers(TIME_MS[begins], window[begins]), window_biomarkers(TIME_MS, window)
    for name in BIOMARKERS:
        assert found[name] == pytest.approx(whole[name], abs=0.01)


def test_the_ap_of_a_window_is_the_one_at_time_0():
    window, _ = ap(cycle=300, count=4)
    later = TIME_MS - 300  # the window begins 350 ms before its AP start, with another AP in between
    assert window_biomarkers(later, window) == pytest.approx(window_biomarkers(TIME_MS, window), abs=0.01)


def test_stretched_time_stretches_every_biomarker():
    window = ap(cycle=500, count=4)[0]
    stretched = window_biomarkers(1.05 * TIME_MS, window)
    for name, value in window_biomarkers(TIME_MS, window).items():
        assert stretched[name] == pytest.approx(1.05 * value, rel=1e-6)


def test_a_window_without_an_ap_has_no_biomarkers():
    flat = np.full(TIME_MS.shape, -75, np.float32)
    assert all(np.isnan(value) for value in window_biomarkers(TIME_MS, flat).values())
    simulated = np.stack([[ap()[0]], [ap()[0]]])
    result = evaluate(TIME_MS, simulated, np.stack([ap()[0], flat]))
    assert result["apd90_mape_percent"] == pytest.approx(0, abs=1e-9)
    assert (result["apd90_cells"], result["cl_cells"], result["cells"]) == (1, 1, 2)
    assert result["rmse_mV_max"] > 20


def test_a_percentage_that_counts_no_cell_is_absent():
    single = ap(count=1)[0]
    assert np.isnan(window_biomarkers(TIME_MS, single)["cl"])
    result = evaluate(TIME_MS, single[None, None], ap()[0][None])
    assert result["apd90_cells"] == 1
    assert not [name for name in result if name.startswith("cl_")]


@pytest.mark.parametrize(("cells", "rows", "columns"), [(1, 1, 1), (3, 1, 3), (4, 2, 3), (6, 2, 3)])
def test_overlay_draws_every_cell(cells, rows, columns):
    simulated = np.repeat(np.random.default_rng(0).normal(size=(cells, 3, 50)).astype(np.float32), 1, axis=0)
    predicted = simulated.mean(axis=1)
    titles = [f"cell {i}" for i in range(cells)]
    figure = overlay(np.arange(50.0), simulated, predicted, titles)
    assert len(figure.axes) == rows * columns
    shown = [axis for axis in figure.axes if axis.get_visible()]
    assert [axis.get_title() for axis in shown] == titles
    for axis, windows, emulated in zip(shown, simulated, predicted, strict=True):
        *lines, last = (line.get_ydata() for line in axis.lines)
        np.testing.assert_array_equal(lines, windows)
        np.testing.assert_array_equal(last, emulated)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["simulated windows", "emulator"]


def test_overlay_thins_long_windows_out_but_keeps_their_ends():
    time_ms = np.arange(10000) * 0.05 - 50
    figure = overlay(time_ms, np.zeros((1, 1, 10000), np.float32), np.zeros((1, 10000), np.float32), ["one"])
    drawn = figure.axes[0].lines[0].get_xdata()
    assert len(drawn) <= 2000
    assert drawn[[0, -1]].tolist() == time_ms[[0, -1]].tolist()


def test_titles_name_what_differs_from_control():
    names = ("ICaL", "IK1", "IKr")
    assert cell_title(np.array([1.0, 0.2, 1.0]), names, 1.234) == "IK1 0.2: 1.23 mV"
    assert cell_title(np.ones(3), names, 0.5) == "control: 0.50 mV"
