"""Figures of traces, windows and sweeps, against the numbers themselves."""

import io

import numpy as np
import pandas as pd
import pytest
from trace_shapes import LogisticAPs, s_inverse, smooth_steps, trace_of

from cardioemu.evaluation.report.trace_plots import cell_name, cell_title, plot_overlay, plot_sweep, plot_traces

NAMES = ("ICaL", "IK1", "IKr")
REST = smooth_steps((0, -70), (1500, -70))
STATUS = "not finite: a state (stopped at 50 ms, state V)"
BROKEN = smooth_steps((0, -80), (10, 20), (30, -75), (50, 30), duration=1500, status=STATUS)


def drawn(axis, line=0):
    return np.array(axis.lines[line].get_data())


def panels(figure):
    return [axis for axis in figure.axes if axis.get_visible()]


def test_the_curve_is_the_trace():
    aps = LogisticAPs([200.0, 900.0])
    (axis,) = panels(plot_traces([aps.trace()], ["two"]))
    times, voltage_mV = drawn(axis)
    np.testing.assert_allclose(voltage_mV, aps.V(times), atol=2e-5)
    assert times[[0, -1]].tolist() == [0, 1500]
    assert np.diff(times).max() < 1
    assert set(aps.trace().step_time_ms) <= set(times)  # so no upstroke is cut
    starts_ms, levels_mV = drawn(axis, 1)
    np.testing.assert_allclose(aps.V(starts_ms), -40, atol=1e-3)
    assert len(starts_ms) == 2
    assert levels_mV.tolist() == [-40, -40]
    assert len(axis.lines) == 2  # no cross


@pytest.mark.parametrize(("count", "rows", "columns"), [(1, 1, 1), (2, 1, 2), (4, 2, 3), (9, 3, 3)])
def test_a_panel_for_every_trace(count, rows, columns):
    titles = [f"cell {i}" for i in range(count)]
    figure = plot_traces([REST] * count, titles)
    assert len(figure.axes) == rows * columns
    assert [axis.get_title() for axis in panels(figure)] == titles
    assert figure.get_supylabel() == "V (mV)"


def test_a_failed_trace_ends_at_a_cross_with_the_reason():
    figure = plot_traces([REST, BROKEN], ["at rest", "broken"])
    rest, broken = panels(figure)
    assert rest.get_title() == "at rest"
    assert broken.get_title() == "broken\nnot finite at 50 ms"
    times, voltage_mV = drawn(broken)
    assert times[-1] == 50
    assert np.isfinite(voltage_mV).all()
    assert drawn(broken, 1)[0] == pytest.approx(BROKEN.starts_ms)
    assert drawn(broken, 2).ravel().tolist() == [50, 30]
    assert broken.get_xlim() == (0, 1500)  # the duration of the simulation
    assert broken.get_ylim() == rest.get_ylim()


def test_a_cell_that_failed_at_time_0():
    trace = trace_of([0.0], [-70], [0], duration=100.0, status="no memory: more (stopped at 0 ms)")
    (axis,) = panels(plot_traces([trace], ["control"]))
    assert axis.get_title() == "control\nno memory at 0 ms"
    assert drawn(axis, 2).ravel().tolist() == [0, -70]


@pytest.mark.parametrize(("duration_ms", "label", "end"), [(10_000, "time (ms)", 10_000), (100_000, "time (s)", 100)])
def test_long_traces_are_plotted_in_seconds(duration_ms, label, end):
    figure = plot_traces([smooth_steps((0, -70), (50, 10), (duration_ms, -70))], ["long"])
    (axis,) = panels(figure)
    assert figure.get_supxlabel() == label
    assert axis.get_xlim() == (0, end)
    assert drawn(axis)[0, -1] == end
    # A smooth step from -70 to 10 mV in 50 ms is at -40 mV where 3 u^2 - 2 u^3 = 3/8.
    assert drawn(axis, 1)[0] == pytest.approx(50 * s_inverse(3 / 8) * end / duration_ms)


def test_traces_of_two_lengths_share_the_axis():
    figure = plot_traces([REST, smooth_steps((0, -70), (900, -70))], ["a", "b"])
    assert [axis.get_xlim() for axis in panels(figure)] == [(0, 1500), (0, 1500)]


def test_lines_are_finer_for_many_aps():
    few_many_early = ([200], range(100, 20_000, 200), (100, 300))
    traces = [LogisticAPs(ups, 40.0, 20_000.0).trace() for ups in few_many_early]
    widths = [axis.lines[0].get_linewidth() for axis in panels(plot_traces(traces, list("abc")))]
    assert widths[0] > widths[1] == widths[2]


