"""Figures of traces, windows and sweeps: from arrays and tables to matplotlib figures."""

import re
from collections.abc import Sequence
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cardioemu.common.arrays import Predicted, SampleTimes, Windows
from cardioemu.evaluation.metrics.population import evenly_spaced
from cardioemu.traces import THRESHOLD_mV, Trace

SIMULATED, EMULATED = "#8a8f98", "#c2410c"
TRACE, AP_START, FAILURE = "#334155", "#c2410c", "#b91c1c"
TITLE_WIDTH = 52  # letters that fit above a panel
NO_BREAK = "\u00a0"
MAX_IN_MS = 10_000.0  # longer traces are plotted in seconds
EPOCHS = "trainer.max_epochs"
LOG_RATIO = 30  # between the largest and smallest value of a setting, from which its axis is logarithmic
CROWDED = 40  # APs in a panel, beyond which lines and dots become finer


def plot_overlay(
    time_ms: SampleTimes, windows: Windows, predicted: Predicted, titles: Sequence[str], columns: int = 3
) -> Figure:
    """Plot the simulated windows of some cells and, on top, the predicted ones, with so many columns of panels."""
    figure, axes = _panels(titles, "time from the AP start (ms)", columns)
    # A figure cannot show more than one to two thousand samples.
    shown = evenly_spaced(len(time_ms), 2000)
    for axis, cell, emulated in zip(axes, windows, predicted, strict=True):
        simulated_lines = axis.plot(time_ms[shown], cell[:, shown].T, color=SIMULATED, lw=1.6)
        (emulated_line,) = axis.plot(time_ms[shown], emulated[shown], color=EMULATED, lw=1.0)
    handles = [simulated_lines[0], emulated_line]
    figure.legend(
        handles, ["simulated windows", "emulator"], loc="outside upper right", ncols=2, fontsize=8, frameon=False
    )
    return figure


def plot_traces(traces: Sequence[Trace], titles: Sequence[str]) -> Figure:
    """Plot whole traces, one per panel, with a dot at each AP start and a cross where a simulation failed.

    The reason and the time of a failure are appended to the title.
    """
    longest_ms = max(trace.duration_ms for trace in traces)
    unit, per_ms = ("ms", 1.0) if longest_ms <= MAX_IN_MS else ("s", 1e-3)
    endings = ["" if t.status == "ok" else f"\n{t.status.split(':')[0]} at {t.end_ms:.6g} ms" for t in traces]
    figure, axes = _panels([title + ending for title, ending in zip(titles, endings, strict=True)], f"time ({unit})")
    for axis, trace in zip(axes, traces, strict=True):
        # The solver steps resolve the upstrokes; between steps the curve is smooth.
        times = np.union1d(trace.step_time_ms, np.linspace(0, trace.end_ms, 3000)).clip(0, trace.end_ms)
        starts = trace.starts_ms
        size = min(1.0, CROWDED * np.diff(starts).min(initial=longest_ms) / longest_ms)
        axis.plot(per_ms * times, trace.voltage_mV(times), color=TRACE, lw=max(0.25, 0.9 * size))
        axis.plot(per_ms * starts, np.full(len(starts), THRESHOLD_mV), ".", color=AP_START, ms=max(0.8, 3 * size))
        if trace.status != "ok":
            axis.plot(per_ms * trace.end_ms, trace.step_voltage_mV[-1], "x", color=FAILURE, ms=5)
            axis.title.set_color(FAILURE)
    axes[0].set_xlim(0, per_ms * longest_ms)
    return figure


def plot_sweep(table: pd.DataFrame, settings: Sequence[str], error: str) -> Figure:
    """Plot an error against the settings of a sweep: one on the axis, and one line per combination of the others.

    The setting on the axis is the number of epochs if it was swept, otherwise the setting with the most values.
    The table has one row per run, with the settings and the error in mV as columns; runs without it are left out.
    """
    runs = table.dropna(subset=[error])
    along = EPOCHS if EPOCHS in settings else max(settings, key=lambda name: runs[name].nunique())
    numbers = pd.to_numeric(runs[along], errors="coerce")
    runs = runs.assign(x=runs[along] if numbers.isna().any() else numbers).sort_values("x")
    figure = Figure(figsize=(6.0, 3.8), layout="constrained", dpi=110)
    axis = figure.subplots()
    others = [name for name in settings if name != along]
    lines = runs.groupby(others) if others else [((), runs)]
    for values, line in lines:
        label = ", ".join(f"{name}={value}" for name, value in zip(others, values, strict=True))
        axis.plot(line["x"], line[error], "o-", lw=1.2, ms=4, label=label or None)
    if others:
        axis.legend(fontsize=7, frameon=False)
    if not numbers.isna().any() and numbers.min() > 0 and numbers.max() >= LOG_RATIO * numbers.min():
        axis.set_xscale("log")
    axis.set_xlabel(along)
    axis.set_ylabel(f"{error.rpartition('_mV')[0]} (mV)".replace("test/rmse", "test RMSE"))
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def _panels(titles: Sequence[str], time: str, columns: int = 3) -> tuple[Figure, list[Axes]]:
    """Make one panel of V over time per title."""
    columns = min(columns, len(titles))
    rows = -(-len(titles) // columns)
    width = 3.6 * columns if columns > 1 else max(3.6, 2.4 * rows)
    figure = Figure(figsize=(width, 2.4 * rows + 0.4), layout="constrained", dpi=110)
    panels = list(figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat)
    for axis, title in zip(panels, titles, strict=False):
        axis.set_title("\n".join(_wrap(line) for line in title.splitlines()), fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=7)
    for axis in panels[len(titles) :]:
        axis.set_visible(False)
    figure.supxlabel(time, fontsize=8)
    figure.supylabel("V (mV)", fontsize=8)
    return figure, panels[: len(titles)]


def _wrap(line: str) -> str:
    """Wrap a line of a title between names, not between a name and its value."""
    return fill(re.sub(r" (?=\d|mV)", NO_BREAK, line), TITLE_WIDTH).replace(NO_BREAK, " ")


def cell_name(scales: np.ndarray, scaled: Sequence[str]) -> str:
    """Return the scales of a cell that differ from the control, as text."""
    changed = ", ".join(f"{name} {round(value, 3):g}" for name, value in zip(scaled, scales, strict=True) if value != 1)
    return changed or "control"


def cell_title(scales: np.ndarray, scaled: Sequence[str], error_mV: float) -> str:
    """Return the scales of a cell that differ from the control and its RMSE, as text."""
    return f"{cell_name(scales, scaled)}: {error_mV:.2f} mV"
