"""The figures and tables of a report, against the numbers themselves."""

import numpy as np
import pandas as pd
import pytest

from cardioemu.evaluation import BIOMARKER_UNITS, firing_metrics
from cardioemu.evaluation.report import error_plots as plots
from cardioemu.evaluation.report.html import biomarker_table, error_table, firing_table, phase_table, worst_table

RNG = np.random.default_rng(0)


def drawn(axis, line=0):
    return np.array(axis.lines[line].get_data())


def names(axis):
    return [text.get_text() for text in axis.get_legend().get_texts()]


def test_the_distribution_is_cumulative():
    (axis,) = plots.error_distribution({"a": np.array([4.0, 1.0, 2.0, 3.0]), "b": np.array([5.0] * 4)}).axes
    assert drawn(axis).tolist() == [[1, 2, 3, 4], [0.25, 0.5, 0.75, 1]]
    assert names(axis) == ["a", "b"]
    assert axis.get_xscale() == "log"


def test_the_error_along_the_window_has_the_times_of_each_emulator():
    lines = {"a": (np.arange(3.0), np.ones(3)), "nearest_cell": (np.arange(5.0) - 2, np.arange(5.0))}
    (axis,) = plots.error_along_window(lines, {"nearest_cell"}).axes
    for i, line in enumerate(lines.values()):
        assert (drawn(axis, i) == line).all()
    assert [line.get_linestyle() for line in axis.lines] == ["-", "--"]  # baselines are dashed


def test_the_error_by_distance_is_the_median_of_equal_bins():
    distance = RNG.permutation(np.arange(80.0))
    (axis,) = plots.error_by_distance(distance, {"a": 10 + distance, "b": 100 - distance}).axes
    middles = np.arange(4.5, 80, 10)
    assert drawn(axis, 0).tolist() == [distance.tolist(), (10 + distance).tolist()]
    assert drawn(axis, 1).tolist() == [middles.tolist(), (10 + middles).tolist()]
    assert drawn(axis, 2).tolist() == [middles.tolist(), (100 - middles).tolist()]


def test_every_pair_of_conductances_is_plotted_once():
    scales, error = RNG.uniform(0, 2, (30, 3)), RNG.uniform(1, 9, 30)
    figure = plots.error_over_scales(scales, ["ICaL", "IK1", "IKr"], error)
    panels = [axis for axis in figure.axes if axis.get_visible() and axis.get_label() != "<colorbar>"]
    assert len(panels) == 6
    order = np.argsort(error)  # the largest on top
    lower = panels[1]
    (points,) = lower.collections
    assert (points.get_offsets() == scales[order][:, [0, 1]]).all()
    assert (points.get_array() == error[order]).all()
    assert (drawn(panels[0]) == [scales[:, 0], error]).all()
    assert [axis.get_xlabel() for axis in panels[3:]] == ["ICaL", "IK1", "IKr"]


def test_one_conductance_and_equal_errors():
    figure = plots.error_over_scales(np.ones((3, 1)), ["IKr"], np.full(3, 2.0))
    assert drawn(figure.axes[0]).tolist() == [[1, 1, 1], [2, 2, 2]]
    figure.canvas.draw()
    plots.error_over_scales(np.ones((3, 2)), ["IKr", "INa"], np.full(3, 2.0)).canvas.draw()


def biomarker_errors():
    columns = {}
    for name, unit in BIOMARKER_UNITS.items():
        columns |= {f"{name}_{unit}": [1.0, 2.0, np.nan], f"{name}_predicted_{unit}": [1.5, 2.5, 3.0]}
    return pd.DataFrame(columns)


def test_biomarkers_of_cells_that_have_both_are_plotted():
    figure = plots.biomarker_scatter(biomarker_errors())
    assert len(figure.axes) == len(BIOMARKER_UNITS)
    for axis, name in zip(figure.axes, BIOMARKER_UNITS, strict=True):
        assert drawn(axis).tolist() == [[1, 2], [1.5, 2.5]]
        assert axis.get_title().startswith(f"{name.replace('_', ' ')} (")
        assert axis.get_title().endswith(" 2 cells")


def test_the_confusion_is_plotted_simulated_by_predicted():
    fires = np.array([True] * 7 + [False] * 5)
    probability = np.array([1.0] * 4 + [0.0] * 3 + [1.0] * 2 + [0.0] * 3)
    (axis,) = plots.confusion({"a": firing_metrics(np.arange(12.0)[:, None], fires, probability)}).axes
    counts = {text.get_position(): text.get_text() for text in axis.texts}
    # (column: predicted, row: simulated), "fires" first.
    assert counts == {(0, 0): "4", (1, 0): "3", (0, 1): "2", (1, 1): "3"}
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["fires", "silent"]


def test_observed_frequencies_are_plotted_over_predicted_ones():
    table = pd.DataFrame({"predicted": [0.1, 0.9], "observed": [0.2, 0.8], "cells": [5, 5]})
    (axis,) = plots.calibration_plot({"a": table}).axes
    assert drawn(axis, 1).tolist() == [[0.1, 0.9], [0.2, 0.8]]


def test_tables_mark_missing_metrics():
    metrics = {"rmse_mV_mean": 1.234, "rmse_mV_mean_low": 1.1, "rmse_mV_mean_high": 1.4}
    (row,) = error_table({"a": metrics | {"rmse_mV_median": 1.0, "r2": 0.98765}}).to_dict("records")
    assert row == {
        "": "a", "RMSE mean (mV)": "1.23 (1.10 to 1.40)", "RMSE median (mV)": "1.00", "RMSE p95 (mV)": "–", "max": "–",
        "MAE": "–", "R²": "0.988", "timing (ms)": "– of –", "shape (mV)": "–"
    }  # fmt: skip
    (row,) = phase_table({"a": {"rest_rmse_mV": 0.5, "rest_share_percent": 12.3}}).to_dict("records")
    assert (row["rest"], row["upstroke"]) == ("0.50 mV, 12 %", "– mV, – %")
    metrics = {"cl_mape_percent": 2.0, "cl_median_error_ms": 3.0, "cl_cells": 7.0}
    (row,) = biomarker_table({"a": metrics}).to_dict("records")
    assert (row["cl"], row["cells (APD90, CL)"]) == ("2.00 %, 3.00 ms", "–, 7")
    assert "V/s" in row["dvdt max"]
    rows = firing_table({"a": {"rmse_mV_mean": 1.0}, "b": {"fires_accuracy": 0.5}}).to_dict("records")
    assert [(row[""], row["accuracy"], row["Brier score"]) for row in rows] == [("b", "0.500", "–")]


@pytest.mark.parametrize("cells", [3, 25])
def test_the_worst_cells_come_first(cells):
    error = RNG.permutation(np.arange(cells) + 1.0)
    columns = ["IKr", "distance", "timing_error_ms", "shape_rmse_mV"]
    table = pd.DataFrame({"cell": np.arange(cells), "rmse_mV": error} | dict.fromkeys(columns, 0.5))
    worst = worst_table(table, ["IKr"])
    assert worst["cell"].tolist() == np.argsort(-error)[:10].tolist()
    assert worst["rmse_mV"].tolist() == [f"{value:.3g}" for value in np.sort(error)[::-1][:10]]