def test_the_last_step_may_exceed_the_duration_by_rounding():
    trace = trace_of([0.0, 50.0, 100.0 + 5e-7], [-70, -60, -70], [0, 0, 0], duration=100.0)
    (axis,) = panels(plot_traces([trace], ["a"]))
    assert drawn(axis)[0, -1] == 100


def test_long_titles_are_wrapped():
    title = ", ".join(f"current{i} {i / 8:g}" for i in range(9))
    figure = plot_traces([REST], [title])
    lines = panels(figure)[0].get_title().splitlines()
    assert " ".join(lines) == title
    assert max(map(len, lines)) <= 62
    assert not [line for line in lines if not line[-2:].strip(",")[-1].isdigit()]  # none ends with a name alone
    with io.BytesIO() as file:
        figure.savefig(file)  # lays out and draws
        assert file.tell() > 1000


ERROR = "test/rmse_mV_mean"
SWEPT = [("32", "100", 3.0), ("32", "50", 4.0), ("64", "50", 2.0), ("64", "100", 1.0), ("64", "200", None)]
RUNS = pd.DataFrame(SWEPT, columns=["model.hidden", "trainer.max_epochs", ERROR])


def test_sweeps_are_plotted_over_epochs_with_a_line_for_each_other_setting():
    (axis,) = plot_sweep(RUNS, ["model.hidden", "trainer.max_epochs"], ERROR).axes
    lines = {line.get_label(): np.array(line.get_data()).T.tolist() for line in axis.lines}
    assert lines == {"model.hidden=32": [[50, 4], [100, 3]], "model.hidden=64": [[50, 2], [100, 1]]}
    assert axis.get_xlabel() == "trainer.max_epochs"
    assert axis.get_xscale() == "linear"


def test_sweeps_are_plotted_over_names_too():
    runs = pd.DataFrame({"model": ["lstm2", "lstm3"], "optimizer.lr": ["1e-4", "1e-2"], ERROR: [1.0, 2.0]})
    (axis,) = plot_sweep(runs, ["model"], ERROR).axes
    assert [label.get_text() for label in axis.get_xticklabels()] == ["lstm2", "lstm3"]
    (axis,) = plot_sweep(runs, ["optimizer.lr"], ERROR).axes
    assert axis.get_xscale() == "log"
    assert axis.lines[0].get_xdata().tolist() == [1e-4, 1e-2]


@pytest.mark.parametrize(("cells", "rows", "columns"), [(1, 1, 1), (3, 1, 3), (4, 2, 3), (6, 2, 3)])
def test_overlay_shows_every_cell(cells, rows, columns):
    simulated = np.repeat(np.random.default_rng(0).normal(size=(cells, 3, 50)).astype(np.float32), 1, axis=0)
    predicted = simulated.mean(axis=1)
    titles = [f"cell {i}" for i in range(cells)]
    figure = plot_overlay(np.arange(50.0), simulated, predicted, titles)
    assert len(figure.axes) == rows * columns
    shown = [axis for axis in figure.axes if axis.get_visible()]
    assert [axis.get_title() for axis in shown] == titles
    for axis, windows, emulated in zip(shown, simulated, predicted, strict=True):
        *lines, last = (line.get_ydata() for line in axis.lines)
        np.testing.assert_array_equal(lines, windows)
        np.testing.assert_array_equal(last, emulated)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["simulated windows", "emulator"]


def test_overlay_thins_long_windows_but_keeps_their_ends():
    time_ms = np.arange(10000) * 0.05 - 50
    figure = plot_overlay(time_ms, np.zeros((1, 1, 10000), np.float32), np.zeros((1, 10000), np.float32), ["one"])
    drawn = figure.axes[0].lines[0].get_xdata()
    assert len(drawn) <= 2000
    assert drawn[[0, -1]].tolist() == time_ms[[0, -1]].tolist()


def test_names_and_titles_say_what_differs_from_control():
    assert cell_name(np.array([1.0, 0.2, 1.23456]), NAMES) == "IK1 0.2, IKr 1.235"
    assert cell_name(np.ones(3), NAMES) == "control"
    assert cell_title(np.array([1.0, 0.2, 1.0]), NAMES, 1.234) == "IK1 0.2: 1.23 mV"
    assert cell_title(np.ones(3), NAMES, 0.5) == "control: 0.50 mV"
